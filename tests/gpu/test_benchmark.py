"""`benchmarks.gpu` at tiny sizes on the CPU: that its command works, not how fast anything is."""

from __future__ import annotations

import json

from benchmarks.gpu import run
from benchmarks.gpu.engine_experiments import attention_operations, layer_weights, step_bytes
from benchmarks.gpu.settings import make_settings


def test_an_experiment_leaves_json_and_markdown(tmp_path):
    assert run.main(["--tiny", "--device=cpu", f"--write={tmp_path}", "kv_write"]) == 0
    record = json.loads((tmp_path / "gpu.json").read_text())
    rows = record["experiments"]["kv_write"]["rows"]
    assert [row["in place"] for row in rows] == [True, True]
    assert "| pages | us | in place |" in (tmp_path / "gpu.md").read_text()


def test_what_ends_early_keeps_its_rows_and_says_why(tmp_path):
    found = {"question": "Why?", "seconds": 1.0, "end": "broke", "rows": [{"a": 1}, {"why": "x"}], "said": "Error: y"}
    text = run.render({"started": "now", "git": "abc", "experiments": {"one": found}})
    assert "| a |" in text
    assert "| why |" in text
    assert "Error: y" in text


def test_the_roofline_is_that_of_the_models():
    config = make_settings(tiny=False, device="cuda", peer_python=None).models["Qwen3-8B"]
    assert 7.5e9 < layer_weights(config) + 2 * config["vocab_size"] * config["hidden_size"] < 8.5e9
    # 281 tokens a second at 4.3 TB/s, see docs/guides/gpu.md.
    assert 270 < 4.3e12 / step_bytes(config, 1, 1024) < 290
    assert attention_operations(config, 2048) == 4 * attention_operations(config, 1024)
