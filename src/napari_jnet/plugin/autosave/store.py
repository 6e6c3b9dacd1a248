"""Saving the labels of one layer to its project on disk."""

from __future__ import annotations

import os
import shutil
from collections import Counter
from collections.abc import Callable, Collection, Container, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import datetime
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import numpy as np
from napari.settings import get_plugin_settings
from napari.utils.notifications import show_warning
from numpy.typing import NDArray

from napari_jnet.files import FolderInUse, FolderLock
from napari_jnet.io.stack import Stack
from napari_jnet.labels import UNKNOWN, LabelKind
from napari_jnet.plugin.frames import checksum
from napari_jnet.plugin.layers.read import (
    image_stack,
    kind_of,
    layer_legend,
    pixels,
    said_empty,
    spatial_shape,
)
from napari_jnet.plugin.workspace import METADATA_KEY, Workspace, result_of
from napari_jnet.project.manifest import next_role
from napari_jnet.project.places import VARIABLE, new_project_folder, projects_folder
from napari_jnet.project.project import Project


def chosen_folder() -> Path:
    """Return the folder of projects: ``NAPARI_JNET_PROJECTS``, the preferences, or the default."""
    told = ""
    with suppress(AttributeError, KeyError):  # the plugin is not registered, as in some scripts
        told = str(get_plugin_settings("napari-jnet").projects.folder).strip()
    if os.environ.get(VARIABLE) or not told:
        return projects_folder()
    return Path(told).expanduser()


_MOST = 5  # frames that are named


def damage_words(damaged: Mapping[int, str]) -> str:
    """Say which painted frames could not be read, and what becomes of their files.

    Parameters
    ----------
    damaged
        Frame number -> why, in words that name the file.
    """
    if not damaged:
        return ""
    numbers = sorted(damaged)
    if len(numbers) == 1:
        return f"{damaged[numbers[0]]} The frame is empty here until then."
    named = ", ".join(map(str, numbers[:_MOST]))
    more = f" and {len(numbers) - _MOST} more" if len(numbers) > _MOST else ""
    return f"Frames {named}{more} are damaged, and empty here. The first: {damaged[numbers[0]]}"


def say_trouble(workspace: Workspace, *what: str) -> None:
    """Say it in the window, also where none of our widgets is open; in the window's thread.

    Parameters
    ----------
    workspace
        Of the viewer; what it said before stays.
    what
        Sentences; empty ones say nothing.
    """
    said = workspace.problem
    for words in filter(None, what):
        if words not in said:
            said = f"{said}\n\n{words}".strip()
            show_warning(f"A file of your work is damaged. {words}")
    workspace.problem = said


LOCK_FILE = ".open"


class ProjectLock:
    """Holds a project for one viewer; the lock of a process that is gone holds nothing.

    Parameters
    ----------
    project
        The project's folder.

    Raises
    ------
    ValueError
        If another viewer has the project open, in words.
    OSError
        If the folder cannot be written.
    """

    def __init__(self, project: Path) -> None:
        self._lock = FolderLock(project, LOCK_FILE)
        try:
            self._lock.acquire()
        except FolderInUse as error:
            here = error.owner == "this program"
            where = "window of this napari" if here else f"window ({error.owner})"
            raise ValueError(
                f"The project {project} is open in another {where}. Close it there first."
            ) from error

    def release(self) -> None:
        """Let others open the project; more calls do nothing."""
        self._lock.release()


def locked_by(project: Path) -> str:
    """Return who has a project open, in words; "" if nobody has."""
    holder = FolderLock(project, LOCK_FILE).holder
    return "another window of this napari" if holder == "this program" else holder


RESCUED_FROM = "rescued_from"


"""Setting of a rescued project: the folder of the one that could not be written, or ""."""


_EMPTY = -1  # in place of the checksum of a frame that is said to be empty, which has a file


_COPIED = 32 * 2**20  # bytes that the window copies for one save


@dataclass(frozen=True)
class SaveRequest:
    """What one save writes, taken in the window's thread.

    Attributes
    ----------
    frames
        Position -> reads its labels, in any thread.
    roles
        Frame number -> role, of every frame that has one.
    kind, legend
        Of the layer; see `Project`.
    empty
        Frame numbers that are said to be empty; may read files.
    """

    frames: Mapping[int, Callable[[], NDArray[Any]]]
    roles: Mapping[int, str]
    kind: LabelKind
    legend: tuple[tuple[str, str], ...]
    empty: Container[int] = ()


@dataclass(frozen=True)
class SaveResult:
    """What a save did.

    Attributes
    ----------
    project
        Where it is.
    when
        Local time.
    roles
        Frame number -> role, of frames that got one.
    """

    project: Project
    when: datetime
    roles: Mapping[int, str] = field(default_factory=dict)


