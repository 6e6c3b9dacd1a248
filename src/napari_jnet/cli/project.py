"""What the commands know of projects: their runs, their model, and frames by role."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from .parse import parse_frames

if TYPE_CHECKING:
    from napari_jnet.data import Project

__all__ = ["choose_frames", "find_model", "find_project", "own_stack", "training_run"]


def find_project(path: Path) -> Project | None:
    """Open the project that a path is; None if it is none; a damaged one raises `ValueError`."""
    from napari_jnet.data import Project
    from napari_jnet.data.project_file import project_folder

    folder = project_folder(path)
    return None if folder is None else Project.open(folder)


def choose_frames(text: str | None, path: Path) -> tuple[int, ...] | None:
    """Read ``--frames``: numbers and ranges, or the role of a project's frames."""
    from napari_jnet.data.roles import ROLES

    if text is None or text.strip() not in ROLES:
        return parse_frames(text)
    role, project = text.strip(), find_project(path)
    if project is None:
        raise ValueError(
            f"--frames is {text!r}, but {path} is no project, so its frames have no roles; give "
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
