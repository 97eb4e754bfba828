"""What formats and kernels on CPU change in what SmolLM2 says of a fixed text.

`uv run python benchmarks/cpu/accuracy.py` writes `results/accuracy.json` and `.md`: the perplexity of 256 tokens of
English (below), each configuration in a process of its own. *exact* multiplies the same weights, unpacked, in float32
and keeps keys and values so. *same choice* is how often the likeliest next token is the exact one's. *by chunks* reads
the text 64 tokens at a time, so that later chunks meet keys of the pool only.
"""

from __future__ import annotations

import json
import math
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).parent
sys.path[:0] = [str(HERE), str(HERE.parent / "engine")]

import tables  # noqa: E402
from provenance import provenance  # noqa: E402

CONFIGURATIONS: dict[str, dict[str, object]] = {
    "exact": {"dtype": "float32", "kv_cache_dtype": "float32"},
    "Q4_1": {},
    "Q4_1 by chunks": {"chunked_prefill_size": 64},
    "Q4_1, int8 keys": {"kv_cache_dtype": "int8"},
    "Q4_1, fp8 keys": {"kv_cache_dtype": "fp8_e4m3"},
    "bf16": {"quantization": "none", "dtype": "bfloat16"},
    "bf16 by chunks": {"quantization": "none", "dtype": "bfloat16", "chunked_prefill_size": 64},
}
TOKENS = 256
TEXT = """
The lighthouse keeper had two clocks. One hung in the kitchen above the stove, and it was always a little
slow, because the heat had warped its case; the other stood upstairs beside the lamp, and it was right to the
second, since ships depended on it. Every evening he carried the difference between them up the stairs in his
head, four minutes, then five, and in the winter as much as eleven. He could have mended the kitchen clock in
an hour. He had the tools, and on most days he had the hour. But his wife had bought it at a fair on the
mainland in the first year of their marriage, and as long as it was slow it was hers, and supper came late, as
it always had. When the automatic lamp arrived, in a crate with a manual in three languages, the engineer who
installed it asked him what he would do with so much time. He thought about that for a while. Then he said
that he would probably begin with the five minutes in the kitchen, and see how far they went. The engineer
laughed, signed the last form, and missed the boat, because he had looked at the wrong clock. So there were
two of them at the table that night, and the soup was good, and outside the new light turned without anybody,
as steady as a planet. In the morning the sea was flat and grey, and the gulls walked about on it like clerks
in a marble hall.
"""


def scores(options: dict[str, object]) -> list[tuple[float, int]]:
    """Of each token but the first: its log-probability, and which one was likeliest."""
    from sgl_jax.engine import Engine, SamplingParams
    from sgl_jax.engine.config.default_model import find_default_model

    with Engine(model_path=str(find_default_model()), device="cpu", **options) as engine:
        prompt = engine.tokenizer.encode(TEXT.strip())[:TOKENS]
        assert len(prompt) == TOKENS
        asked = SamplingParams(temperature=0.0, max_new_tokens=1, prompt_logprobs=1)
        (completion,) = engine.generate(prompt_ids=[prompt], sampling=asked)
    return [(entry.logprob, entry.top[0][0]) for entry in completion.prompt_logprobs]


def main() -> None:
    source, found = provenance(), {}
    for name, options in CONFIGURATIONS.items():
        command = [sys.executable, __file__, json.dumps(options)]
        said = subprocess.run(command, check=True, capture_output=True, text=True).stdout
        found[name] = json.loads(said.splitlines()[-1])
        print(name, round(perplexity(found[name]), 3), flush=True)
    exact = found["exact"]
    rows = [
        {
            "configuration": name,
            "perplexity": round(perplexity(each), 3),
            "to exact": f"{100 * (perplexity(each) / perplexity(exact) - 1):+.2f} %",
            "same choice": f"{sum(a[1] == b[1] for a, b in zip(each, exact, strict=True)) / len(exact):.1%}",
            "mean change of a log-probability": round(
                sum(abs(a[0] - b[0]) for a, b in zip(each, exact, strict=True)) / len(exact), 4
            ),
        }
        for name, each in found.items()
    ]
    print(tables.write(HERE / "results" / "accuracy", __doc__ or "", source, rows))


def perplexity(each: list[tuple[float, int]]) -> float:
    return math.exp(-sum(logprob for logprob, _ in each) / len(each))


if __name__ == "__main__":
    if len(sys.argv) > 1:
        print(json.dumps(scores(json.loads(sys.argv[1]))))
    else:
        main()
