"""A project: a plain folder that remembers the work on one stack.

``project.json`` (stack, kind of labels, roles, settings), ``annotations`` (a file a painted frame),
``runs`` (a folder a training), and ``stack.tif`` where the image is in no file of its own.
"""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_jnet.files import clean, file_lock
from napari_jnet.io.stack import AnnotatedFrame, Annotation, Stack, annotated_frames, frame_name
from napari_jnet.labels import UNKNOWN, LabelKind, known_labels
from napari_jnet.project.annotations import ANNOTATIONS, AnnotationStore
from napari_jnet.project.manifest import (
    PROJECT_FILE,
    Manifest,
    check_role,
    next_role,
    project_folder,
    read_project,
    write_project,
)
from napari_jnet.project.runs import RunSummary, list_runs, next_run, reserve_run
from napari_jnet.project.source import StackReference, check_size, fingerprint, write_copy

PAINTED = "painted"
"""Name of the annotation that a project's stack has."""


def with_painted(project: Project, stack: Stack) -> Stack:
    """Give a project's stack the painted frames as its first annotation, if there are any."""
    painted = _annotation(project, stack)
    if not painted.frame_numbers:
        return stack
    return replace(stack, annotations={PAINTED: painted, **stack.annotations}, candidates=False)


def training_frames(project: Project, numbers: Sequence[int] | None) -> list[AnnotatedFrame]:
    """Read annotated frames with their roles; see `Project.frames`."""
    annotated = project.annotated
    if numbers is None:
        numbers = [n for n in annotated if project.role(n) != "unused"]
    if not numbers:
        more = f" ({len(annotated)} annotated frames are unused)" if annotated else ""
        raise ValueError(
            f"The project {project.path} has no annotated frame to train on{more}; paint at least "
            "one cell in one frame, or give a frame the role training."
        )
    stack = with_painted(project, project.stack.open(project.path))
    if PAINTED not in stack.annotations:
        raise ValueError(
            f"The project {project.path} has no annotated frame, but frames "
            f"{', '.join(map(str, numbers))} were asked for; paint at least one cell first."
        )
    roles = {frame_name(stack, n): project.role(n) for n in numbers}
    found = annotated_frames(stack, PAINTED, numbers)
    return [replace(frame, role=_role_of(frame.name, roles)) for frame in found]


def _annotation(project: Project, stack: Stack) -> Annotation:
    kind, partial = project.kind, project.partial

    def read(number: int) -> NDArray[np.int32]:
        labels = project.read_frame(number)
        if stack.format == "folder":  # whose smaller images are filled up where they are shown
            spatial = stack.frame(number).shape[: labels.ndim]
            labels = labels[tuple(slice(n) for n in spatial)]
        try:
            return known_labels(labels, kind, partial=number in partial)
        except ValueError as error:
            raise ValueError(f"{project.path}, frame {number}: {error}") from error

    # Scribbles count from 1 = background, classes from 0.
    start = 1 if kind is LabelKind.SCRIBBLES else 0
    classes = () if kind is LabelKind.INSTANCES else project.classes[start:]
    return Annotation(
        PAINTED,
        kind,
        project.annotated,
        read,
        partial=partial,
        empty=(lambda: project.empty) if kind is not LabelKind.SCRIBBLES else frozenset(),
        path=project.path / ANNOTATIONS,
        classes=classes,
    )


def _role_of(name: str, roles: Mapping[str, str]) -> str:
    """Return the role of a frame, or of the frame that a plane of a volume belongs to."""
    return roles.get(name) or roles.get(name.rpartition(" z")[0], "")


RUNS = "runs"


