"""A Jinja environment for chat templates, which come with the model and so from strangers.

Jinja's immutable sandbox keeps templates from running code of their own. This adds what it leaves open: a template
that runs on and on, or grows without end. Every rendering has a budget, and everything that a template can do to a
value is paid for according to the value's size: loops, calls, filters, tests, operators, comparisons, slices, output.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import datetime
from types import BuiltinMethodType, CodeType
from typing import Any, cast

from jinja2 import Template, nodes, pass_context
from jinja2.exceptions import SecurityError, TemplateError
from jinja2.ext import Extension, loopcontrols
from jinja2.parser import Parser
from jinja2.runtime import Context, Undefined
from jinja2.sandbox import ImmutableSandboxedEnvironment
from jinja2.visitor import NodeTransformer

from sgl_jax.engine.text.template_budget import MAX_CHARACTERS, Budget, expect, too_long
from sgl_jax.engine.text.template_growth import FORBIDDEN_METHODS, check_filter, check_method, formatted

MAX_SOURCE = 256 * 1024
"""Longest template; compiling takes time, too. Those of real models have up to 20,000 characters."""
_STEPS_OF_A_CALL = 4
_LARGEST_POWER = 64
_MOST_BITS = 4096

# None of these can be spelled as a name in a template.
_BUDGET = "step budget"
_COUNTED = "counted iteration"
_JOINED = "bounded join"
_LOOKED = "paid look"
_WEIGHED = "paid weight"


class TemplateEnvironment(ImmutableSandboxedEnvironment):
    """Compiles and renders chat templates as transformers does, within a budget."""

    intercepted_binops = frozenset({"+", "-", "*", "/", "//", "%", "**"})
    concat = staticmethod(lambda parts: _bounded_concat(parts))  # joins the output of macros and of `set` blocks

    def __init__(self) -> None:
        super().__init__(
            trim_blocks=True, lstrip_blocks=True, extensions=[loopcontrols, _GenerationTag], finalize=_paid_output
        )
        self.globals.update(raise_exception=_raise_exception, strftime_now=_strftime_now)
        self.globals.pop("lipsum")  # makes text of any size
        self.filters["tojson"] = _tojson
        self.filters = {name: _paid_filter(name, function) for name, function in self.filters.items()}
        self.filters.update({_COUNTED: _counted, _JOINED: _joined, _LOOKED: _looked, _WEIGHED: _weighed})
        self.tests = {name: _paid_test(name, cast(Any, function)) for name, function in self.tests.items()}

    def compile_template(self, source: str) -> Template:
        """Compiles a template.

        Raises:
            jinja2.TemplateSyntaxError: with the line.
            Exception: whatever else Jinja or Python say to a template that they cannot digest.
        """
        if len(source) > MAX_SOURCE:
            raise TemplateError(f"it has {len(source)} characters, at most {MAX_SOURCE} are taken")
        tree = _Bounded().visit(self.parse(source))
        code: CodeType = self.compile(tree)
        return Template.from_code(self, code, self.make_globals(None))

    def render_template(self, template: Template, variables: Mapping[str, Any]) -> str:
        """Renders a template compiled here.

        Raises:
            Exception: whatever the template does wrong, `SecurityError` for an exceeded budget.
        """
        budget = Budget()
        chunks = template.generate({**variables, "range": budget.range, _BUDGET: budget})
        parts, room = [], MAX_CHARACTERS
        for chunk in chunks:
            room -= len(chunk)
            if room < 0:
                raise too_long()
            parts.append(chunk)
        return "".join(parts)

    def is_safe_attribute(self, obj: Any, attr: str, value: Any) -> bool:
        """Hides what is private, what changes its object, and methods that make much out of little."""
        if attr in FORBIDDEN_METHODS and isinstance(obj, str | bytes | int):
            return False
        return super().is_safe_attribute(obj, attr, value)

    def getitem(self, obj: Any, argument: Any) -> Any:
        """Looks a key up. Tuples are none: their hash goes to the bottom of what is in them, unpaid."""
        if isinstance(argument, tuple):
            raise SecurityError("the template uses a tuple as a key")
        return super().getitem(obj, argument)

    def call(__self, __context: Context, __obj: Any, *args: Any, **kwargs: Any) -> Any:  # noqa: N805
        """Calls an object from a template; the names are the base class's."""
        budget = _budget(__context)
        budget.spend(_STEPS_OF_A_CALL)
        method = getattr(__obj, "__wrapped__", __obj)  # Jinja wraps `format`
        if isinstance(method, BuiltinMethodType):
            check_method(method.__name__, budget, method.__self__, args, kwargs)
        result = super().call(__context, __obj, *args, **kwargs)
        budget.look(result)
        return result

    def call_binop(self, context: Context, operator: str, left: Any, right: Any) -> Any:
        """Computes an operator unless the result would be huge."""
        budget = _budget(context)
        if operator == "%" and isinstance(left, str):
            expect(formatted(left, right if isinstance(right, tuple) else (right,)))
        elif operator == "*":
            expect(max(_size(left) * _count(right), _size(right) * _count(left)))
        elif operator == "**" and isinstance(right, int | float) and abs(right) > _LARGEST_POWER:
            raise SecurityError(f"the template computes a power with an exponent over {_LARGEST_POWER}")
        else:
            expect(_size(left) + _size(right))
        result = super().call_binop(context, operator, left, right)
        if isinstance(result, int) and result.bit_length() > _MOST_BITS:
            raise SecurityError(f"the template computes a number of more than {_MOST_BITS} bits")
        budget.look(result)
        return result


