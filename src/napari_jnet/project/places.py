"""Find the projects of a stack."""

from __future__ import annotations

import os
import re
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from napari_jnet.io.stack import Stack
from napari_jnet.io.tiff import read_header
from napari_jnet.project.annotations import ANNOTATIONS
from napari_jnet.project.manifest import PROJECT_FILE, project_folder, read_project
from napari_jnet.project.source import StackReference, fingerprint

if TYPE_CHECKING:
    from napari_jnet.project.project import Project


VARIABLE = "NAPARI_JNET_PROJECTS"
"""Environment variable that names the folder of projects."""
_UNSAFE = re.compile(r"[^\w.-]+")


def projects_folder() -> Path:
    """Return the folder of projects: that of the environment variable, else ``~/napari-jnet-projects``."""
    given = os.environ.get(VARIABLE)
    return Path(given).expanduser() if given else Path.home() / "napari-jnet-projects"


@dataclass(frozen=True)
class ListedProject:
    """A project of a stack on disk.

    Attributes
    ----------
    path
        The folder.
    summary
        Its content: "3 frames annotated, saved 20 Nov 12:03; training stopped at epoch 12 (of
        15 min)"; "" if it is empty.
    problem
        Why it cannot be opened; "" if it can.
    saved
        When a frame was saved last, local time; of the folder where none is annotated.
    """

    path: Path
    summary: str = ""
    problem: str = ""
    saved: datetime | None = None


def find_projects(stack: Stack, folder: Path | None = None) -> tuple[Path, ...]:
    """Return the projects of this very stack, the newest first.

    A stack is the same if it has the same path, size and type, or if it has the same pixels and the
    other is missing, was in no file, or is a copy or another view of the same files.  Only the second
    case reads a frame.

    Parameters
    ----------
    stack
        As `open_stack` gives it, or of an array.
    folder
        Where projects lie; `projects_folder` if None.
    """
    root = projects_folder() if folder is None else folder

    @cache
    def pixels() -> str:
        return fingerprint(stack)

    found = []
    with suppress(OSError):
        for path in root.iterdir():
            # A project that cannot be read is skipped here; opening it raises its own error.
            with suppress(OSError, ValueError):
                reference = read_project(path).stack
                if _same_shape(reference, stack) and (
                    _same_place(reference, stack, path)
                    or (
                        _may_be_same(reference, stack, path)
                        and reference.fingerprint in {pixels()} - {""}
                    )
                ):
                    found.append((_changed(path), path))
    return tuple(path for _, path in sorted(found, reverse=True))


def find_project(stack: Stack, folder: Path | None = None) -> Path | None:
    """Return the newest of `find_projects`; None if there is none."""
    return next(iter(find_projects(stack, folder)), None)


def list_projects(stack: Stack, folder: Path | None = None) -> tuple[ListedProject, ...]:
    """List the projects of a stack, the last saved first, those that cannot be read at the end.

    Parameters
    ----------
    stack, folder
        See `find_projects`.
    """
    from napari_jnet.project.project import Project

    listed = []
    for path in find_projects(stack, folder):
        with suppress(OSError, ValueError):  # damaged meanwhile
            project = Project(path, read_project(path))
            saved = project.last_saved or datetime.fromtimestamp(_changed(path)).astimezone()
            listed.append(ListedProject(path, project_summary(project), saved=saved))
    listed.sort(key=lambda one: one.saved.timestamp() if one.saved else 0.0, reverse=True)
    root = projects_folder() if folder is None else folder
    return (*listed, *_damaged(stack, root))


def project_summary(project: Project) -> str:
    """Summarise the content of a project in a line; "" if it is empty."""
    count, run, saved = len(project.annotated), project.last_run, project.last_saved
    parts = []
    if count:
        when = f", saved {_day(saved)}" if saved is not None else ""
        parts.append(f"{count} frame{'s' if count > 1 else ''} annotated{when}")
    if run is not None and run.trained_by:
        parts.append(f"being trained ({run.trained_by})")
    elif run is not None and run.resumable:
        budget = f" (of {run.budget})" if run.budget else ""
        parts.append(f"training stopped at epoch {run.epochs}{budget}")
    elif run is not None and run.has_model:
        score = f", SEG {run.seg:.2f}" if run.seg is not None else ""
        parts.append(f"trained: run {run.name}, {run.epochs} epochs{score}")
    return "; ".join(parts)


def _day(when: datetime) -> str:
    today = datetime.now().astimezone().date()
    return f"{when:%H:%M}" if when.date() == today else f"{when.day} {when:%b %H:%M}"


def _damaged(stack: Stack, root: Path) -> list[ListedProject]:
    """List unreadable projects that may be of this stack: by name, or by size of the labels."""
    own = re.compile(rf"{re.escape(_name(stack))}(-\d+)?")
    spatial = stack.shape[:-1] if stack.axes.endswith("C") else stack.shape
    found = []
    with suppress(OSError):
        for path in sorted(root.iterdir()):
            if project_folder(path) is None:
                damaged = (path / ANNOTATIONS).is_dir() and any((path / ANNOTATIONS).glob("*.tif"))
                problem = (
                    f"{path} has painted frames, but its {PROJECT_FILE} is missing: put it back."
                )
            else:
                problem, damaged = "", True
                try:
                    read_project(path)
                except (OSError, ValueError) as error:
                    problem = str(error)
            if damaged and problem and (own.fullmatch(path.name) or _painted_size(path) == spatial):
                found.append(ListedProject(path, problem=problem))
    return found


def _painted_size(project: Path) -> tuple[int, ...]:
    for file in sorted((project / ANNOTATIONS).glob("*.tif")):
        with suppress(OSError, ValueError):
            return read_header(file).shape
    return ()


def new_project_folder(stack: Stack, folder: Path | None = None) -> Path:
    """Return a free folder for a project of this stack, named after it; makes nothing."""
    root = projects_folder() if folder is None else folder
    name = _name(stack)
    folder, count = root / name, 2
    while folder.exists():
        folder, count = root / f"{name}-{count}", count + 1
    return folder


def _name(stack: Stack) -> str:
    return _UNSAFE.sub("-", stack.name).strip("-.") or "stack"


def _same_shape(reference: StackReference, stack: Stack) -> bool:
    return (
        reference.shape == stack.shape
        and reference.frame_numbers == stack.frame_numbers
        and reference.dtype == str(stack.dtype)
    )


def _same_place(reference: StackReference, stack: Stack, project: Path) -> bool:
    if stack.path is None or reference.stored or reference.sequence != stack.sequence:
        return False
    if (reference.series or 1) != (stack.series or 1):  # another position of the same file
        return False
    here = os.path.realpath(stack.path)
    return any(os.path.realpath(path) == here for path in reference.paths(project))


def _may_be_same(reference: StackReference, stack: Stack, project: Path) -> bool:
    """Return whether equal pixels mean the same stack: its files are missing, copied or opened otherwise."""
    paths = [] if reference.stored else [p for p in reference.paths(project) if p.exists()]
    if not paths or stack.path is None:
        return True
    here = Path(os.path.realpath(stack.path))
    return any(
        path.name == here.name or path in here.parents or here in path.parents
        for path in (Path(os.path.realpath(path)) for path in paths)
    )


def _changed(project: Path) -> float:
    times = []
    for name in (PROJECT_FILE, ANNOTATIONS):
        with suppress(OSError):
            times.append((project / name).stat().st_mtime)
    return max(times)
