"""Writes results to files, in the format that each file's name asks for."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any, Protocol

from sgl_jax.bench.errors import ResultsError
from sgl_jax.bench.report.content import Report
from sgl_jax.bench.report.html import html_report
from sgl_jax.bench.report.markdown import markdown_report
from sgl_jax.bench.results import check_writable, write_document, write_text

PICTURES = frozenset({".png", ".svg", ".pdf"})
SUFFIXES = (".json", ".md", ".csv", ".html", *sorted(PICTURES))


class Document(Protocol):
    """What can be written: a run, or a sweep."""

    @property
    def provenance(self) -> dict[str, Any]:
        """Where the numbers come from."""
        ...

    def report(self) -> Report:
        """What there is to say."""
        ...

    def to_json(self) -> dict[str, Any]:
        """Everything, as plain JSON values."""
        ...

    def to_csv(self) -> str:
        """A row for each request, or each level."""
        ...

    def draw(self, kind: str) -> bytes | None:
        """A picture in the format `png`, `svg` or `pdf`; None when there is nothing to draw."""
        ...


def check_outputs(paths: Iterable[Path]) -> None:
    """Fail before the run rather than after it.

    Raises:
        ResultsError: a file could not be written, or its name does not tell its format.
    """
    for path in paths:
        if path.suffix.lower() not in SUFFIXES:
            raise ResultsError(f"cannot tell the format of {path}: end its name in one of {', '.join(SUFFIXES)}")
        check_writable(path)


def write_output(document: Document, path: Path) -> bool:
    """Write `document` to `path`, as its suffix says; False when there is nothing to draw.

    Raises:
        ResultsError: the file cannot be written.
    """
    suffix = path.suffix.lower()
    if suffix in PICTURES:
        picture = document.draw(suffix[1:])
        if picture is None:
            return False
        _write_bytes(path, picture)
    elif suffix == ".json":
        write_document(path, document.to_json())
    elif suffix == ".csv":
        write_text(path, document.to_csv())
    elif suffix == ".html":
        write_text(path, html_report(document.report(), document.draw("svg"), document.provenance))
    else:
        write_text(path, markdown_report(document.report()))
    return True


def _write_bytes(path: Path, content: bytes) -> None:
    try:
        path.write_bytes(content)
    except OSError as error:
        raise ResultsError(f"cannot write {path}: {error.strerror or error}") from error
