"""Reasoning, told from the answer."""

from __future__ import annotations

from typing import Any

import pytest

QWEN_PROMPT = "<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\n"


@pytest.mark.parametrize(
    ("reasoning", "prompt", "text", "thought", "content"),
    [
        ("qwen3", QWEN_PROMPT, "<think>\nHm.\n\nYes.\n</think>\n\nHello!\n", "Hm.\n\nYes.", "Hello!\n"),
        ("qwen3", QWEN_PROMPT, "\n<think></think>\nHello!", "", "Hello!"),
        ("qwen3", QWEN_PROMPT, "Hello!", "", "Hello!"),
        ("qwen3", QWEN_PROMPT, "\nIn <think> tags </think>.", "", "\nIn <think> tags </think>."),
        ("qwen3", QWEN_PROMPT, "<think>Hm, never", "Hm, never", ""),
        ("qwen3", QWEN_PROMPT, "<think>a</think>b</think>c<think>", "a", "b</think>c<think>"),
        # The template opens the reasoning, or closes it (enable_thinking=False); the user's own text does neither.
        ("qwen3", QWEN_PROMPT + "<think>\n", "Hm.\n</think>\n\nHello!", "Hm.", "Hello!"),
        ("qwen3", QWEN_PROMPT + "<think>\n", "<think>Hm.</think>Hello!", "Hm.", "Hello!"),
        ("qwen3", "user: what is <think>?\nassistant: ", "A tag.", "", "A tag."),
        ("deepseek-r1", "<｜Assistant｜>", "Hm.\n</think>\n\nHello!", "Hm.", "Hello!"),
        ("deepseek-r1", "<｜Assistant｜>", "<think>\nHm.</think>Hello!", "Hm.", "Hello!"),
        ("mistral", "[/INST]", "[THINK]Hm.[/THINK]Hello!", "Hm.", "Hello!"),
        (
            "gpt-oss", "<|start|>assistant",
            "<|channel|>analysis<|message|>Hm.<|end|><|start|>assistant<|channel|>final<|message|>Hello!",
            "Hm.", "Hello!",
        ),
        ("gpt-oss", "<|start|>assistant<|channel|>analysis<|message|>", "Hm.<|end|>", "Hm.", ""),
        ("gpt-oss", "<|start|>assistant<|channel|>final<|message|>", "Hello!<|return|>", "", "Hello!"),
        ("gpt-oss", "<|start|>assistant", "Hello!", "", "Hello!"),
        ("gpt-oss", "<|start|>assistant", "<|channel|>final<|message|>Hi<|end|> there", "", "Hi there"),
        ("gpt-oss", "<|start|>assistant", "<|channel|>final " + "x" * 600, "", "<|channel|>final " + "x" * 600),
    ],
)  # fmt: skip
def test_reasoning_and_content(parse: Any, reasoning: str, prompt: str, text: str, thought: str, content: str) -> None:
    answer = parse(text, reasoning=reasoning, prompt=prompt)
    assert (answer.reasoning, answer.content) == (thought, content)
