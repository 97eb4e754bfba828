"""A sample of the bar of 2,000 generated schemas (`tools/schema_bar.py`): every finished answer validates."""

from __future__ import annotations

import pytest

from tools.schema_bar import run


@pytest.mark.model
def test_finished_answers_fit_their_schemas_and_refusals_name_a_keyword():
    bar = run(200, seed=7)
    assert bar.wrong == []
    assert bar.valid > 140
    assert bar.refused.total() > 10
    assert bar.valid + bar.unfinished + bar.refused.total() == 200
