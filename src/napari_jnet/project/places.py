"""Find the projects of a stack."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from pathlib import Path

from napari_jnet.files import free_path
from napari_jnet.io.stack import Stack
from napari_jnet.project.manifest import ANNOTATIONS, PROJECT_FILE, read_project
from napari_jnet.project.project import Project
from napari_jnet.project.source import StackReference, fingerprint, is_blank

VARIABLE = "NAPARI_JNET_PROJECTS"
"""Environment variable that names the folder of projects."""
_UNSAFE = re.compile(r"[^\w.-]+")


def projects_folder() -> Path:
    """Return the folder of projects: that of the environment variable, else ``~/napari-jnet-projects``."""
    given = os.environ.get(VARIABLE)
    return Path(given).expanduser() if given else Path.home() / "napari-jnet-projects"


@dataclass(frozen=True)
class ListedProject:
    """A project of a stack on disk."""

    path: Path
    summary: str = ""  # "3 frames annotated, saved 20 Nov 12:03; trained: run 001, 12 epochs"
    problem: str = ""  # why it cannot be opened
    saved: datetime | None = None  # a frame, local time, or the project where none is annotated


def list_projects(stack: Stack, folders: Iterable[Path] | None = None) -> tuple[ListedProject, ...]:
    """List the projects of this very stack, the last saved first, damaged ones of its name at the end.

    A stack is the same if its size and type are, and its path or the pixels of its middle frame.
    `folders` are where projects lie; None is `projects_folder`.
    """
    pixels = cache(lambda: fingerprint(stack))
    listed = []
    for root in (projects_folder(),) if folders is None else folders:
        with suppress(OSError):
            listed += [_listed(path, stack, pixels) for path in sorted(root.iterdir())]
    found = [one for one in listed if one is not None]
    found.sort(key=lambda one: one.saved.timestamp() if one.saved else 0.0, reverse=True)
    return tuple(found)


def _listed(path: Path, stack: Stack, pixels: Callable[[], str]) -> ListedProject | None:
    """Describe the project in a folder; None where it is not of this stack."""
    try:
        project = Project(path, read_project(path))
        if not _is_same(project.stack, stack, path, pixels):
            return None
        made = datetime.fromtimestamp((path / PROJECT_FILE).stat().st_mtime).astimezone()
        return ListedProject(path, project_summary(project), saved=project.last_saved or made)
    except (OSError, ValueError) as error:
        own = re.fullmatch(rf"{re.escape(_name(stack))}(-\d+)?", path.name)
        if not own:
            return None
        if isinstance(error, FileNotFoundError) and not any((path / ANNOTATIONS).glob("*.tif")):
            return None
        return ListedProject(path, problem=str(error))


def _is_same(
    reference: StackReference, stack: Stack, project: Path, pixels: Callable[[], str]
) -> bool:
    own = (reference.shape, reference.frame_numbers, reference.dtype)
    if own != (stack.shape, stack.frame_numbers, str(stack.dtype)):
        return False
    chosen = (reference.sequence, reference.series or 1)  # another position of the same file
    if stack.path is not None and chosen == (stack.sequence, stack.series or 1):
        here = os.path.realpath(stack.path)
        if not reference.stored and here in map(os.path.realpath, reference.paths(project)):
            return True
    equal = reference.fingerprint in {pixels()} - {""}
    # a frame of one value is the same in many stacks
    return equal and (reference.name == stack.name or not is_blank(stack))


def project_summary(project: Project) -> str:
    """Summarise the content of a project in a line; "" if it is empty."""
    count, run, saved = len(project.annotated), project.last_run, project.last_saved
    parts = []
    if count:
        when = f", saved {saved:%d %b %H:%M}" if saved is not None else ""
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


def new_project_folder(stack: Stack, folder: Path | None = None) -> Path:
    """Return a free folder for a project of this stack, named after it; makes nothing."""
    return free_path(projects_folder() if folder is None else folder, _name(stack))


def _name(stack: Stack) -> str:
    return _UNSAFE.sub("-", stack.name).strip("-.") or "stack"
