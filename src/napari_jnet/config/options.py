"""What one parameter is: its default, its words, its limits; and the groups that parameters form."""

from __future__ import annotations

import dataclasses
import difflib
from dataclasses import dataclass, field
from typing import Any, Self

__all__ = ["Option", "Section", "option", "options", "unknown_key"]


def option(
    default: Any,
    help: str,
    *,
    minimum: float | None = None,
    maximum: float | None = None,
    choices: tuple[str, ...] | None = None,
    unit: str = "",
) -> Any:
    """Declare a field with its words and limits; limits of a tuple hold for each of its numbers."""
    metadata = {
        "help": help,
        "minimum": minimum,
        "maximum": maximum,
        "choices": choices,
        "unit": unit,
    }
    return field(default=default, metadata=metadata)


@dataclass(frozen=True)
class Option:
    """What a form or a command line needs to know of one field."""

    name: str
    default: Any
    help: str
    minimum: float | None
    maximum: float | None
    choices: tuple[str, ...] | None
    unit: str


def options(section: type[Section]) -> dict[str, Option]:
    """List the fields of one section of the configuration, in order."""
    return {f.name: Option(f.name, f.default, **f.metadata) for f in dataclasses.fields(section)}


def unknown_key(key: str, known: list[str], where: str) -> ValueError:
    """Make the error for a name that is not known, with the nearest one that is."""
    close = difflib.get_close_matches(key, known, n=1)
    hint = f"did you mean {close[0]!r}?" if close else f"known are {', '.join(known)}."
    return ValueError(f"{where} has no {key!r}: {hint}")


@dataclass(frozen=True, kw_only=True)
class Section:
    """One group of parameters; checks ranges and choices as declared in the metadata."""

    def __post_init__(self) -> None:
        for option in options(type(self)).values():
            _check_option(type(self).__name__, option, getattr(self, option.name))

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> Self:
        """Make a section of plain values; an unknown name raises `ValueError`."""
        known = [f.name for f in dataclasses.fields(cls)]
        for key in values:
            if key not in known:
                raise unknown_key(key, known, cls.__name__)
        return cls(**{key: _tupled(value) for key, value in values.items()})

    def to_dict(self) -> dict[str, Any]:
        """Return plain values: numbers, text, lists."""
        return {f.name: _listed(getattr(self, f.name)) for f in dataclasses.fields(self)}


def _tupled(value: Any) -> Any:
    return tuple(_tupled(item) for item in value) if isinstance(value, (list, tuple)) else value


def _listed(value: Any) -> Any:
    return [_listed(item) for item in value] if isinstance(value, tuple) else value


def _check_option(section: str, option: Option, value: Any) -> None:
    name = f"{section}.{option.name}"
    if value is None:
        if option.default is not None:
            raise ValueError(f"{name} is None; it needs a value such as {option.default!r}.")
        return
    if option.choices is not None and value not in option.choices:
        raise ValueError(f"{name} is {value!r}; it must be one of {', '.join(option.choices)}.")
    if option.minimum is None and option.maximum is None:
        return
    for number in value if isinstance(value, tuple) else (value,):
        if isinstance(number, bool) or not isinstance(number, (int, float)):
            raise ValueError(f"{name} is {value!r}; it must be a number.")
        if option.minimum is not None and not number >= option.minimum:
            raise ValueError(f"{name} is {number}; the smallest is {option.minimum}.")
        if option.maximum is not None and not number <= option.maximum:
            raise ValueError(f"{name} is {number}; the largest is {option.maximum}.")
