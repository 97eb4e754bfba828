"""One question, one answer: `SGL_JAX_BASE_URL=http://127.0.0.1:30000 python examples/client_chat.py "Hello!"`."""

from __future__ import annotations

import sys

from sgl_jax.client import SglJax

with SglJax() as client:  # SGL_JAX_BASE_URL, or port 30000 of this machine
    client.wait_until_ready(timeout=300, on_progress=lambda phase: print(f"[{phase}]", file=sys.stderr))
    conversation = [{"role": "user", "content": " ".join(sys.argv[1:]) or "What is gravity?"}]
    answer = client.chat(conversation, max_tokens=64, temperature=0)

print(answer.text)
if answer.usage:
    print(f"[{answer.usage.prompt_tokens} tokens in, {answer.usage.completion_tokens} out]", file=sys.stderr)
