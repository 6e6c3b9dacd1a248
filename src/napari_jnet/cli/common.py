"""What the commands share: options, and where a project and its model are."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from napari_jnet.cli.console import console
from napari_jnet.config import PRESETS, Config, preset, read_settings

if TYPE_CHECKING:
    from napari_jnet.io.stack import Stack
    from napari_jnet.project.project import Project


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
    return config.replace(given | read_settings(settings))


def _read_config(file: Path) -> Config:
    from napari_jnet.files import read_json

    values = read_json(file, "give the config.json of a run.")
    if not isinstance(values, dict) or not all(isinstance(v, dict) for v in values.values()):
        raise ValueError(f"{file} is no configuration; it must hold sections such as 'training'.")
    return Config.from_dict(values, f"{file}: ")


def find_project(path: Path) -> Project | None:
    """Open the project that a path is; None if it is none; a damaged one raises `ValueError`."""
    from napari_jnet.project.manifest import project_folder
    from napari_jnet.project.project import Project

    folder = project_folder(path)
    return None if folder is None else Project.open(folder)


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


def training_run(project: Project | None, output: Path | None, *, resume: bool) -> Path:
    """Return the run folder to write; a project has its own, and others must be named.

    A new one of a project is made, so that it is nobody else's; remove it if nothing is written.

    Raises
    ------
    ValueError
        If none is named and there is no project, or none of its runs can go on.
    """
    if output is not None:
        return output
    if project is None:
        raise ValueError(
            "Name the folder of the run to write: --output RUN. (A project has its own runs.)"
        )
    if not resume:
        return project.reserve_run()
    last = project.last_run
    if last is None or not (last.path / "last.pt").is_file():
        found = "no run yet" if last is None else f"no last.pt in its last run, {last.name}"
        raise ValueError(
            f"The project {project.path} has {found}, so there is no training to resume. "
            "Start a new one: leave out --resume."
        )
    return last.path


def find_model(path: Path) -> Path:
    """Return the run folder or model file that a path means: of a project, its model."""
    project = find_project(path)
    if project is None:
        return path
    if project.model is None:
        raise ValueError(
            f"The project {path} has no model yet (or its run is gone); train one with: "
            f"napari-jnet train {path}."
        )
    return project.model


def own_stack(model: Path) -> Path:
    """Return the project whose model or run a path is; its stack is what to predict by default.

    Raises
    ------
    ValueError
        If the path belongs to no project.
    """
    for folder in (model, *model.absolute().parents[:3]):
        if find_project(folder) is not None:
            return folder
    raise ValueError(
        f"Name the stack to segment after the model; {model} belongs to no project that would know."
    )


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
    from napari_jnet.project.open import open_stack

    stack = open_stack(path, **choices)
    for note in stack.notes:
        console().print(f"Note: {note}")
    return stack
