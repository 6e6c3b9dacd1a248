"""What one parameter is: its type, default, words and limits; and the groups that parameters form."""

from __future__ import annotations

import ast
import difflib
import json
import reprlib
import warnings
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal, Self, get_args, get_origin

from pydantic import BaseModel, ConfigDict, Field, ValidationError

__all__ = ["Option", "Section", "option", "options", "read_literal", "read_setting", "unknown_key"]

_TRUTH = {"true": True, "yes": True, "on": True, "1": True} | {
    "false": False, "no": False, "off": False, "0": False
}  # fmt: skip
_RULES = {
    "int_type": "it must be a number",
    "float_type": "it must be a number",
    "bool_type": "it must be true or false",
    "string_type": "it must be text",
    "finite_number": "it must be a finite number",
}
"""By the error of pydantic."""
_SHORT = reprlib.Repr()
_SHORT.maxlist, _SHORT.maxstring, _SHORT.maxother, _SHORT.maxlong = 20, 200, 200, 60


def option(
    default: Any,
    help: str,
    *,
    minimum: float | None = None,
    maximum: float | None = None,
    unit: str = "",
    example: Any = None,
) -> Any:
    """Declare a field with its words and limits; limits of the numbers of a tuple stand in its type."""
    return Field(
        default,
        description=help,
        ge=minimum,
        le=maximum,
        examples=None if example is None else [example],
        json_schema_extra={"unit": unit},
    )


@dataclass(frozen=True)
class Option:
    """What a form or a command line needs to know of one field; limits hold for each number."""

    name: str
    default: Any
    help: str
    minimum: float | None
    maximum: float | None
    choices: tuple[str, ...] | None
    unit: str
    kind: Any  # the type, without the None of an optional field
    optional: bool
    example: Any


def options(section: type[Section]) -> dict[str, Option]:
    """List the fields of one section of the configuration, in order."""
    return {name: _option(name, field) for name, field in section.model_fields.items()}


def _option(name: str, field: Any) -> Option:
    kinds = get_args(field.annotation) if type(None) in get_args(field.annotation) else ()
    kind = next((kind for kind in kinds if kind is not type(None)), field.annotation)
    limits = [*field.metadata, *_parts(field.annotation)]
    return Option(
        name=name,
        default=field.default,
        help=field.description or "",
        minimum=_limit(limits, "ge"),
        maximum=_limit(limits, "le"),
        choices=get_args(kind) if get_origin(kind) is Literal else None,
        unit=(field.json_schema_extra or {}).get("unit", ""),
        kind=kind,
        optional=bool(kinds),
        example=field.examples[0] if field.examples else field.default,
    )


def _limit(limits: list[Any], name: str) -> float | None:
    return next((getattr(limit, name) for limit in limits if hasattr(limit, name)), None)


def _parts(annotation: Any) -> Iterator[Any]:
    """Yield the limits of the numbers within a tuple."""
    for part in get_args(annotation):
        yield from getattr(part, "metadata", ())
        yield from _parts(part)


def unknown_key(key: object, known: list[str], where: str) -> ValueError:
    """Make the error for a name that is not known, with the nearest one that is."""
    close = difflib.get_close_matches(str(key), known, n=1)
    hint = f"did you mean {close[0]!r}?" if close else f"known are {', '.join(known)}."
    return ValueError(f"{where} has no {_shown(key)}: {hint}")


