"""An answer as it is written: `SGL_JAX_BASE_URL=http://127.0.0.1:30000 python examples/client_stream.py "Hello!"`."""

from __future__ import annotations

import sys

from sgl_jax.client import SglJax

prompt = " ".join(sys.argv[1:]) or "Tell me a story about a lighthouse."

with SglJax() as client:
    client.wait_until_ready(timeout=300)
    # Leaving the inner block early would close the connection, and the server would stop generating.
    with client.chat.stream(prompt, max_tokens=64, stream_options={"include_usage": True}) as stream:
        for text in stream.text_stream:
            print(text, end="", flush=True)
        print()
        answer = stream.get_final_response()

print(f"[finished by {answer.choices[0].finish_reason}; {answer.usage}]", file=sys.stderr)