class LayerStore:
    """An annotation layer that belongs to one project, from the first stroke on.

    Parameters
    ----------
    layer, image
        The annotation, and the image that it was painted on.
    projects
        The folder that a new project is made in.

    Raises
    ------
    ValueError
        If they do not cover the same pixels.
    """

    def __init__(self, layer: Any, image: Any, projects: Path) -> None:
        self.layer = layer
        self.stack: Stack = stack_of(image)
        self.dirty: set[int] = set()
        self.changed = False  # kind, legend or roles
        self.whole = False  # all its painted frames are to be saved, not only corrected ones
        self.refused = ""  # why the last save failed
        self.rescued = False  # what is unsaved is written elsewhere
        self.rescues: list[Path] = []  # where, so far
        self.copying = False  # the image, into the project
        self.under_way = 0  # saves that are being written
        self.project: Project | None = None
        self.highest = 0  # number that was painted when the project was opened
        self.damaged: dict[int, str] = {}  # frame number -> why it could not be read
        self._data = pixels(layer)  # should other labels come into the layer, these are saved
        self._empty: Container[int] = said_empty(layer)
        self._projects = projects
        self._lock: ProjectLock | None = None
        self._sums: dict[int, int] = {}  # of the frames as they are on disk
        self._check(image)

    @property
    def waiting(self) -> bool:
        """Whether something is to be saved."""
        return bool(self.dirty) or self.changed

    @property
    def unsaved(self) -> bool:
        """Whether something is not on disk yet: it waits, or is being written."""
        return self.waiting or self.under_way > 0

    @property
    def replaced(self) -> bool:
        """Whether the layer was given labels of another shape, which belong to another project."""
        return tuple(pixels(self.layer).shape) != tuple(self._data.shape)

    # in the window's thread

    def renew(self) -> None:
        """Take the labels that are in the layer now, unless they are `replaced`."""
        if not self.replaced:
            self._data, self._empty = pixels(self.layer), said_empty(self.layer)

    def take(self, roles: Mapping[int, str]) -> SaveRequest:
        """Take what is to be saved; nothing waits then, unless `put_back` says so."""
        self.renew()
        data = self._data
        size = data.nbytes // max(1, len(self.stack))
        few = isinstance(data, np.ndarray) and size * len(self.dirty) <= _COPIED
        frames = {p: _held(np.array(self.frame(p))) for p in self.dirty} if few else {}
        if not few:  # a stroke meanwhile makes the frame unsaved again
            frames = {p: partial(self.frame, p) for p in self.dirty}
        self.dirty, self.changed = set(), False
        return SaveRequest(frames, dict(roles), *self._kind(), self._empty)

    def differs(self, roles: Mapping[int, str]) -> bool:
        """Whether the project knows other roles, another kind or other classes."""
        project = self.project
        if project is None:
            return False
        new = {n: role for n, role in roles.items() if project.role(n) != role}
        return bool(new) or (project.kind, project.legend) != self._kind()

    def _kind(self) -> tuple[LabelKind, tuple[tuple[str, str], ...]]:
        kind = kind_of(self.layer)
        if kind is None:
            classes = result_of(self.layer) in ("segmentation", "classes")
            kind = LabelKind.CLASSES if classes else LabelKind.INSTANCES
        return kind, () if kind is LabelKind.INSTANCES else layer_legend(self.layer)

    def put_back(self, parcel: SaveRequest) -> None:
        """Note that a parcel could not be saved."""
        self.dirty |= set(parcel.frames)
        self.changed = True

    def frame(self, position: int) -> NDArray[Any]:
        """Read the labels of a frame, in any thread."""
        data = self._data
        return np.asarray(data if data.ndim == 2 else data[position])

    # in the thread that saves

    def open(self, path: Path) -> Project:
        """Open the project that the layer was restored from; see `differing` for what is new in it.

        Raises
        ------
        ValueError
            If it is open in another window, or its ``project.json`` is damaged.
        """
        lock = ProjectLock(path)
        try:
            project = Project.open(path)
            numbers = project.annotated
            positions = {n: p for p, n in enumerate(self.stack.frame_numbers) if n in numbers}
            self.damaged.clear()
            like = self.frame(0)
            for number, position in positions.items():
                try:
                    stored = project.read_frame(number).astype(like.dtype).reshape(like.shape)
                except (ValueError, OSError) as error:
                    self.damaged[number] = str(error)  # empty in the layer: no change, not saved
                    continue
                self._sums[position] = checksum(stored) if stored.any() else _EMPTY
                self.highest = max(self.highest, int(stored.max(initial=0)))
        except Exception:
            lock.release()
            raise
        self.project, self._lock = project, lock
        return project

    def save(self, parcel: SaveRequest) -> SaveResult:
        """Write a parcel; the first makes the project.

        Raises
        ------
        OSError
            If the disk is full, or the folder cannot be written, in words.
        ValueError
            If the labels are no labels, or another window has the project.
        """
        project = self._made(parcel)
        if project.partial != self._partial:
            project.set_partial(sorted(self._partial))
        if (project.kind, project.legend) != (parcel.kind, parcel.legend):
            project.set_kind(parcel.kind, parcel.legend)
        roles = {**project.roles, **parcel.roles}
        annotated, given = set(project.annotated), {}
        others = Counter(roles.get(number, "") for number in annotated)
        frames = self._gone(annotated) | dict(parcel.frames)
        for position, read in sorted(frames.items()):
            labels, number = read(), self.stack.frame_numbers[position]
            empty = not labels.any() and number in parcel.empty
            total = _EMPTY if empty else checksum(labels)
            if self._sums.get(position) != total:
                project.write_frame(number, labels.reshape(project.stack.spatial), empty=empty)
            self._sums[position] = total
            if number in annotated:
                others[roles.get(number, "")] -= 1
            if not (empty or labels.any()):
                annotated.discard(number)
                continue
            if not roles.get(number):
                given[number] = roles[number] = self._next_role(parcel, number, labels, others)
            annotated.add(number)
            others[roles[number]] += 1
        if roles != project.roles:
            project.set_roles(roles)
        return SaveResult(project, datetime.now().astimezone(), given)

    def _gone(self, annotated: Collection[int]) -> dict[int, Callable[[], NDArray[Any]]]:
        """Return the frames that were on disk and whose files somebody took away: saved once more."""
        empty = checksum(np.zeros_like(self.frame(0)))  # such frames have no file
        numbers = self.stack.frame_numbers
        gone = [p for p, t in self._sums.items() if t != empty and numbers[p] not in annotated]
        for position in gone:
            del self._sums[position]
        return {p: partial(self.frame, p) for p in gone}

    def _next_role(
        self, parcel: SaveRequest, number: int, labels: NDArray[Any], others: Mapping[str, int]
    ) -> str:
        """Return the role of a newly annotated frame.

        On validation a prediction would flatter itself, and a frame without objects says little.
        """
        if result_of(self.layer) or not labels.any():
            return "training"
        known = parcel.kind is not LabelKind.SCRIBBLES and number not in self._partial
        return next_role(others, whole=known and bool((labels != UNKNOWN).all()))

    def differing(self) -> set[int]:
        """Return the frames that differ from what is on disk: changed while nobody watched."""
        if not isinstance(self._data, np.ndarray):
            return set()
        nothing, said = checksum(np.zeros_like(self.frame(0))), self._empty
        numbers = self.stack.frame_numbers

        def now(position: int) -> int:
            total = checksum(self.frame(position))
            return _EMPTY if total == nothing and numbers[position] in said else total

        frames = range(len(self.stack)) if self.whole else list(self._sums)
        return {p for p in frames if self._sums.get(p, nothing) != now(p)}  # nothing has no file

    def rescue(self, root: Path) -> Path:
        """Write all that is painted into a project elsewhere, where the own one cannot be written.

        Parameters
        ----------
        root
            The folder that the project is made in; it is made too.

        Raises
        ------
        OSError, ValueError
            As `save`; nothing half is left.
        """
        folder, own = new_project_folder(self.stack, root), self.project
        kind, legend = self._kind()
        try:
            rescued = Project.create(
                folder,
                self.stack,
                kind,
                legend=legend,
                partial=sorted(self._partial),
                store=False,
            )
            for position, number in enumerate(self.stack.frame_numbers):
                labels = self.frame(position)
                empty = not labels.any() and number in self._empty
                if empty or labels.any():
                    rescued.write_frame(number, labels.reshape(rescued.stack.spatial), empty=empty)
            rescued.set_roles({} if own is None else own.roles)
            rescued.set_settings({RESCUED_FROM: "" if own is None else str(own.path)})
        except (OSError, ValueError):
            shutil.rmtree(root, ignore_errors=True)
            raise
        return folder

    def release(self) -> None:
        """Let other windows open the project; the next save takes it again."""
        if self._lock is not None:
            self._lock.release()
            self._lock = None

    @cached_property
    def _partial(self) -> frozenset[int]:
        """Numbers of the frames where 0 is unknown; may read files, so it is asked in the thread."""
        some = self.layer.metadata.get(METADATA_KEY, {}).get("partial", ())
        return frozenset(n for n in self.stack.frame_numbers if n in some)

    def _made(self, parcel: SaveRequest) -> Project:
        if self.project is None:
            folder = new_project_folder(self.stack, self._projects)
            self.project = Project.create(
                folder,
                self.stack,
                parcel.kind,
                legend=parcel.legend,
                partial=sorted(self._partial),
                store=False,
            )
        if self._lock is None:
            self._lock = ProjectLock(self.project.path)
        return self.project

    def _check(self, image: Any) -> None:
        painted, size = tuple(pixels(self.layer).shape), spatial_shape(image)
        if painted != size:
            words = [" × ".join(map(str, shape)) for shape in (painted, size)]
            raise ValueError(
                f"The labels {self.layer.name!r} have {words[0]} pixels, the image {image.name!r} "
                f"{words[1]}: what is painted is not saved. Choose the image that the labels belong "
                "to, or press Save these labels."
            )


def _held(labels: NDArray[Any]) -> Callable[[], NDArray[Any]]:
    return lambda: labels


def stack_of(image: Any) -> Stack:
    """See an image layer as a stack that knows its file, also where napari opened that.

    Raises
    ------
    ValueError
        If the layer has more axes than a stack.
    """
    stack = image_stack(image)
    source = image.source.path
    if stack.path is None and source and os.path.exists(source):
        return replace(stack, path=Path(os.path.abspath(source)))
    return stack