class Project:
    """The work on one stack, on disk; made by `create` or `open`.

    Every change is on disk when the call returns, each file whole or not at all, so that a killed
    process loses nothing.  Methods may be called from any thread.

    Attributes
    ----------
    path
        The folder.
    """

    def __init__(self, path: Path, content: Manifest) -> None:
        self.path = path
        self._content = content
        self._lock = threading.RLock()

    def __repr__(self) -> str:
        return f"Project({str(self.path)!r})"

    @classmethod
    def create(
        cls,
        folder: Path | str,
        stack: Stack,
        kind: LabelKind | str,
        *,
        classes: Sequence[tuple[str, str]] = (),
        partial: Sequence[int] = (),
        store: bool = True,
    ) -> Project:
        """Make a project of a stack; reads a frame or two.

        Parameters
        ----------
        folder
            Made if it is not there; one that is there must be empty.
        stack
            As `open_stack` gives it, or of an array.  If its path opens as the same pixels, the
            project refers to that; else it keeps a copy.
        kind
            What painted numbers mean.
        classes
            (name, "#rrggbb") of each painted number from 0, where they have names.
        partial
            Numbers of the frames in which unpainted pixels are unknown (partly annotated truth).
        store
            False leaves a copy that is needed to `store_stack`, which may run in the background.

        Raises
        ------
        FileExistsError
            If the folder holds something.
        ValueError
            If a copy is needed and the image is too large for one.
        OSError
            If the folder cannot be written.
        """
        path = Path(os.path.abspath(folder))
        if path.exists() and (not path.is_dir() or any(path.iterdir())):
            raise FileExistsError(
                f"{path} exists and is not empty; a new project needs a folder of its own. "
                "Choose another folder, or open the project in it."
            )
        reference = StackReference.of(stack, path)
        if store and not reference.has_file:
            check_size(stack)
        try:
            (path / ANNOTATIONS).mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise type(error)(
                error.errno,
                f"The project folder {path} cannot be made ({error.strerror}). Choose another folder.",
            ) from error
        content = Manifest(
            name=stack.name,
            stack=reference,
            kind=LabelKind(kind),
            classes=tuple(classes),
            partial=frozenset(partial),
        )
        try:
            write_project(path, content)
        except OSError:
            with suppress(OSError):  # who tries again shall not leave a trail of empty folders
                (path / ANNOTATIONS).rmdir()
                path.rmdir()
            raise
        made = cls(path, content)
        if store:
            for _ in made.store_stack(stack):
                pass
        return made

    @classmethod
    def open(cls, folder: Path | str) -> Project:
        """Open a project; what killed processes have left unfinished is cleared away.

        Parameters
        ----------
        folder
            The project's folder, its ``project.json`` or its ``annotations``.

        Raises
        ------
        FileNotFoundError
            If there is no project.
        ValueError
            If ``project.json`` is damaged or of a newer version; nothing is changed then.
        """
        path = Path(os.path.abspath(folder))
        path = project_folder(path) or path
        content = read_project(path)
        for part in (path, path / ANNOTATIONS):
            clean(part)
        return cls(path, content)

    # what it is

    @property
    def name(self) -> str:
        """Name of the stack when the project was made."""
        return self._content.name

    @property
    def stack(self) -> StackReference:
        """The stack that it belongs to."""
        return self._content.stack

    @property
    def kind(self) -> LabelKind:
        """What painted numbers mean."""
        return self._content.kind

    @property
    def classes(self) -> tuple[tuple[str, str], ...]:
        """(name, "#rrggbb") of each painted number from 0; empty where they have no names."""
        return self._content.classes

    @property
    def partial(self) -> frozenset[int]:
        """Numbers of the frames in which unpainted pixels are unknown."""
        return self._content.partial

    @property
    def settings(self) -> dict[str, Any]:
        """Plain values that the window keeps here; a copy."""
        return dict(self._content.settings)

    def set_kind(self, kind: LabelKind | str, classes: Sequence[tuple[str, str]] = ()) -> None:
        """Say what painted numbers mean, and how classes are named and coloured."""
        entries = tuple((str(name), str(colour)) for name, colour in classes)
        self._change(lambda old: old.changed(kind=LabelKind(kind), classes=entries))

    def set_partial(self, numbers: Sequence[int]) -> None:
        """Say in which frames unpainted pixels are unknown."""
        self._change(lambda old: old.changed(partial=frozenset(int(n) for n in numbers)))

    def set_settings(self, settings: Mapping[str, Any]) -> None:
        """Keep plain values (numbers, texts, lists, dicts); others raise `ValueError`."""
        try:
            plain = json.loads(json.dumps(dict(settings)))
        except TypeError as error:
            raise ValueError(
                f"The settings hold more than numbers, texts, lists and dicts ({error}); convert them."
            ) from error
        self._change(lambda old: old.changed(settings=plain))

    def _change(self, change: Callable[[Manifest], Manifest]) -> None:
        """Change what stands on disk now, so that what another program wrote is not undone."""
        with self._lock, file_lock(self.path):
            try:
                now = read_project(self.path)
            except FileNotFoundError:
                now = self._content
            changed = change(now)
            if changed != now or not (self.path / PROJECT_FILE).is_file():
                write_project(self.path, changed)
            self._content = changed

    # painted frames

    @property
    def _painted(self) -> AnnotationStore:
        return AnnotationStore(self.path, self.stack)

    @property
    def annotated(self) -> tuple[int, ...]:
        """Numbers of the frames that have a file, ascending: painted ones, and `empty` ones."""
        return self._painted.numbers

    @property
    def empty(self) -> frozenset[int]:
        """Numbers of the annotated frames without any object, all background; reads their files."""

        def shows_nothing(number: int) -> bool:
            try:
                return not self.read_frame(number).any()
            except (ValueError, OSError):
                return False  # who reads the frame is told

        return frozenset(n for n in self.annotated if shows_nothing(n))

    def write_frame(self, number: int, labels: NDArray[Any], *, empty: bool = False) -> None:
        """Save a frame as painted; zeros only remove its file, unless it is said to be `empty`.

        A damaged file of this frame is not lost: it is renamed, as ``t002.tif.damaged``.

        Parameters
        ----------
        number
            Frame number, as in the file names of the stack.
        labels
            Integers from `UNKNOWN` on, (H, W) or (Z, H, W).
        empty
            Whether labels of zeros only say that nothing is here: the frame is annotated then, and all
            of it is background.  Not for scribbles, where 0 is unknown: there 1 is background.

        Raises
        ------
        ValueError
            If the stack has no such frame, or the labels do not fit it.
        OSError
            If it cannot be written, in words; what was saved before stays.
        """
        if empty and self.kind is LabelKind.SCRIBBLES and not np.any(labels):
            raise ValueError(
                f"Zeros do not say that frame {number} is empty: in scribbles 0 is unknown. Write 1, which "
                "is background, or leave empty out."
            )
        self._painted.write(number, labels, empty=empty)

    def read_frame(self, number: int) -> NDArray[np.int32]:
        """Read a frame as painted, int32, (H, W) or (Z, H, W); zeros if it is not annotated.

        Raises
        ------
        ValueError
            If the stack has no such frame, or the file is damaged or of another size.
        """
        return self._painted.read(number)

    def damage(self, number: int) -> str:
        """Say why the file of a frame cannot be read; "" if it can, or there is none."""
        return self._painted.damage(number)

    def saved_at(self, number: int) -> datetime | None:
        """Return when a frame was saved last, local time; None if it is not annotated."""
        return self._painted.saved_at(number)

    @property
    def last_saved(self) -> datetime | None:
        """When the last frame was saved; None if none is annotated."""
        times = (self.saved_at(number) for number in self.annotated)
        return max((t for t in times if t is not None), default=None)

    # roles

    @property
    def roles(self) -> dict[int, str]:
        """Frame number -> "training", "validation" or "unused"; a copy."""
        return dict(self._content.roles)

    def role(self, number: int) -> str:
        """Return the role of a frame, "" if it has none."""
        return self._content.roles.get(number, "")

    def set_role(self, number: int, role: str) -> None:
        """Give a frame a role, "" for none; raises `ValueError` if either does not exist."""
        self.set_roles({number: role})

    def set_roles(self, roles: Mapping[int, str]) -> None:
        """Give several frames roles at once, as `set_role`; others keep theirs."""
        given = {int(number): check_role(role) for number, role in roles.items()}
        for number in given:
            self._painted.path(number)

        def change(old: Manifest) -> Manifest:
            merged = {**old.roles, **given}
            return old.changed(roles={n: role for n, role in merged.items() if role})

        self._change(change)

    def assign_role(self, number: int) -> str:
        """Return the role of a newly annotated frame; one that has no role gets it by `next_role`."""
        with self._lock:
            if not self.role(number):
                others = [self.role(n) for n in self.annotated if n != number]
                role = next_role(others, whole=self.is_whole(number))
                bare = number in self.annotated and not self.read_frame(number).any()
                self.set_role(number, "training" if bare else role)  # its score says little
            return self.role(number)

    def is_whole(self, number: int) -> bool:
        """Whether every pixel of a frame is known."""
        if self.kind is LabelKind.SCRIBBLES or number in self.partial:
            return False
        return bool((self.read_frame(number) != UNKNOWN).all())

    def numbers(self, role: str) -> tuple[int, ...]:
        """Return the annotated frames of a role, ascending."""
        check_role(role)
        return tuple(n for n in self.annotated if self.role(n) == role)

    # models and runs

    @property
    def model(self) -> Path | None:
        """The run folder or model file that predicts; None if there is none, or it is gone.

        Where nobody has chosen one, as after a window that was closed while it trained, it is the newest
        run that has a model.
        """
        if not self._content.model:
            trained = [run.path for run in self.runs() if run.has_model]
            return next(reversed(trained), None)
        path = self.path / self._content.model
        return path if path.exists() else None

    def set_model(self, path: Path | str | None) -> None:
        """Choose the run folder or model file that predicts; inside the project it may move along."""
        text = ""
        if path is not None:
            absolute = Path(os.path.abspath(path))
            inside = absolute.is_relative_to(self.path)
            text = absolute.relative_to(self.path).as_posix() if inside else str(absolute)
        self._change(lambda old: old.changed(model=text))

    def new_run(self) -> Path:
        """Return the folder of the next run, ``runs/001`` first; it is not made yet."""
        return next_run(self.path / RUNS)

    def reserve_run(self) -> Path:
        """Make the folder of the next run and return it; no other program is given the same.

        Raises
        ------
        OSError
            If it cannot be made, in words.
        """
        return reserve_run(self.path / RUNS)

    def runs(self) -> tuple[RunSummary, ...]:
        """List the runs, the oldest first; from plain files, without torch."""
        return list_runs(self.path / RUNS)

    @property
    def last_run(self) -> RunSummary | None:
        """The newest run; None before the first."""
        return next(reversed(self.runs()), None)

    # the stack

    def open_stack(self) -> Stack:
        """Open the images, with what is painted as the first annotation, "painted".

        Raises
        ------
        FileNotFoundError
            If the images are no longer where they were; see `relocate`.
        ValueError
            If there are other images in their place.
        """
        return with_painted(self, self.stack.open(self.path))

    def relocate(self, path: Path | str, *, sequence: str | None = None) -> None:
        """Say where the images are now.

        Parameters
        ----------
        path, sequence
            See `napari_jnet.open_stack`; the sequence stays if None.

        Raises
        ------
        FileNotFoundError
            If the path does not exist.
        ValueError
            If these are other images than those that were annotated.
        """
        opened = self.stack.open_at(Path(path), sequence)
        self._change(lambda old: old.changed(stack=old.stack.placed_at(opened, self.path)))

    def store_stack(self, stack: Stack) -> Iterator[int]:
        """Copy an image that is in no file into the project; nothing if there is no need.

        Yields
        ------
        int
            How many frames are written.

        Raises
        ------
        ValueError
            If the image is too large, or another one than that of the project.
        OSError
            If the disk is full or the folder cannot be written; nothing half is left.
        """
        if self.stack.has_file:
            return
        if stack.shape != self.stack.shape or fingerprint(stack) != self.stack.fingerprint:
            raise ValueError(
                f"The image {stack.name!r} is another one than that of the project {self.path}. "
                "Make a project of its own for it."
            )
        yield from write_copy(stack, self.path)
        self._change(lambda old: old.changed(stack=old.stack.model_copy(update={"stored": True})))

    def frames(self, numbers: Sequence[int] | None = None) -> list[AnnotatedFrame]:
        """Read what to train on: annotated frames with their roles, without unused ones.

        Parameters
        ----------
        numbers
            Frame numbers; None takes all annotated ones.

        Raises
        ------
        ValueError
            If nothing is annotated or all is unused, or a file is damaged.
        FileNotFoundError
            If the images are gone.
        """
        return training_frames(self, numbers)
