"""Projects as a format of stacks: `open_stack` opens their images with what is painted."""

from __future__ import annotations

from pathlib import Path

from napari_jnet.data.project import Project
from napari_jnet.data.project_file import project_folder
from napari_jnet.data.stack import Stack

__all__ = ["matches", "open_project"]


def matches(path: Path) -> bool:
    """Say whether the path is a project."""
    return project_folder(path) is not None


def open_project(path: Path, sequence: str | None = None) -> Stack:
    """Open the stack of a project; see `Project.open_stack`.

    Raises
    ------
    ValueError
        Also if another sequence is asked for than that of the project.
    """
    project = Project.open(path)
    if sequence not in (None, project.stack.sequence):
        own = project.stack.sequence or "none"
        raise ValueError(
            f"{path} is a project of one sequence ({own}), but sequence {sequence!r} was asked for; "
            "leave it out."
        )
    return project.open_stack()
