"""Rounds in which the contenders take turns, cell by cell, and the ratios of what they did in the same round."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from cells import Cell, CellError, Measured, measure
from contenders import Contender
from servers import Server

WARM = (Cell(1, 64, 1), Cell(8, 64, 8))
FIRST_SEED = 1000


@dataclass(frozen=True)
class Turn:
    """What one contender did in one cell of one round."""

    round: int
    cell: Cell
    contender: Contender
    measured: Measured


class Rounds:
    """Runs the cells round by round: every contender after the other, on the same prompts.

    The first round is complete. Later ones leave out a cell that would, from what it took before, end after the
    deadline; so the dear cells have fewer rounds when time is short.

    Args:
        servers: by the contender's name; those whose turn it is not are stopped.
        model: the GGUF file, for its tokenizer.
        deadline: moment of `time.perf_counter` at which all should be done.
        note: is told what happens.
    """

    def __init__(
        self, servers: Mapping[str, Server], model: Path, deadline: float, note: Callable[[str], None]
    ) -> None:
        self.turns: list[Turn] = []
        self.failures: dict[str, str] = {}
        self._servers = servers
        self._model = model
        self._deadline = deadline
        self._note = note
        self._took: dict[Cell, float] = {}
        self._seed = FIRST_SEED

    def warm(self, contenders: Sequence[Contender]) -> None:
        """Sends everybody a few requests that do not count; who fails is left out from then on."""
        for cell in WARM:
            self._seed += 1
            for contender in contenders:
                self._turn(-1, cell, contender)

    def run(self, contenders: Sequence[Contender], cells: Sequence[Cell], rounds: int) -> None:
        """Adds `rounds` rounds to `turns`, or fewer where time is short."""
        for number in range(rounds):
            for cell in cells:
                if number and time.perf_counter() + self._took[cell] > self._deadline:
                    self._note(f"round {number + 1}: no time for {cell.name}")
                    continue
                self._seed += 1
                begin = time.perf_counter()
                for contender in contenders:
                    if contender.thorough or cell.brief:
                        self._turn(number, cell, contender)
                self._took[cell] = time.perf_counter() - begin

    def _turn(self, number: int, cell: Cell, contender: Contender) -> None:
        if contender.name in self.failures or contender.name not in self._servers:
            return
        server = self._servers[contender.name]
        try:
            with server.alone(self._servers.values()):
                measured = measure(server, cell, self._model, self._seed)
        except CellError as error:
            self.failures[contender.name] = f"{cell.name}: {error}"
            self._note(f"{contender.name} is left out: {self.failures[contender.name]}")
            return
        if number >= 0:
            self.turns.append(Turn(number, cell, contender, measured))
            self._note(
                f"round {number + 1}, {cell.name}, {contender.name}: {measured.tokens_per_second:.0f} tok/s, "
                f"TTFT {measured.ttft:.0f} ms, TPOT {measured.tpot:.1f} ms"
                + (f", {measured.failed} FAILED: {measured.first_failure}" if measured.failed else "")
            )


def median_of(turns: Sequence[Turn], cell: Cell, name: str, figure: str) -> float | None:
    """The contender's median over the rounds; None if it did not run the cell."""
    values = [float(getattr(turn.measured, figure)) for turn in turns if _is(turn, cell, name)]
    return statistics.median(values) if values else None


def ratio_of(turns: Sequence[Turn], cell: Cell, one: str, other: str, figure: str) -> float | None:
    """Median over rounds of `one`'s figure over `other`'s in the same round; None without a common round."""
    values = {
        name: {turn.round: float(getattr(turn.measured, figure)) for turn in turns if _is(turn, cell, name)}
        for name in (one, other)
    }
    common = values[one].keys() & values[other].keys()
    ratios = [values[one][number] / values[other][number] for number in common if values[other][number]]
    return statistics.median(ratios) if ratios else None


def rounds_of(turns: Sequence[Turn], cell: Cell) -> int:
    """How many rounds the cell had."""
    return len({turn.round for turn in turns if turn.cell == cell})


def _is(turn: Turn, cell: Cell, name: str) -> bool:
    return turn.cell == cell and turn.contender.name == name
