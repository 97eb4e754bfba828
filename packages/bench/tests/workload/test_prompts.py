from __future__ import annotations

from itertools import islice
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sgl_jax.bench.errors import WorkloadError
from sgl_jax.bench.workload.base import Workload
from sgl_jax.bench.workload.builtin import NumberedQuestion, builtin_questions
from sgl_jax.bench.workload.prompt_file import read_prompt_file
from sgl_jax.bench.workload.prompts import PromptCycle


def _texts(workload: Workload, number: int) -> list[str]:
    return [spec.as_text() for spec in islice(workload.requests(), number)]


def test_blank_lines_and_outer_space_are_dropped(tmp_path: Path) -> None:
    path = tmp_path / "prompts.txt"
    path.write_text("\ufeff  What is artificial intelligence?\r\n\n   \nExplain machine learning\t", encoding="utf-8")
    assert read_prompt_file(path, 5).prompts == ("What is artificial intelligence?", "Explain machine learning")


def test_fewer_prompts_than_requests_start_again(tmp_path: Path) -> None:
    path = tmp_path / "prompts.txt"
    path.write_text("one\ntwo\n", encoding="utf-8")
    assert _texts(read_prompt_file(path, 5), 5) == ["one", "two", "one", "two", "one"]


def test_unusual_line_breaks_stay_inside_a_prompt(tmp_path: Path) -> None:
    path = tmp_path / "prompts.txt"
    path.write_text("one\u2028still one\x0cand still\ntwo", encoding="utf-8")
    assert len(read_prompt_file(path, 5).prompts) == 2


@pytest.mark.parametrize(
    ("content", "message"), [(b"", "no prompt"), (b"\n \n", "no prompt"), (b"caf\xe9", "not UTF-8")]
)
def test_a_useless_file_is_refused_with_its_name(tmp_path: Path, content: bytes, message: str) -> None:
    path = tmp_path / "prompts.txt"
    path.write_bytes(content)
    with pytest.raises(WorkloadError, match=rf"prompts\.txt.*{message}"):
        read_prompt_file(path, 5)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(WorkloadError, match=r"absent\.txt: No such file"):
        read_prompt_file(tmp_path / "absent.txt", 5)


@given(prompts=st.lists(st.text(min_size=1), min_size=1, max_size=5), number=st.integers(0, 20))
def test_a_cycle_repeats_itself_and_numbers_its_requests(prompts: list[str], number: int) -> None:
    workload = PromptCycle("test", prompts, max_tokens=7)
    specs = list(islice(workload.requests(), number))
    assert specs == list(islice(workload.requests(), number))
    assert [spec.index for spec in specs] == list(range(number))
    assert [spec.as_text() for spec in specs] == [prompts[i % len(prompts)] for i in range(number)]
    assert all(spec.max_tokens == 7 for spec in specs)


def test_the_built_in_questions_are_the_guides() -> None:
    workload = builtin_questions(100)
    assert workload.prompts[0] == "Explain the concept of machine learning in simple terms."
    assert workload.prompts[4] == "What is the importance of data privacy?"
    assert len(workload.prompts) == 5


def test_numbered_questions_never_share_their_start() -> None:
    assert _texts(NumberedQuestion(50), 2) == [
        "Request 0: Explain quantum computing briefly.",
        "Request 1: Explain quantum computing briefly.",
    ]
