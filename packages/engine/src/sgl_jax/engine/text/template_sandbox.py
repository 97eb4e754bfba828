"""A Jinja environment for chat templates, which come with the model and so from strangers.

Jinja's immutable sandbox keeps templates from running code of their own. This adds what it leaves
open: a template that runs on and on, or grows without end. Every rendering has a budget of steps
(loop rounds and calls, and text joined) and of output, and exceeding it raises `SecurityError`.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime
from types import CodeType
from typing import Any, cast

from jinja2 import Template, nodes, pass_context
from jinja2.exceptions import SecurityError, TemplateError
from jinja2.ext import Extension, loopcontrols
from jinja2.parser import Parser
from jinja2.runtime import Context
from jinja2.sandbox import ImmutableSandboxedEnvironment
from jinja2.visitor import NodeTransformer

MAX_STEPS = 500_000
"""About a second. A conversation of a thousand messages takes some ten thousand."""
MAX_CHARACTERS = 16 * 2**20
"""Longest text that a template may make; longer than any context window."""
_CHARACTERS_PER_STEP = 1024

# None of these can be spelled as a name in a template.
_BUDGET = "step budget"
_COUNTED = "counted iteration"
_JOINED = "bounded join"


def _too_long() -> SecurityError:
    return SecurityError(f"the template makes a text of more than {MAX_CHARACTERS} characters")


def _bounded_concat(parts: Iterable[str]) -> str:
    parts = list(parts)
    if sum(map(len, parts)) > MAX_CHARACTERS:
        raise _too_long()
    return "".join(parts)


class TemplateEnvironment(ImmutableSandboxedEnvironment):
    """Compiles and renders chat templates as transformers does, within a budget."""

    intercepted_binops = frozenset({"+", "*", "**"})
    concat = staticmethod(_bounded_concat)  # joins the output of macros and of `set` blocks

    def __init__(self) -> None:
        super().__init__(trim_blocks=True, lstrip_blocks=True, extensions=[loopcontrols, _GenerationTag])
        self.globals.update(raise_exception=_raise_exception, strftime_now=_strftime_now)
        self.globals.pop("lipsum")  # makes text of any size
        self.filters.update({"tojson": _tojson, _COUNTED: _counted, _JOINED: _joined})

    def compile_template(self, source: str) -> Template:
        """Compiles a template.

        Raises:
            jinja2.TemplateSyntaxError: with the line.
        """
        tree = _Bounded().visit(self.parse(source))
        code: CodeType = self.compile(tree)
        return Template.from_code(self, code, self.make_globals(None))

    def render_template(self, template: Template, variables: Mapping[str, Any]) -> str:
        """Renders a template compiled here.

        Raises:
            Exception: whatever the template does wrong, `SecurityError` for an exceeded budget.
        """
        budget = _Budget()
        chunks = template.generate({**variables, "range": budget.range, _BUDGET: budget})
        parts, room = [], MAX_CHARACTERS
        for chunk in chunks:
            room -= len(chunk)
            if room < 0:
                raise _too_long()
            parts.append(chunk)
        return "".join(parts)

    def call(__self, __context: Context, __obj: Any, *args: Any, **kwargs: Any) -> Any:  # noqa: N805
        """Calls an object from a template, at the price of one step; the names are the base class's."""
        __context.parent[_BUDGET].spend(1)
        if any(isinstance(argument, int) and argument > MAX_CHARACTERS for argument in args):
            raise _too_long()  # 'x'.center(10**12)
        return super().call(__context, __obj, *args, **kwargs)

    def call_binop(self, context: Context, operator: str, left: Any, right: Any) -> Any:
        """Computes an intercepted operator unless the result would be huge."""
        if operator == "**":
            if isinstance(right, int | float) and abs(right) > 64:
                raise SecurityError("the template computes a power with an exponent over 64")
        elif operator == "*":
            if _size(left) * _count(right) > MAX_CHARACTERS or _size(right) * _count(left) > MAX_CHARACTERS:
                raise _too_long()
        elif _size(left) + _size(right) > MAX_CHARACTERS:
            raise _too_long()
        result = super().call_binop(context, operator, left, right)
        context.parent[_BUDGET].spend(_size(result) // _CHARACTERS_PER_STEP)
        return result


class _Budget:
    """What is left of one rendering's steps."""

    def __init__(self) -> None:
        self._left = MAX_STEPS

    def spend(self, steps: int) -> None:
        self._left -= steps
        if self._left < 0:
            raise SecurityError(f"the template takes more than {MAX_STEPS} steps")

    def range(self, *bounds: int) -> range:
        found = range(*bounds)
        self.spend(len(found))
        return found


class _Bounded(NodeTransformer):
    """Rewrites a template's tree so that loops count their rounds and `~` checks its result."""

    def visit_For(self, node: nodes.For) -> nodes.Node:  # noqa: N802 (jinja's spelling)
        self.generic_visit(node)
        node.iter = _filtered(node.iter, _COUNTED)
        return node

    def visit_Concat(self, node: nodes.Concat) -> nodes.Node:  # noqa: N802
        self.generic_visit(node)
        return _filtered(nodes.List(node.nodes, lineno=node.lineno), _JOINED)


class _GenerationTag(Extension):
    """`{% generation %}…{% endgeneration %}` marks what a model wrote, for training masks. Here it is transparent."""

    tags = frozenset({"generation"})  # type: ignore[assignment]  # declared as a mutable set there

    def parse(self, parser: Parser) -> list[nodes.Node]:
        next(parser.stream)
        return parser.parse_statements(("name:endgeneration",), drop_needle=True)


def _filtered(node: nodes.Node, name: str) -> nodes.Filter:
    return nodes.Filter(cast(nodes.Expr, node), name, [], [], None, None, lineno=node.lineno)


@pass_context
def _counted(context: Context, items: Iterable[Any]) -> Iterator[Any]:
    budget = context.parent[_BUDGET]
    for item in items:
        budget.spend(1)
        yield item


@pass_context
def _joined(context: Context, parts: list[Any]) -> str:
    joined = _bounded_concat(str(part) for part in parts)
    context.parent[_BUDGET].spend(len(joined) // _CHARACTERS_PER_STEP)
    return joined


def _size(value: Any) -> int:
    return len(value) if isinstance(value, str | list | tuple) else 0


def _count(value: Any) -> int:
    return value if isinstance(value, int) else 0


def _tojson(
    value: Any,
    ensure_ascii: bool = False,
    indent: int | None = None,
    separators: tuple[str, str] | None = None,
    sort_keys: bool = False,
) -> str:
    # Jinja's own filter escapes HTML, which would show in the prompt.
    return json.dumps(value, ensure_ascii=ensure_ascii, indent=indent, separators=separators, sort_keys=sort_keys)


def _raise_exception(message: str) -> None:
    raise TemplateError(message)


def _strftime_now(layout: str) -> str:
    return datetime.now().strftime(layout)
