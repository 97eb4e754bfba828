"""Python functions that a model may call.

from sgl_jax.client.tools import Tool


def weather(city: str, days: int = 1) -> str:
    '''Forecasts the weather.

    Args:
        city: its name in English.
    '''


Tool.of(weather).definition  # what `tools=[...]` of a request takes
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError, create_model

from sgl_jax.client._answer_types import strict_schema
from sgl_jax.client._docstring import read_docstring

__all__ = ["Tool", "ToolError"]

_ANYTHING: TypeAdapter[Any] = TypeAdapter(Any)


class ToolError(Exception):
    """Raise it in a tool to tell the model what went wrong, so that it can try otherwise.

    Any other exception of a tool ends `run_tools`.
    """


@dataclass(frozen=True, slots=True)
class Tool:
    """A function, and how a model is told of it.

    Attributes:
        name: under which the model calls it.
        description: what it does.
        parameters: JSON schema of its arguments.
        strict: the server holds the model to `parameters`.
    """

    function: Callable[..., Any]
    name: str
    description: str
    parameters: Mapping[str, Any]
    strict: bool
    _arguments: type[BaseModel] = field(repr=False)

    @classmethod
    def of(
        cls,
        function: Callable[..., Any],
        *,
        name: str | None = None,
        description: str | None = None,
        strict: bool = False,
    ) -> Tool:
        """Describes a function by its signature and its docstring.

        Types become a schema as pydantic sees them. `Annotated[int, Field(description=..., ge=1)]` says more about a
        parameter than the docstring's `Args:` does.

        Args:
            function: plain or async; each parameter has a type, and can be given by name.
            name: instead of the function's own.
            description: instead of the docstring's text.
            strict: hold the model to the schema, under which it has to give every parameter, defaults or not.

        Raises `TypeError` for a function whose parameters cannot be described.
        """
        named: str = name or getattr(function, "__name__", "") or type(function).__name__
        about, texts = read_docstring(inspect.getdoc(function))
        arguments = _model_of(function, named, texts)
        schema = arguments.model_json_schema()
        for part in (schema, *schema.get("properties", {}).values()):
            part.pop("title", None)  # pydantic's, made up from the name
        return cls(
            function=function,
            name=named,
            description=about if description is None else description,
            parameters=strict_schema(schema) if strict else schema,
            strict=strict,
            _arguments=arguments,
        )

    @property
    def definition(self) -> dict[str, Any]:
        """The entry of a request's `tools`."""
        about = {"name": self.name, "description": self.description, "parameters": self.parameters}
        return {"type": "function", "function": {**about, "strict": True} if self.strict else about}

    def call(self, arguments: str) -> Any:
        """Calls the function with the arguments that a model wrote as JSON; an async one returns an awaitable.

        Raises `ToolError` for arguments that do not fit, and whatever the function raises.
        """
        try:
            values = self._arguments.model_validate_json(arguments or "{}")
        except ValidationError as error:
            raise ToolError(_told(error)) from error
        fields = type(values).model_fields
        given = {fields[name].alias or name: getattr(values, name) for name in values.model_fields_set}
        return self.function(**given)


def text_of(value: Any) -> str:
    """A tool's result as the model reads it: text as it is, everything else as JSON.

    Raises `TypeError` for what JSON cannot hold.
    """
    if isinstance(value, str):
        return value
    try:
        return _ANYTHING.dump_json(value).decode()
    except ValueError as error:
        raise TypeError(f"A tool returned {type(value).__name__}, which cannot be told as JSON: {error}") from error


def _model_of(function: Callable[..., Any], name: str, texts: Mapping[str, str]) -> type[BaseModel]:
    """A model with a field for each parameter. The fields' own names are made up: any name may be a parameter's."""
    try:
        parameters = inspect.signature(function, eval_str=True).parameters.values()
    except (NameError, ValueError) as error:
        raise TypeError(f"The parameters of tool {name!r} cannot be read: {error}") from error
    fields: dict[str, Any] = {}
    for number, parameter in enumerate(parameters):
        if parameter.kind not in (parameter.POSITIONAL_OR_KEYWORD, parameter.KEYWORD_ONLY):
            raise TypeError(f"Tool {name!r} must not take {parameter}: a model gives each argument by its name.")
        if parameter.annotation is parameter.empty:
            raise TypeError(f"Parameter {parameter.name!r} of tool {name!r} needs a type.")
        about: dict[str, Any] = {"alias": parameter.name}
        if parameter.default is not parameter.empty:
            about["default"] = parameter.default
        if parameter.name in texts and not _describes_itself(parameter.annotation):
            about["description"] = texts[parameter.name]
        fields[f"p{number}"] = (parameter.annotation, Field(**about))
    model: type[BaseModel] = create_model(name, __config__=ConfigDict(extra="forbid"), **fields)
    return model


def _describes_itself(annotation: Any) -> bool:
    """Whether it is an `Annotated[..., Field(description=...)]`."""
    return any(getattr(one, "description", None) for one in getattr(annotation, "__metadata__", ()))


def _told(error: ValidationError) -> str:
    """A refusal of arguments in the model's words."""
    problems = (
        f"{'.'.join(map(str, one['loc'])) or 'arguments'}: {one['msg']}"
        for one in error.errors(include_url=False, include_context=False, include_input=False)
    )
    return "; ".join(problems)
