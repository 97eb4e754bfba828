"""What a grammar makes a model write is what the parser of the same format reads, whatever is drawn."""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Iterator
from typing import Any

import jsonschema
import numpy as np
import pytest

from sgl_jax.engine.config.default_model import find_default_model
from sgl_jax.engine.errors import InvalidRequestError
from sgl_jax.engine.grammar import Grammar
from sgl_jax.engine.structured.compiler import GrammarCompiler
from sgl_jax.engine.structured.constraint import Constraint
from sgl_jax.engine.structured.mask import allows
from sgl_jax.engine.text.tokenizer import Tokenizer
from sgl_jax.server.openai.parsed import read_answer
from sgl_jax.server.parsing.arguments import Node, UnspeakableError
from sgl_jax.server.parsing.chat_format import ChatFormat, Wanted
from sgl_jax.server.parsing.events import Answer
from sgl_jax.server.parsing.spelling import Function, forced_calls, free_calls

EOS = 2
PARAMETERS = {
    "type": "object",
    "properties": {
        "city": {"type": "string", "maxLength": 9},
        "day": {"type": "string", "enum": ["today", "on the 1st"]},
        "when": {"type": "string", "format": "date"},
        "days": {"type": "integer", "minimum": 1, "maximum": 99},
        "tags": {"type": "array", "items": {"enum": ["a'b", 'c"d', "é\n"]}, "maxItems": 2},
        "exact": {"$ref": "#/$defs/flag"},
        "note": {"type": ["string", "null"], "maxLength": 4},
        "unit": {"enum": ["°C", "°F"]},
        "wind": {"anyOf": [{"type": "string", "const": "any"}, {"type": ["string"], "maxLength": 3}]},
    },
    "required": ["city", "days", "tags", "unit", "wind"],
    "additionalProperties": False,
    "$defs": {"flag": {"type": "boolean", "description": "Whether."}},
}
FREE_TEXT = {"type": "object", "properties": {"text": {"type": "string"}}, "required": ["text"]}
SCHEMAS = {"get_weather": PARAMETERS, "now": None, "say": FREE_TEXT}
FUNCTIONS = [Function(name, schema) for name, schema in SCHEMAS.items()]
BOUNDED = FUNCTIONS[:2]  # whose calls end soon, whatever is drawn

FORMATS = {
    "hermes": ("", "hermes"),
    "mistral": ("", "mistral"),
    "mistral, newer": ("[ARGS]", "mistral"),
    "deepseek V3": ("```json", "deepseek"),
    "deepseek V3.1": ("", "deepseek"),
    "glm45": ("", "glm45"),
    "glm4": ("", "glm4"),
    "qwen3-coder": ("", "qwen3-coder"),
    "llama3": ("", "llama3"),
    "pythonic": ("", "pythonic"),
    "pythonic, framed": ("<|tool_call_start|>", "pythonic"),
}

pytestmark = pytest.mark.model


@pytest.fixture(scope="module")
def tokenizer() -> Tokenizer:
    path = find_default_model()
    assert path is not None
    return Tokenizer.from_path(path)


@pytest.fixture(scope="module")
def compiled(tokenizer: Tokenizer) -> Iterator[Callable[[Node], Constraint]]:
    compiler = GrammarCompiler(lambda: tokenizer, tokenizer.vocab_size, [EOS])
    yield lambda node: compiler.submit(Grammar(kind="structural_tag", text=json.dumps({"format": node}))).result(30)
    compiler.close()


@pytest.fixture(scope="module")
def drawn(compiled: Callable[[Node], Constraint], tokenizer: Tokenizer) -> Callable[..., str]:
    """A text drawn under a node; it ends as soon as it may."""

    def draw(node: Node, seed: int, limit: int = 1500) -> str:
        constraint, dice, ids = compiled(node), random.Random(seed), []
        while not constraint.finished and len(ids) < limit:
            row = constraint.allowed()
            assert row is not None
            if allows(row, EOS):
                break
            allowed = np.flatnonzero(np.unpackbits(row.view(np.uint8), bitorder="little"))
            ids.append(int(allowed[dice.randrange(len(allowed))]))
            constraint.accept(ids[-1])
            ids += constraint.forced()
        assert len(ids) < limit
        return tokenizer.decode(ids, skip_special_tokens=False)

    return draw


