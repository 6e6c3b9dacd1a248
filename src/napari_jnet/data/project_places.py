"""Where projects lie, and which of them belongs to a stack."""

from __future__ import annotations

import os
import re
from contextlib import suppress
from functools import cache
from pathlib import Path

from napari_jnet.data.project_file import PROJECT_FILE, PROJECT_FILES, project_folder, read_project
from napari_jnet.data.project_frames import ANNOTATIONS
from napari_jnet.data.project_reference import StackReference, fingerprint
from napari_jnet.data.stack import Stack
from napari_jnet.data.tiff import read_header

__all__ = ["VARIABLE", "damaged_projects", "find_project", "new_project_folder", "projects_folder"]

VARIABLE = "NAPARI_JNET_PROJECTS"
"""Environment variable that names the folder of projects."""

_UNSAFE = re.compile(r"[^\w.-]+")


def projects_folder() -> Path:
    """Return the folder of projects: the variable's, else ``~/napari-jnet-projects``."""
    told = os.environ.get(VARIABLE)
    return Path(told).expanduser() if told else Path.home() / "napari-jnet-projects"


def find_project(stack: Stack, folder: Path | None = None) -> Path | None:
    """Return the newest project of this very stack; None if there is none.

    A stack is the same if it lies at the same path and looks alike, or if it shows the same pixels
    where the other is gone or was in no file.  Reads a frame only for the second question.

    Parameters
    ----------
    stack
        As `open_stack` gives it, or of an array.
    folder
        Where projects lie; `projects_folder` if None.
    """
    root = projects_folder() if folder is None else folder

    @cache
    def seen() -> str:
        return fingerprint(stack)

    found = []
    with suppress(OSError):
        for path in root.iterdir():
            # A project that cannot be read is of no use here, and its own error is said on opening.
            with suppress(OSError, ValueError):
                reference = read_project(path).stack
                if _alike(reference, stack) and (
                    _same_place(reference, stack, path)
                    or (_gone(reference, path) and reference.fingerprint in {seen()} - {""})
                ):
                    found.append((_changed(path), path))
    return max(found)[1] if found else None


def damaged_projects(stack: Stack, folder: Path | None = None) -> tuple[str, ...]:
    """Say, in words, which projects that cannot be read may be of this stack.

    Such a project does not tell whose it is: its name does, or the size of what is painted in it.

    Parameters
    ----------
    stack, folder
        See `find_project`.
    """
    root = projects_folder() if folder is None else folder
    own = re.compile(rf"{re.escape(_name(stack))}(-\d+)?")
    found = []
    with suppress(OSError):
        for path in sorted(root.iterdir()):
            if project_folder(path) is None:
                lost = (path / ANNOTATIONS).is_dir() and any((path / ANNOTATIONS).glob("*.tif"))
                words = f"{path} has painted frames, but its {PROJECT_FILE} is gone: put it back."
            else:
                words, lost = _unreadable(path), True
            if lost and words and (own.fullmatch(path.name) or _painted_size(path) == _size(stack)):
                found.append(words)
    return tuple(found)


def _unreadable(project: Path) -> str:
    try:
        read_project(project)
    except (OSError, ValueError) as error:
        return str(error)
    return ""


def _size(stack: Stack) -> tuple[int, ...]:
    return stack.shape[:-1] if stack.axes.endswith("C") else stack.shape


def _painted_size(project: Path) -> tuple[int, ...]:
    for file in sorted((project / ANNOTATIONS).glob("*.tif")):
        with suppress(OSError, ValueError):
            return read_header(file).shape
    return ()


def new_project_folder(stack: Stack, folder: Path | None = None) -> Path:
    """Return a free folder for a project of this stack, named after it; makes nothing."""
    root = projects_folder() if folder is None else folder
    name = _name(stack)
    taken = root / name
    count = 2
    while taken.exists():
        taken = root / f"{name}-{count}"
        count += 1
    return taken


def _name(stack: Stack) -> str:
    return _UNSAFE.sub("-", stack.name).strip("-.") or "stack"


def _alike(reference: StackReference, stack: Stack) -> bool:
    return (
        reference.shape == stack.shape
        and reference.frame_numbers == stack.frame_numbers
        and reference.dtype == str(stack.dtype)
    )


def _same_place(reference: StackReference, stack: Stack, project: Path) -> bool:
    if stack.path is None or reference.stored or reference.sequence != stack.sequence:
        return False
    here = os.path.realpath(stack.path)
    return any(os.path.realpath(place) == here for place in reference.places(project))


def _gone(reference: StackReference, project: Path) -> bool:
    return reference.stored or not any(place.exists() for place in reference.places(project))


def _changed(project: Path) -> float:
    times = []
    for name in (*PROJECT_FILES, ANNOTATIONS):
        with suppress(OSError):
            times.append((project / name).stat().st_mtime)
    return max(times)
