"""What the commands say of opening a stack: its axes, its image in the file, and what was decided."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from .report import console

if TYPE_CHECKING:
    from napari_jnet.data.stack import Stack

__all__ = ["Axes", "Series", "open_and_tell"]

Axes = Annotated[
    str | None,
    typer.Option(
        metavar="TCYX",
        help="What the dimensions of the file are, in its order: T, Z, C, Y, X; default as it says.",
    ),
]
Series = Annotated[
    int | None,
    typer.Option(metavar="N", help="Image of a file with several, such as positions; from 1."),
]


def open_and_tell(path: Path, **choices: Any) -> Stack:
    """Open a stack, and print what was decided in doing so; see `napari_jnet.open_stack`."""
    from napari_jnet.data import open_stack

    stack = open_stack(path, **choices)
    for note in stack.notes:
        console().print(f"Note: {note}")
    return stack
