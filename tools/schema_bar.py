"""Draws answers under generated JSON schemas and validates each: `uv run python -m tools.schema_bar --count 2000`.

The engine's host path is all there: compiling, masks, jump-ahead, scheduling. Instead of a model, which would draw from
its own distribution, there is one that draws almost evenly from what the masks allow: it visits corners of a schema
that no model would. It needs the tokenizer of SmolLM2 and no device.

`--url` asks a running server instead, whose model draws at temperature 1.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import re
import sys
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime

import httpx
import jsonschema
import numpy as np
import numpy.typing as npt

from sgl_jax.engine.config.default_model import find_default_model
from sgl_jax.engine.core import EngineCore
from sgl_jax.engine.errors import ProfileError
from sgl_jax.engine.grammar import Grammar
from sgl_jax.engine.messages import EngineInfo, Finish, GenerateRequest
from sgl_jax.engine.plan import ProgressCallback, SlotPlan, StepLimits, StepPlan, StepResult
from sgl_jax.engine.sampling_params import SamplingParams
from sgl_jax.engine.structured.compiler import GrammarCompiler
from sgl_jax.engine.text.tokenizer import Tokenizer
from tools.schema_cases import Schema, SchemaMaker

EOS = 2
VOCAB_SIZE = 49_152
MAX_TOKENS = 400
_AT_ONCE = 64
_KEYWORD = re.compile(
    r"min/maxProperties|\b(?:pattern|format|oneOf|minProperties|propertyNames|uniqueItems|not|if|contains|dependentRequired"
    r"|dependentSchemas|unevaluatedProperties|unevaluatedItems)\b"
)
_FORMATS = jsonschema.FormatChecker(["email", "ipv4", "ipv6", "uuid", "date"])


def _is_date_time(value: object) -> bool:
    return not isinstance(value, str) or _parses(value)


def _is_time(value: object) -> bool:
    return not isinstance(value, str) or _parses(f"2024-01-01T{value}")


def _parses(value: str) -> bool:
    try:
        datetime.fromisoformat(value)
    except ValueError:
        return False
    return True


_FORMATS.checks("date-time")(_is_date_time)
_FORMATS.checks("time")(_is_time)


@dataclass(slots=True)
class Bar:
    """What came of the schemas.

    Attributes:
        valid: answers that were finished, parsed and fitted.
        unfinished: answers that `max_new_tokens` ended.
        refused: schemas refused with the name of a keyword -> how many of each keyword.
        wrong: everything that must not be: schema, and what happened.
    """

    valid: int = 0
    unfinished: int = 0
    refused: Counter[str] = field(default_factory=Counter)
    wrong: list[tuple[Schema, str]] = field(default_factory=list)
    tokens: int = 0


def run(count: int, seed: int = 0) -> Bar:
    """Draws one answer under each of `count` schemas."""
    path = find_default_model()
    assert path is not None, "SmolLM2 is not installed: uv sync"
    tokenizer = Tokenizer.from_path(path)
    core = _core(tokenizer)
    bar = Bar()
    maker = SchemaMaker(seed)
    schemas = {str(number): maker.make() for number in range(count)}
    waiting = iter(schemas.items())
    texts: dict[str, list[int]] = {}
    _submit(core, waiting, texts, _AT_ONCE)
    while core.has_work():
        outputs = core.step()
        for request_id, delta in zip(outputs.request_ids, outputs.deltas, strict=True):
            texts[request_id] += delta.token_ids
            if delta.finish is not None:
                ids = texts.pop(request_id)
                bar.tokens += len(ids)
                _judge(bar, schemas[request_id], tokenizer.decode(ids), delta.finish)
                _submit(core, waiting, texts, 1)
    core.close()
    return bar


def run_on_server(url: str, count: int, seed: int = 0, max_tokens: int = MAX_TOKENS) -> Bar:
    """The same, drawn by the model of a running server."""
    bar = Bar()
    maker = SchemaMaker(seed)
    schemas = iter([(number, maker.make()) for number in range(count)])

    async def sender(http: httpx.AsyncClient) -> None:
        for number, schema in schemas:
            form = {"type": "json_schema", "json_schema": {"name": "x", "schema": schema}}
            body = {"prompt": "An example in JSON: ", "max_tokens": max_tokens, "seed": number}
            answer = (await http.post("/v1/completions", json={**body, "response_format": form})).json()
            if "error" in answer:
                text, finish = "", Finish(reason="error", message=answer["error"]["message"])
            else:
                (choice,) = answer["choices"]
                text, finish = choice["text"], Finish(reason=choice["finish_reason"])
                bar.tokens += answer["usage"]["completion_tokens"]
            _judge(bar, schema, text, finish)

    async def together() -> None:
        async with httpx.AsyncClient(base_url=url, timeout=600) as http:
            await asyncio.gather(*(sender(http) for _ in range(_AT_ONCE)))

    asyncio.run(together())
    return bar


def _core(tokenizer: Tokenizer) -> EngineCore:
    info = EngineInfo(
        model_path="",
        architecture="",
        vocab_size=VOCAB_SIZE,
        max_model_len=4096,
        max_total_tokens=1 << 16,
        max_running_requests=_AT_ONCE,
        eos_token_ids=[EOS],
        dtype="",
        device="fake",
    )
    return EngineCore(_EvenDraws(tokenizer), info, grammars=GrammarCompiler(lambda: tokenizer, VOCAB_SIZE, [EOS]))


def _submit(core: EngineCore, waiting: Iterator[tuple[str, Schema]], texts: dict[str, list[int]], most: int) -> None:
    for _, (request_id, schema) in zip(range(most), waiting, strict=False):
        texts[request_id] = []
        grammar = Grammar(kind="json_schema", text=json.dumps(schema))
        sampling = SamplingParams(seed=int(request_id), max_new_tokens=MAX_TOKENS, grammar=grammar)
        core.submit(GenerateRequest(request_id=request_id, prompt_ids=[1, 1 + int(request_id)], sampling=sampling))


def _judge(bar: Bar, schema: Schema, text: str, finish: Finish) -> None:
    match finish.reason:
        case "error":
            reason = _reason(finish.message or "")
            if reason and not text:
                bar.refused[reason] += 1
            else:
                bar.wrong.append((schema, f"{finish.message} (after {text!r})"))
        case "length":
            bar.unfinished += 1
        case _:
            try:
                validator = jsonschema.Draft202012Validator(schema, format_checker=_FORMATS)
                validator.validate(json.loads(text))
                bar.valid += 1
            except (ValueError, jsonschema.ValidationError) as error:
                bar.wrong.append((schema, f"{text!r}: {str(error).splitlines()[0]}"))


def _reason(message: str) -> str:
    """The keyword that a refusal names; empty for none."""
    if "Unsatisfiable" in message:  # no value fits the schema, which is nobody's fault but its own
        return "unsatisfiable"
    found = _KEYWORD.search(re.sub(r"#\S*", "", message))
    return found[0] if found else ""


class _EvenDraws:
    """An executor (`plan.Executor`) that draws any token that a mask allows, often one that may end something.

    Its tokens do not depend on what came before, so it keeps no pages.
    """

    num_pages, page_size, max_pages_per_slot = 4096, 16, 256
    max_slots = _AT_ONCE
    window: int | None = None
    limits = StepLimits(4096, 512)
    copies_pages = False
    compiles = 0

    def __init__(self, tokenizer: Tokenizer) -> None:
        closing = [token for token in range(VOCAB_SIZE) if set(tokenizer.decode([token])) & set('"}]')]
        self._closing = np.zeros(VOCAB_SIZE, np.bool_)
        self._closing[closing] = True

    def warmup(self, on_progress: ProgressCallback) -> None:
        """Nothing to compile."""

    def close(self) -> None:
        """There is nothing to end."""

    def start_profile(self) -> str:
        raise ProfileError("There is no device here.")

    def stop_profile(self) -> str:
        raise ProfileError("There is no device here.")

    def dispatch(self, plan: StepPlan) -> _Drawn:
        """Draws at once."""
        return _Drawn(StepResult(np.array([self._draw(slot) for slot in plan.slots], np.int32)))

    def _draw(self, plan: SlotPlan) -> int:
        if not plan.sample or plan.mask is None:
            return EOS
        bits: npt.NDArray[np.bool_] = np.unpackbits(plan.mask.view(np.uint8), bitorder="little").view(np.bool_)
        return self._choose(bits[:VOCAB_SIZE], random.Random(f"{plan.seed} {plan.start}"))

    def _choose(self, allowed: npt.NDArray[np.bool_], dice: random.Random) -> int:
        if allowed[EOS] and dice.random() < 0.6:
            return EOS
        if dice.random() < 0.35:
            closing = np.flatnonzero(allowed & self._closing)
            if len(closing):
                return int(closing[dice.randrange(len(closing))])
        tokens = np.flatnonzero(allowed)
        return int(tokens[dice.randrange(len(tokens))])


@dataclass(frozen=True, slots=True)
class _Drawn:
    result: StepResult

    def collect(self) -> StepResult:
        """It is there already."""
        return self.result


def main() -> int:
    """Runs the bar; the exit status says whether it was met."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=2000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--url", help="a running server; the default needs none")
    parser.add_argument("--max-tokens", type=int, default=MAX_TOKENS, help="of an answer, with --url")
    options = parser.parse_args()
    begin = time.perf_counter()
    if options.url is None:
        bar = run(options.count, options.seed)
    else:
        bar = run_on_server(options.url, options.count, options.seed, options.max_tokens)
    seconds = time.perf_counter() - begin
    for schema, what in bar.wrong:
        print(f"WRONG {json.dumps(schema, ensure_ascii=False)}\n      {what}")
    print(f"{options.count} schemas, seed {options.seed}: {bar.valid} answers valid, {len(bar.wrong)} wrong,")
    print(f"{bar.unfinished} ended by max_new_tokens, {bar.refused.total()} refused by keyword: {dict(bar.refused)}")
    print(f"{bar.tokens} tokens in {seconds:.0f} s")
    return bool(bar.wrong)


if __name__ == "__main__":
    sys.exit(main())