class _Bounded(NodeTransformer):
    """Rewrites a template's tree so that what Jinja does without asking the environment is paid for."""

    def visit_For(self, node: nodes.For) -> nodes.Node:  # noqa: N802 (jinja's spelling)
        self.generic_visit(node)
        node.iter = _filtered(node.iter, _COUNTED)
        return node

    def visit_Concat(self, node: nodes.Concat) -> nodes.Node:  # noqa: N802
        self.generic_visit(node)
        return _filtered(nodes.List(node.nodes, lineno=node.lineno), _JOINED)

    def visit_Compare(self, node: nodes.Compare) -> nodes.Node:  # noqa: N802
        self.generic_visit(node)
        searches = any(operand.op in ("in", "notin") for operand in node.ops)
        operands = [node.expr, *(operand.expr for operand in node.ops)]
        # What is compared with a constant is looked at as far as the constant goes.
        if len(node.ops) > 1 or searches or not any(isinstance(operand, nodes.Const) for operand in operands):
            node.expr = _filtered(node.expr, _WEIGHED)
            for operand in node.ops:
                operand.expr = _filtered(operand.expr, _WEIGHED)
        return node

    def visit_Getitem(self, node: nodes.Getitem) -> nodes.Node:  # noqa: N802
        self.generic_visit(node)
        if isinstance(node.arg, nodes.Slice):
            node.node = _filtered(node.node, _LOOKED)
        return node

    def visit_Pair(self, node: nodes.Pair) -> nodes.Node:  # noqa: N802
        self.generic_visit(node)
        if not isinstance(node.key, nodes.Const):
            node.key = _filtered(node.key, _WEIGHED)
        return node

    def visit_AssignBlock(self, node: nodes.AssignBlock) -> nodes.Node:  # noqa: N802
        self.generic_visit(node)
        node.filter = _filtered(node.filter, _LOOKED)
        return node


class _GenerationTag(Extension):
    """`{% generation %}…{% endgeneration %}` marks what a model wrote, for training masks.

    Here it changes nothing, but that names set inside stay inside, as in transformers.
    """

    tags = frozenset({"generation"})  # type: ignore[assignment]  # declared as a mutable set there

    def parse(self, parser: Parser) -> nodes.Node:
        line = next(parser.stream).lineno
        return nodes.Scope(parser.parse_statements(("name:endgeneration",), drop_needle=True), lineno=line)


def _filtered(node: nodes.Node | None, name: str) -> nodes.Filter:
    line = None if node is None else node.lineno
    return nodes.Filter(cast(nodes.Expr, node), name, [], [], None, None, lineno=line)


def _budget(context: Context) -> Budget:
    budget: Budget = context.parent[_BUDGET]
    return budget


def _paid_filter(name: str, function: Callable[..., Any]) -> Callable[..., Any]:
    """The same filter, which is paid for according to what it looks at and what it makes."""

    @pass_context
    def paid(context: Context, value: Any, *args: Any, **kwargs: Any) -> Any:
        budget = _budget(context)
        budget.spend(1)
        check_filter(name, budget, value, args, kwargs)
        result = function(*_wanted(function, context), value, *args, **kwargs)
        budget.look(result)
        return result

    return paid


def _paid_test(name: str, function: Callable[..., Any]) -> Callable[..., bool]:
    @pass_context
    def paid(context: Context, value: Any, *args: Any) -> bool:
        budget = _budget(context)
        budget.spend(1)
        if args or name in ("lower", "upper"):
            budget.weigh(value, *args)
        return bool(function(*_wanted(function, context), value, *args))

    return paid


def _wanted(function: Callable[..., Any], context: Context) -> tuple[Any, ...]:
    """What Jinja's own filters and tests ask for in front of their arguments."""
    asked = getattr(function, "jinja_pass_arg", None)
    match None if asked is None else asked.name:
        case "context":
            return (context,)
        case "eval_context":
            return (context.eval_ctx,)
        case "environment":
            return (context.environment,)
    return ()


@pass_context
def _counted(context: Context, items: Iterable[Any]) -> Iterator[Any]:
    budget = _budget(context)
    for item in items:
        budget.spend(1)
        yield item


@pass_context
def _joined(context: Context, parts: list[Any]) -> str:
    budget = _budget(context)
    budget.weigh(*(part for part in parts if not isinstance(part, str)))
    joined = _bounded_concat(str(part) for part in parts)
    budget.look(joined)
    return joined


@pass_context
def _looked(context: Context, value: Any) -> Any:
    _budget(context).look(value)
    return value


@pass_context
def _weighed(context: Context, value: Any) -> Any:
    _budget(context).weigh(value)
    return value


@pass_context
def _paid_output(context: Context, value: Any) -> Any:
    if isinstance(value, str):
        _budget(context).look(value)
    elif not isinstance(value, Undefined):
        _budget(context).weigh(value)
    return value


def _bounded_concat(parts: Iterable[str]) -> str:
    parts = list(parts)
    expect(sum(map(len, parts)))
    return "".join(parts)


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