@pytest.fixture(scope="module")
def fits(compiled: Callable[[Node], Constraint], tokenizer: Tokenizer) -> Callable[[Node, str], bool]:
    """Whether a text is a whole answer under a node."""

    def fits(node: Node, text: str) -> bool:
        constraint = compiled(node)
        for token in [*tokenizer.encode(text), EOS]:
            row = constraint.allowed()
            if row is not None and not allows(row, token):
                return False
            if token != EOS:
                constraint.accept(token)
        return True

    return fits


def read(format: str, text: str) -> Answer:
    schemas = {name: schema or {} for name, schema in SCHEMAS.items()}
    reasoning = "gpt-oss" if format == "gpt-oss" else "none"
    chat_format = ChatFormat.choose(format, reasoning, None)
    return read_answer(chat_format.answer(Wanted(tools=schemas), "", None).new_parser(), text)


@pytest.mark.parametrize("key", FORMATS)
def test_forced_calls_are_read_back(drawn: Callable[..., str], key: str) -> None:
    template, format = FORMATS[key]
    node = forced_calls(format, BOUNDED, template=template, several=True)
    names = set()
    for seed in range(12):
        text = drawn(node, seed)
        answer = read(format, text)
        assert answer.content == "", text
        assert answer.calls, text
        names.update(call.name for call in answer.calls)
        for call in answer.calls:
            jsonschema.validate(json.loads(call.arguments), SCHEMAS[call.name] or {"maxProperties": 0})
    assert names == {"get_weather", "now"}


@pytest.mark.parametrize("key", FORMATS)
def test_one_call_and_no_more(fits: Callable[[Node, str], bool], drawn: Callable[..., str], key: str) -> None:
    template, format = FORMATS[key]
    one = forced_calls(format, [FUNCTIONS[1]], template=template, several=False)
    text = drawn(one, 0)
    assert fits(one, text)
    assert fits(forced_calls(format, [FUNCTIONS[1]], template=template, several=True), text)
    for other in ("", "Let me see.", f"{text} ", f"Let me see. {text}"):
        assert not fits(one, other)


HERMES = '<tool_call>\n{"name": "now", "arguments": {}}\n</tool_call>'
DEEPSEEK = "<｜tool▁call▁begin｜>function<｜tool▁sep｜>now\n```json\n{}\n```<｜tool▁call▁end｜>"
DEEPSEEK_31 = "<｜tool▁call▁begin｜>now<｜tool▁sep｜>{}<｜tool▁call▁end｜>"
QWEN_CODER = "<tool_call>\n<function=now>\n</function>\n</tool_call>"
TWICE = {
    "hermes": f"{HERMES}\n{HERMES}",
    "mistral": '[TOOL_CALLS][{"name": "now", "arguments": {}}, {"name": "now", "arguments": {}}]',
    "mistral, newer": "[TOOL_CALLS]now[ARGS]{}[TOOL_CALLS]now[ARGS]{}",
    "deepseek V3": f"<｜tool▁calls▁begin｜>{DEEPSEEK}\n{DEEPSEEK}<｜tool▁calls▁end｜>",
    "deepseek V3.1": f"<｜tool▁calls▁begin｜>{DEEPSEEK_31}{DEEPSEEK_31}<｜tool▁calls▁end｜>",
    "glm45": "<tool_call>now\n</tool_call>\n<tool_call>now\n</tool_call>",
    "glm4": "now\n{}\nnow\n{}",
    "qwen3-coder": f"{QWEN_CODER}\n{QWEN_CODER}",
    "llama3": '{"name": "now", "parameters": {}}; {"name": "now", "parameters": {}}',
    "pythonic": "[now(), now()]",
    "pythonic, framed": "<|tool_call_start|>[now(), now()]<|tool_call_end|>",
}


@pytest.mark.parametrize("key", TWICE)
def test_several_calls_only_where_they_are_wanted(fits: Callable[[Node, str], bool], key: str) -> None:
    template, format = FORMATS[key]
    assert [call.name for call in read(format, TWICE[key]).calls] == ["now", "now"]
    for several in (True, False):
        assert fits(forced_calls(format, BOUNDED, template=template, several=several), TWICE[key]) is several


@pytest.mark.parametrize("key", TWICE)
def test_free_text_or_calls(fits: Callable[[Node, str], bool], key: str) -> None:
    template, format = FORMATS[key]
    node = free_calls(format, BOUNDED, template=template, several=True)
    if format == "glm4":  # nothing tells its calls from text
        assert node is None
        return
    assert node is not None
    assert fits(node, TWICE[key])
    assert fits(node, "Just text, and 2 < 3.")
    assert fits(node, "")
    assert not fits(node, TWICE[key].replace("now", "nowhere"))
    if format not in ("llama3", "pythonic") or key == "pythonic, framed":
        assert fits(node, f"I look. {TWICE[key]}")