class Section(BaseModel):
    """One group of parameters, frozen; each is checked against its type, its limits and choices.

    Parameters
    ----------
    where
        What to write before the name of a field in an error; by default the class and a dot.
    **values
        Fields; a list counts as a tuple, nothing else is converted.

    Raises
    ------
    ValueError
        If a value does not fit, in one sentence.
    """

    model_config = ConfigDict(frozen=True, strict=True, extra="forbid", allow_inf_nan=False)

    def __init__(self, where: str | None = None, /, **values: Any) -> None:
        where = f"{type(self).__name__}." if where is None else where
        known = type(self).model_fields
        for key in values:
            if key not in known:
                raise unknown_key(key, list(known), where.rstrip("."))
        values = {key: _tupled(value) for key, value in values.items()}
        try:
            super().__init__(**values)
        except ValidationError as error:
            raise ValueError(where + _sentence(type(self), values, error)) from None

    @classmethod
    def from_dict(cls, values: Mapping[str, Any], where: str | None = None) -> Self:
        """Make a section of plain values; what does not fit raises `ValueError`."""
        if not isinstance(values, Mapping):
            raise ValueError(
                f"{(where or cls.__name__).rstrip('.')} is {_shown(values)}; it must hold values by "
                f"their names, such as {next(iter(cls.model_fields))!r}."
            )
        return cls(where, **{str(key): value for key, value in values.items()})

    def to_dict(self) -> dict[str, Any]:
        """Return plain values: numbers, text, lists."""
        return self.model_dump(mode="json")

    def given(self) -> dict[str, Any]:
        """Return the values that were given when this was made, also those that equal the default."""
        given = self.model_fields_set
        return {name: getattr(self, name) for name in type(self).model_fields if name in given}

    def changed(self, **changes: Any) -> Self:
        """Return a checked copy with other values."""
        return type(self)(**{**self.given(), **changes})


def _tupled(value: Any, depth: int = 3) -> Any:
    """Make tuples of lists; no parameter is nested deeper."""
    if isinstance(value, (list, tuple)) and depth:
        return tuple(_tupled(item, depth - 1) for item in value)
    return value


def _shown(value: Any) -> str:
    """Write a value for a message: tuples as lists, long ones shortened."""
    try:
        return _SHORT.repr(_listed(value))
    except (ValueError, RecursionError):  # a number of thousands of digits, lists within lists
        return f"a value of type {type(value).__name__} that is too long to show"


def _listed(value: Any, depth: int = 3) -> Any:
    if isinstance(value, tuple) and depth:
        return [_listed(item, depth - 1) for item in value]
    return value


def _sentence(section: type[Section], values: dict[str, Any], error: ValidationError) -> str:
    """Say the first error as value, rule and remedy, beginning with the name of the field."""
    first = error.errors(include_url=False)[0]
    if first["type"] == "value_error":
        return str(first["ctx"]["error"])
    name, *inner = first["loc"]
    option = _option(str(name), section.model_fields[str(name)])
    value, kind = first["input"], first["type"]
    if values[option.name] is None:
        return f"{name} is None; it needs a value such as {option.example!r}."
    rule = _RULES.get(kind, "")
    if kind == "int_type" and isinstance(value, float):
        rule = "it must be a whole number"
    elif kind == "float_type" and isinstance(value, int) and not isinstance(value, bool):
        rule = f"the largest is {option.maximum}"
    elif kind == "greater_than_equal":
        rule = f"the smallest is {option.minimum}"
    elif kind == "less_than_equal":
        rule = f"the largest is {option.maximum}"
    elif kind == "literal_error" and option.choices:
        rule = f"it must be one of {', '.join(option.choices)}"
    if inner and kind not in ("greater_than_equal", "less_than_equal", "finite_number"):
        rule = ""
    if not rule:
        value, rule = values[option.name], f"write it as {json.dumps(option.example, default=repr)}"
        inner = []
    return f"{name} {'holds' if inner else 'is'} {_shown(value)}; {rule}."


def read_literal(text: str) -> Any:
    """Read a value as JSON or as Python writes it, without running anything; other words stay text."""
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        pass
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", SyntaxWarning)
            return ast.literal_eval(text)
    except (ValueError, TypeError, SyntaxError, MemoryError, RecursionError):
        return text


def read_setting(section: type[Section], name: str, text: str) -> Any:
    """Read the text of a command line as the type of its field; what cannot be read stays text.

    Parameters
    ----------
    section
        That has the field.
    name
        Of the field.
    text
        For a boolean true, false, yes, no, on, off, 1 or 0 in any case; none or null for an optional
        field; text as it is; numbers and lists in JSON or as Python writes them.
    """
    text = text.strip()
    option = options(section).get(name)
    if option is None:  # said when the section is made
        return read_literal(text)
    if option.optional and text.lower() in ("none", "null"):
        return None
    if option.kind is bool:
        return _TRUTH.get(text.lower(), text)
    if option.kind is str or option.choices:
        quoted = read_literal(text) if text[:1] in ('"', "'") else text
        return quoted if isinstance(quoted, str) else text
    return read_literal(text)
