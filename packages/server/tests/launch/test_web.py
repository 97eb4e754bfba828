"""The text side's files, without a process around them."""

from __future__ import annotations

from pathlib import Path

import pytest

from sgl_jax.engine.config.engine_config import EngineConfig
from sgl_jax.engine.errors import ChatTemplateError, ConfigError, ModelLoadError
from sgl_jax.server.config import LaunchConfig, ServerConfig
from sgl_jax.server.web import load_text_side

HELLO = [{"role": "user", "content": "Hello!"}]


def config(model: Path, **engine: str) -> EngineConfig:
    return EngineConfig(model_path=str(model), **engine)


def test_the_models_own_template_is_used(tiny_model: Path) -> None:
    text = load_text_side(LaunchConfig(server=ServerConfig(served_model_name="m"), engine=config(tiny_model)))
    assert text.chat_template.render(HELLO) == "<|im_start|>user\nHello!<|im_end|>\n<|im_start|>assistant\n"


@pytest.mark.parametrize("as_file", [True, False])
def test_a_chat_template_replaces_the_models(tiny_model: Path, tmp_path: Path, as_file: bool) -> None:
    given = "{{ raise_exception('no talking') }}"
    if as_file:
        (tmp_path / "template.jinja").write_text(given)
        given = str(tmp_path / "template.jinja")
    server = ServerConfig(served_model_name="mute", chat_template=given)
    text = load_text_side(LaunchConfig(server=server, engine=config(tiny_model)))
    with pytest.raises(ChatTemplateError, match="no talking"):
        text.chat_template.render(HELLO)


def test_a_template_that_is_not_there_is_named(tiny_model: Path) -> None:
    server = ServerConfig(served_model_name="m", chat_template="/no/file")
    with pytest.raises(ConfigError, match="--chat-template=/no/file cannot be read"):
        load_text_side(LaunchConfig(server=server, engine=config(tiny_model)))


def test_the_tokenizer_may_lie_elsewhere(tiny_model: Path, tmp_path: Path) -> None:
    server = ServerConfig(served_model_name="m")
    engine = config(tmp_path, tokenizer_path=str(tiny_model))
    assert load_text_side(LaunchConfig(server=server, engine=engine)).tokenizer.encode("Hello")
    with pytest.raises(ModelLoadError):
        load_text_side(LaunchConfig(server=server, engine=config(tmp_path)))


def test_the_template_shows_how_the_model_calls_and_reasons(tiny_model: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    template = "{% if tools %}<tool_call>{% endif %}{# <think> #}"
    server = ServerConfig(served_model_name="m", chat_template=template)
    text = load_text_side(LaunchConfig(server=server, engine=config(tiny_model)))
    assert text.chat_format.names == ("hermes", "qwen3")
    assert "tool calls: hermes; reasoning: qwen3" in caplog.messages
    server = ServerConfig(served_model_name="m", tool_call_parser="mistral", reasoning_parser="none")
    text = load_text_side(LaunchConfig(server=server, engine=config(tiny_model)))
    assert text.chat_format.names == ("mistral", "none")
    assert any("does not mention tools" in message for message in caplog.messages)
