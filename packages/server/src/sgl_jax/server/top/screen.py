"""The picture on the terminal."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Group, RenderableType
from rich.panel import Panel
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from sgl_jax.server.top.window import LATENCIES, SHARES, Window

_BARS = " ▁▂▃▄▅▆▇█"
_UNKNOWN = "–"


def draw(url: str, window: Window, speeds: Sequence[float]) -> RenderableType:
    """Everything.

    Args:
        speeds: generated tokens a second so far, oldest first.
    """
    ready = window.value("sgl_jax_ready")
    state = Text("ready", "bold green") if ready else Text("not ready", "bold red")
    title = Text.assemble(("SGL-JAX ", "bold"), (window.last.model, "cyan"), f"  {url}  ", state)
    body = Group(_now(window), Text(), _pool(window), Text(), _latencies(window), Text(), _speed(speeds))
    return Panel(body, title=title, title_align="left", subtitle="Ctrl-C ends", subtitle_align="right")


def unreachable(url: str, reason: str) -> RenderableType:
    """What is shown while the server does not answer."""
    return Panel(Text(reason, "red"), title=Text.assemble(("SGL-JAX ", "bold"), url), title_align="left")


def _now(window: Window) -> Table:
    table = Table.grid(padding=(0, 3))
    rows = (
        ("running", number(window.value("sglang:num_running_reqs"))),
        ("queued", number(window.value("sglang:num_queue_reqs"))),
        ("tokens/s", number(window.rate("sglang:generation_tokens_total"))),
        ("prompt tokens/s", number(window.rate("sglang:prompt_tokens_total"))),
        ("steps/s", number(window.rate("sgl_jax_steps_total"))),
        ("tokens a step", number(window.share("sglang:generation_tokens_total", "sgl_jax_steps_total"), 1)),
        ("answers/s", number(window.rate("sglang:num_requests_total"), 1)),
        ("preempted", number(window.value("sgl_jax_preemptions_total"))),
        ("late compiles", number(window.value("sgl_jax_compiles_after_warmup_total"))),
        ("restarts", number(window.value("sgl_jax_engine_restarts_total"))),
    )
    for left, right in zip(rows[::2], rows[1::2], strict=True):
        cells = [
            cell for name, shown in (left, right) for cell in (Text(name, "dim"), Text(shown, "bold", justify="right"))
        ]
        table.add_row(*cells)
    return table


def _pool(window: Window) -> Table:
    table = Table.grid(padding=(0, 3))
    hit_rate = window.share("sglang:cached_tokens_total", "sglang:prompt_tokens_total")
    for name, share in (("KV pool in use", window.value("sglang:token_usage")), ("from the prefix cache", hit_rate)):
        shown = _UNKNOWN if share is None else f"{share:4.0%}"
        table.add_row(Text(name, "dim"), ProgressBar(total=1.0, completed=share or 0.0, width=40), Text(shown, "bold"))
    return table


def _latencies(window: Window) -> Table:
    table = Table(box=None, padding=(0, 2), header_style="dim")
    table.add_column("milliseconds")
    for share in SHARES:
        table.add_column(f"p{share * 100:.0f}", justify="right")
    for name, histogram in LATENCIES.items():
        table.add_row(name, *(number(None if one is None else one * 1e3, 1) for one in window.latencies(histogram)))
    return table


def _speed(speeds: Sequence[float]) -> Text:
    return Text.assemble(("tokens/s  ", "dim"), (spark(speeds), "green"), f"  most {number(max(speeds, default=0.0))}")


def spark(values: Sequence[float]) -> str:
    """Values as a row of bars, the highest being the largest."""
    highest = max(values, default=0.0) or 1.0
    return "".join(_BARS[round(max(value, 0.0) / highest * (len(_BARS) - 1))] for value in values)


def number(value: float | None, digits: int = 0) -> str:
    """A number for people; a dash where there is none."""
    return _UNKNOWN if value is None else f"{value:,.{digits}f}"
