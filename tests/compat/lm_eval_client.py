"""What lm-eval's users do with an OpenAI-compatible server: `python lm_eval_client.py URL`.

The tokenizer is the server's (`/tokenizer_info`, `/tokenize`, `/detokenize`), so that neither transformers nor torch
are needed. The scores are those of SmolLM2; they need not be good, but no worse than a model that works.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import lm_eval
from lm_eval.tasks import TaskManager

TASKS = Path(__file__).with_name("lm_eval_tasks")


def main(url: str) -> None:
    """Runs all of it; whatever is not as it should be raises."""
    completions = evaluate("local-completions", f"{url}/v1/completions", ["choices", "endings", "texts"])
    assert completions["sgl_jax_choices"]["acc,none"] >= 0.8, completions
    assert completions["sgl_jax_endings"]["exact_match,first"] >= 0.5, completions
    assert 1 < completions["sgl_jax_texts"]["word_perplexity,none"] < 60, completions
    chat = evaluate("local-chat-completions", f"{url}/v1/chat/completions", ["endings"], apply_chat_template=True)
    assert chat["sgl_jax_endings"]["exact_match,first"] >= 0.25, chat  # it talks around them
    for results in (completions, chat):
        print(
            {task: {name: value for name, value in scores.items() if "," in name} for task, scores in results.items()}
        )
    print("lm-eval: local-completions with log-likelihoods, rolling ones and generation; local-chat-completions")


def evaluate(model: str, base_url: str, tasks: list[str], **more: Any) -> dict[str, Any]:
    """Scores by task."""
    said = lm_eval.simple_evaluate(
        model=model,
        model_args={"model": "smollm2", "base_url": base_url, "num_concurrent": 4, "max_length": 256, "max_retries": 1},
        tasks=[f"sgl_jax_{task}" for task in tasks],
        task_manager=TaskManager(include_path=str(TASKS), include_defaults=False),
        bootstrap_iters=0,
        **more,
    )
    assert said is not None
    results: dict[str, Any] = said["results"]
    return results


if __name__ == "__main__":
    main(sys.argv[1])
