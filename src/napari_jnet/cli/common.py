"""What the commands share: options, and where a project and its model are."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from napari_jnet.cli.console import console
from napari_jnet.config import SECTIONS, options

if TYPE_CHECKING:
    from napari_jnet.io.stack import Stack
    from napari_jnet.project.project import Project


def config_option(name: str) -> Any:
    """Return the option of a field of the configuration, such as "training.seed"."""
    section, _, key = name.partition(".")
    field = options(SECTIONS[section])[key]
    unit = f" Unit: {field.unit}." if field.unit else ""
    choices = f" One of {', '.join(map(str, field.choices))}." if field.choices else ""
    return typer.Option(help=f"{field.help}{unit}{choices}")


SequenceOption = Annotated[
    str | None, typer.Option(help="Sequence of a CTC dataset, train or test.")
]
AxesOption = Annotated[
    str | None,
    typer.Option(
        metavar="TCYX",
        help="What the dimensions of the file are, in its order: T, Z, C, Y, X; default: from the file.",
    ),
]
SeriesOption = Annotated[
    int | None,
    typer.Option(metavar="N", help="Image of a file with several, such as positions; from 1."),
]
TruthOption = Annotated[
    str | None,
    typer.Option(help="Ground truth: gold, silver, ..., or a file or folder of labels."),
]
KindOption = Annotated[
    str | None,
    typer.Option(
        help="What labels mean: instances, classes or scribbles; default: found from all of them."
    ),
]
UnlabelledOption = Annotated[
    str | None,
    typer.Option(help="What is not labelled: background, so that frames are complete, or unknown."),
]
_MOST_FRAMES = 10_000_000


def parse_frames(text: str | None) -> tuple[int, ...] | None:
    """Read "2,5,21" or "0-20,25" as frame numbers; raises `ValueError`."""
    if text is None:
        return None
    numbers: list[int] = []
    for part in text.split(","):
        match = re.fullmatch(r"\s*(\d{1,18})\s*(?:-\s*(\d{1,18})\s*)?", part)
        span = range(int(match[1]), int(match[2] or match[1]) + 1) if match else ()
        if not 0 < len(span) <= _MOST_FRAMES:
            raise ValueError(
                f"--frames is {text!r}; frames are numbers, and ranges of at most {_MOST_FRAMES:,}, "
                "such as 2,5,21 or 0-20,25."
            )
        numbers += span
    return tuple(dict.fromkeys(numbers))


def choose_frames(text: str | None, path: Path) -> tuple[int, ...] | None:
    """Read ``--frames``: numbers and ranges, or the role of a project's frames."""
    from napari_jnet.project.manifest import ROLES

    if text is None or text.strip() not in ROLES:
        return parse_frames(text)
    role, project = text.strip(), find_project(path)
    if project is None:
        raise ValueError(
            f"--frames is {text!r}, but {path} is not a project, so its frames have no roles; give "
            "numbers and ranges, such as 2,5,21 or 0-20."
        )
    numbers = project.numbers(role)
    if not numbers:
        raise ValueError(
            f"The project {path} has no annotated frame for {role}. Give one this role in the "
            "window, or name frames by their numbers."
        )
    return numbers


def find_project(path: Path) -> Project | None:
    """Open the project at a path; None if there is none; a damaged one raises `ValueError`."""
    from napari_jnet.project.manifest import project_folder
    from napari_jnet.project.project import Project

    folder = project_folder(path)
    return None if folder is None else Project.open(folder)


def find_model(path: Path) -> tuple[Path, Project | None]:
    """Return the run folder or model file at a path; of a project, its model, and the project.

    A name of the package is its model, whatever is at the path; where something is, that is said.
    """
    from napari_jnet.io.run_folder import PACKAGED

    if str(path) in PACKAGED:
        if path.exists():
            console().print(
                f"Note: {path} is the network that comes with the package, not {path.absolute()}; give that "
                "one by its full path."
            )
        return path, None
    project = find_project(path)
    if project is None:
        return path, None
    if project.model is None:
        raise ValueError(
            f"The project {path} has no model yet (or its run is gone); train one with: "
            f"napari-jnet train {path}."
        )
    return project.model, project


def open_with_notes(path: Path, **choices: Any) -> Stack:
    """Open a stack, and print what was decided in doing so; see `napari_jnet.open_stack`."""
    from napari_jnet.project.open import open_stack

    stack = open_stack(path, **choices)
    for note in stack.notes:
        console().print(f"Note: {note}")
    return stack