def test_forced_harmony_calls_are_read_back(drawn: Callable[..., str]) -> None:
    node = forced_calls("gpt-oss", BOUNDED, template="", several=True)["elements"][
        1
    ]  # without the analysis, which is long
    for seed in range(8):
        answer = read("gpt-oss", drawn(node, seed))
        (call,) = answer.calls
        assert (answer.content, answer.reasoning) == ("", "")
        jsonschema.validate(json.loads(call.arguments), SCHEMAS[call.name] or {"maxProperties": 0})


def test_harmony_reasons_first_if_it_likes(fits: Callable[[Node, str], bool]) -> None:
    node = forced_calls("gpt-oss", BOUNDED, template="", several=True)
    call = "<|channel|>commentary to=functions.now <|constrain|>json<|message|>{}"
    reasoned = f"<|channel|>analysis<|message|>Hm.<|end|><|start|>assistant{call}"
    assert fits(node, call)
    assert fits(node, reasoned)
    assert read("gpt-oss", reasoned).reasoning == "Hm."
    assert not fits(node, "<|channel|>final<|message|>Hi")
    behind = free_calls("gpt-oss", BOUNDED, template="", several=True)
    assert behind is not None
    for header in ("", "<|channel|>commentary"):
        assert fits(behind, f"now{header} <|constrain|>json<|message|>{{}}")
        for before in ("", "<|channel|>commentary"):  # the model writes one of them, or both
            said = f"{before} to=functions.now{header} <|constrain|>json<|message|>{{}}"
            assert [call.name for call in read("gpt-oss", said).calls] == ["now"]
    assert not fits(behind, "then <|constrain|>json<|message|>{}")


@pytest.mark.parametrize("key", ["glm45", "qwen3-coder"])
def test_free_text_between_marks(fits: Callable[[Node, str], bool], key: str) -> None:
    node = forced_calls(key, FUNCTIONS[2:], template="", several=False)
    begin, end = {
        "glm45": ("<tool_call>say\n<arg_key>text</arg_key>\n<arg_value>", "</arg_value>\n</tool_call>"),
        "qwen3-coder": (
            "<tool_call>\n<function=say>\n<parameter=text>\n",
            "\n</parameter>\n</function>\n</tool_call>",
        ),
    }[key]
    for text in ('He said: "no < yes"\n', "", "\n\n", "</parameter", "<tool_call>"):
        assert fits(node, f"{begin}{text}{end}")
        (call,) = read(key, f"{begin}{text}{end}").calls
        assert json.loads(call.arguments) == {"text": text}
    assert not fits(node, begin + end[:-3])


@pytest.mark.parametrize("format", ["glm45", "qwen3-coder", "pythonic"])
@pytest.mark.parametrize(
    ("parameters", "says"),
    [
        ({"anyOf": [PARAMETERS]}, "'anyOf' beside 'properties'"),
        ({"properties": {"a": {}}, "minProperties": 1}, "'minProperties' beside"),
        ({"properties": [], "required": ["a"]}, "must be an object"),
        ({"properties": {"a": 5}}, "no schema under 'a'"),
        ({"properties": {"a": {}}, "required": ["b"]}, "'required' names 'b'"),
    ],
)
def test_what_has_no_spelling_is_refused_unless_lenient(format: str, parameters: dict[str, Any], says: str) -> None:
    with pytest.raises(UnspeakableError, match=says):
        forced_calls(format, [Function("f", parameters)], template="", several=True)
    forced_calls(format, [Function("f", parameters, lenient=True)], template="", several=True)


def test_a_text_by_a_pattern_has_no_spelling_between_marks() -> None:
    parameters = {"properties": {"a": {"type": "string", "pattern": "^a$"}}}
    with pytest.raises(UnspeakableError, match="'pattern' of the text 'a'"):
        forced_calls("glm45", [Function("f", parameters)], template="", several=True)
    forced_calls("pythonic", [Function("f", parameters)], template="", several=True)


def test_a_refused_schema_names_its_function(compiled: Callable[[Node], Constraint]) -> None:
    node = forced_calls("hermes", [Function("f", {"properties": {"a": {"not": {}}}})], template="", several=True)
    with pytest.raises(InvalidRequestError, match=r'"f".*not.* at #/properties/a'):
        compiled(node)
