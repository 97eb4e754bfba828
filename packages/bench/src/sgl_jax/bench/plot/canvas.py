"""A sheet to draw on, and how it becomes a file's content."""

from __future__ import annotations

from io import BytesIO
from typing import TYPE_CHECKING

import matplotlib as mpl
from matplotlib.figure import Figure

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def new_sheet(columns: int, rows: int) -> tuple[Figure, list[Axes]]:
    """Return an empty sheet and its plots, row by row.

    A Figure of one's own and not pyplot: no global state, no display, no window system to guess.
    """
    figure = Figure(figsize=(7 * columns, 4.5 * rows), layout="constrained")
    axes = [figure.add_subplot(rows, columns, position + 1) for position in range(rows * columns)]
    for each in axes:
        each.grid(visible=True, alpha=0.3)
        each.spines[["top", "right"]].set_visible(False)
    return figure, axes


def render(figure: Figure, kind: str) -> bytes:
    """Return the sheet as `png`, `svg` or `pdf`."""
    content = BytesIO()
    # No date and no creator: the same numbers give the same file.
    metadata = {"png": {"Software": None}, "svg": {"Date": None, "Creator": None}, "pdf": {"CreationDate": None}}
    # In an SVG text stays text: a page is smaller and can be searched.
    with mpl.rc_context({"svg.fonttype": "none", "svg.hashsalt": "sgl-jax-bench"}):
        figure.savefig(content, format=kind, dpi=110, metadata=metadata.get(kind))
    return content.getvalue()
