"""From the words of a command line to checked values."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from napari_jnet.config import PRESETS, Config, preset
from napari_jnet.config.options import read_literal, read_setting
from napari_jnet.config.sections import SECTIONS

KindOption = Annotated[
    str | None,
    typer.Option(
        "--kind",
        help="What labels mean: instances, classes or scribbles; default: looked up in all.",
    ),
]
TruthOption = Annotated[
    str | None,
    typer.Option("--truth", help="Labels: gold, silver, ..., or a file or folder of labels."),
]
UnlabelledOption = Annotated[
    str | None,
    typer.Option(
        "--unlabelled", help="What is not labelled: background, so frames are complete, or unknown."
    ),
]

_MOST_FRAMES = 10_000_000

__all__ = [
    "KindOption",
    "TruthOption",
    "UnlabelledOption",
    "changes",
    "make_config",
    "parse_frames",
    "parse_levels",
]


def parse_frames(text: str | None) -> tuple[int, ...] | None:
    """Read "2,5,21" or "0-20,25" as frame numbers; raises `ValueError`."""
    if text is None:
        return None
    numbers: list[int] = []
    for part in text.split(","):
        match = re.fullmatch(r"\s*(\d+)\s*(?:-\s*(\d+)\s*)?", part)
        if not match or (match[2] and int(match[2]) < int(match[1])):
            raise ValueError(
                f"--frames is {text!r}; frames are numbers and ranges, such as 2,5,21 or 0-20,25."
            )
        first, last = int(match[1]), int(match[2] or match[1])
        if len(numbers) + last - first >= _MOST_FRAMES:
            raise ValueError(
                f"--frames is {text!r}; that are more than {_MOST_FRAMES:,} frames. Give a smaller range."
            )
        numbers += range(first, last + 1)
    return tuple(dict.fromkeys(numbers))


def parse_levels(text: str | None) -> tuple[int, ...] | None:
    """Read "[-2,-1,0]" as resolution levels; raises `ValueError`."""
    if text is None:
        return None
    found = re.fullmatch(r"\s*\[?([-\d,\s]+)\]?\s*", text)
    try:
        return tuple(int(part) for part in found[1].split(",")) if found else _bad_levels(text)
    except ValueError:
        return _bad_levels(text)


def _bad_levels(text: str) -> tuple[int, ...]:
    raise ValueError(
        f"--resolution-levels is {text!r}; levels are whole numbers in brackets, such as [-2,-1,0]."
    )


def changes(settings: Sequence[str]) -> dict[str, Any]:
    """Read ``section.field=value`` settings, each value as the type of its field."""
    found: dict[str, Any] = {}
    for setting in settings:
        name, equals, value = setting.partition("=")
        if not equals or "." not in name:
            raise ValueError(
                f"--set is {setting!r}; it must be section.field=value, such as "
                "training.batch_size=2."
            )
        section, _, key = name.strip().partition(".")
        known = SECTIONS.get(section)
        found[f"{section}.{key}"] = (
            read_literal(value) if known is None else read_setting(known, key, value)
        )
    return found


def make_config(
    *,
    file: Path | None = None,
    preset_name: str | None = None,
    network: str | None = None,
    settings: Sequence[str] = (),
    **more: Any,
) -> Config:
    """Make the configuration of a training.

    Parameters
    ----------
    file
        A ``config.json``.
    preset_name
        Name of a preset; if None, that of the network if there is one.
    network
        Name of the network.
    settings
        ``section.field=value``; these win.
    **more
        Fields of the training section; None where not given.

    Raises
    ------
    ValueError, FileNotFoundError
        If anything is unknown, contradicts itself or is out of range.
    """
    if file is not None and preset_name is not None:
        raise ValueError("--config and --preset both say where to begin; give one of them.")
    if more.get("minutes") is not None and more.get("epochs") is not None:
        raise ValueError("--minutes and --epochs both say when to end; give one of them.")
    if file is not None:
        config = _read_config(file)
    elif preset_name is not None or network in PRESETS:
        config = preset(preset_name or str(network))
    else:
        config = Config()
    given: dict[str, Any] = {} if network is None else {"network.name": network}
    if more.get("minutes") is not None or more.get("epochs") is not None:
        given |= {"training.minutes": None, "training.epochs": None}
    given |= {f"training.{name}": value for name, value in more.items() if value is not None}
    return config.replace(given | changes(settings))


def _read_config(file: Path) -> Config:
    from napari_jnet.data.readable import read_json

    values = read_json(file, "give the config.json of a run.")
    if not isinstance(values, dict) or not all(isinstance(v, dict) for v in values.values()):
        raise ValueError(f"{file} is no configuration; it must hold sections such as 'training'.")
    return Config.from_dict(values, f"{file}: ")
