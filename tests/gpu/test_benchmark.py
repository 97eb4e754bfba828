"""`benchmarks.gpu` at tiny sizes on the CPU: that its command works, not how fast anything is."""

from __future__ import annotations

import json

from benchmarks.gpu import other_processes, run
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


def test_rows_that_a_killed_experiment_left_are_read(tmp_path):
    file = tmp_path / "running.jsonl"
    file.write_text('{"question": "Why?"}\n{"a": 1}\n{"a": 2, "b')
    assert run._rows(file) == ("Why?", [{"a": 1}])
    assert run._rows(tmp_path / "nothing") == ("", [])


def test_a_peer_that_is_not_there_is_a_row(tmp_path):
    settings = make_settings(tiny=True, device="cpu", peer_python=str(tmp_path / "python"))
    (row,) = other_processes.peer(settings)
    assert row["model"] == "skipped"
    assert "--peer-python" in row["why"]


def test_the_roofline_is_that_of_the_models():
    config = make_settings(tiny=False, device="cuda", peer_python=None).models["Qwen3-8B"]
    assert 7.5e9 < layer_weights(config) + 2 * config["vocab_size"] * config["hidden_size"] < 8.5e9
    # 281 tokens a second at 4.3 TB/s, see docs/guides/gpu.md.
    assert 270 < 4.3e12 / step_bytes(config, 1, 1024) < 290
    assert attention_operations(config, 2048) == 4 * attention_operations(config, 1024)
