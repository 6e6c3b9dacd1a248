"""Names and colours of classes that are stored as colours."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

from napari_jnet.data.readable import read_json

__all__ = ["LEGEND_FILE", "make_legend"]

LEGEND_FILE = "classes.json"
"""Beside the masks or one folder above: {"line": "#ff0000", "ellipse": [0, 255, 0]}."""

_NAMES = {
    "#000000": "background",
    "#ff0000": "red",
    "#00ff00": "green",
    "#0000ff": "blue",
    "#ffff00": "yellow",
    "#00ffff": "cyan",
    "#ff00ff": "magenta",
    "#ffffff": "white",
}


def make_legend(
    colours: Sequence[tuple[int, int, int]], folders: Iterable[Path]
) -> tuple[tuple[str, str], ...]:
    """Name the classes of colour masks.

    Parameters
    ----------
    colours
        Red, green and blue of class 1, 2, ...; class 0 is black.
    folders
        Where a `LEGEND_FILE` may lie, the nearest first.

    Returns
    -------
    tuple of (name, "#rrggbb")
        For each class from 0.  Names come from the file, else they are those of the colour.

    Raises
    ------
    ValueError
        If the file is no such list.
    """
    file = next((f / LEGEND_FILE for f in folders if (f / LEGEND_FILE).is_file()), None)
    names = _NAMES | (_read(file) if file is not None else {})
    written = ["#000000", *(_hex(colour) for colour in colours)]
    return tuple((names.get(colour, colour), colour) for colour in written)


def _read(file: Path) -> dict[str, str]:
    """Read colour -> name."""
    try:
        stored = read_json(file)
        return {_hex(colour): str(name) for name, colour in stored.items()}
    except (ValueError, TypeError, AttributeError) as error:
        raise ValueError(
            f"{file} is no list of classes ({error}); write names and colours, such as "
            '{"line": "#ff0000", "ellipse": [0, 255, 0]}.'
        ) from error


def _hex(colour: object) -> str:
    """Write "#FF0000" or [255, 0, 0] as "#ff0000"."""
    if isinstance(colour, str):
        parts = bytes.fromhex(colour.removeprefix("#"))
    elif isinstance(colour, (list, tuple)):
        parts = bytes(colour)
    else:
        parts = b""
    if len(parts) != 3:
        raise ValueError(f"{colour!r} is no colour")
    return f"#{parts.hex()}"
