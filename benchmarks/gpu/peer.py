"""Hugging Face Transformers on the same card: static cache and torch.compile, made-up weights.

Run by the interpreter that `run.py --peer-python` names: `peer.py CONFIG_FOLDER BATCH CONTEXT NEW_TOKENS DEVICE` prints
a line of JSON. Imports nothing of ours.
"""

from __future__ import annotations

import json
import sys
import time


def main(folder: str, batch: int, context: int, new_tokens: int, device: str) -> None:
    """Times the decode steps: the time of a long answer less that of a short one."""
    import torch
    import transformers

    transformers.utils.logging.set_verbosity_error()
    torch.manual_seed(0)
    config = transformers.AutoConfig.from_pretrained(folder)
    torch.set_default_dtype(torch.bfloat16)
    with torch.device(device), torch.inference_mode():
        model = transformers.AutoModelForCausalLM.from_config(config).eval()
        prompt = torch.randint(3, config.vocab_size, (batch, context))

        def answer(length: int) -> float:
            begin = time.perf_counter()
            model.generate(
                prompt,
                attention_mask=torch.ones_like(prompt),
                min_new_tokens=length,
                max_new_tokens=length,
                do_sample=False,
                cache_implementation="static",
                pad_token_id=0,
                max_length=None,
            )
            if device == "cuda":
                torch.cuda.synchronize()
            return time.perf_counter() - begin

        short = max(2, new_tokens // 4)
        for length in (short, new_tokens):  # compiles, and captures its graphs
            answer(length)
        gap = (min(answer(new_tokens) for _ in range(2)) - min(answer(short) for _ in range(2))) / (new_tokens - short)
    print(json.dumps({"ms a step": round(gap * 1e3, 3), "tok/s": round(batch / gap, 1), "torch": torch.__version__}))


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4]), sys.argv[5])
