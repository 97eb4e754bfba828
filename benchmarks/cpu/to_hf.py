"""Writes a GGUF file as a Hugging Face folder in bfloat16: `python to_hf.py FILE FOLDER`, in the peer's environment."""

from __future__ import annotations

import sys
from pathlib import Path

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer, GgufConfig


def main() -> None:
    file, folder = Path(sys.argv[1]), sys.argv[2]
    source = {"pretrained_model_name_or_path": str(file.parent), "gguf_file": file.name}
    unpacked = GgufConfig(dequantize=True)
    model = AutoModelForCausalLM.from_pretrained(**source, dtype=torch.bfloat16, quantization_config=unpacked)
    AutoTokenizer.from_pretrained(**source).save_pretrained(folder)
    model.save_pretrained(folder)


if __name__ == "__main__":
    main()
