"""A run as something to write to files."""

from __future__ import annotations

from typing import Any

from sgl_jax.bench.frame import to_csv
from sgl_jax.bench.report.content import Report
from sgl_jax.bench.report.run_report import run_report
from sgl_jax.bench.results import Results


class RunDocument:
    """The document of one run."""

    def __init__(self, results: Results) -> None:
        self._results = results

    @property
    def provenance(self) -> dict[str, Any]:
        """Where the numbers come from."""
        return self._results.provenance

    def report(self) -> Report:
        """What there is to say."""
        return run_report(self._results)

    def to_json(self) -> dict[str, Any]:
        """Everything, as plain JSON values."""
        return self._results.to_json()

    def to_csv(self) -> str:
        """A row for each request."""
        return to_csv(self._results.run)

    def draw(self, kind: str) -> bytes | None:
        """A picture in the format `png`, `svg` or `pdf`; None when no request succeeded."""
        from sgl_jax.bench.plot.run_plot import draw_run

        return draw_run(self._results, kind)
