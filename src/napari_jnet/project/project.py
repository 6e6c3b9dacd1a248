"""A project: a plain folder with the work on one stack.

``project.json`` (stack, kind of labels, roles, settings), ``annotations`` (a file a painted frame),
``runs`` (a folder a training), and ``stack.tif`` where the image is in no file of its own.
"""

from __future__ import annotations

import io
import math
import os
import threading
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import tifffile
from numpy.typing import NDArray

from napari_jnet.config import InstanceConfig, NetworkConfig
from napari_jnet.files import (
    check_memory,
    check_no_link,
    clean,
    file_lock,
    quarantine,
    remove_file,
    write_file,
    writing,
)
from napari_jnet.io.run_folder import PACKAGED, packaged_name
from napari_jnet.io.stack import (
    AnnotatedFrame,
    Annotation,
    Stack,
    annotated_frames,
    check_frame,
    frame_label,
    frame_name,
)
from napari_jnet.io.tiff import read_tiff, tiff_options
from napari_jnet.labels import UNKNOWN, LabelKind, check_covers, known_labels
from napari_jnet.project.manifest import (
    ANNOTATIONS,
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
RUNS = "runs"


class Project:
    """The work on one stack, on disk; made by `create` or `open`.

    Every change is on disk when the call returns, and files are written atomically, so that a killed
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
            As returned by `open_stack`, or of an array.  If the file at its path has the same pixels,
            the project refers to it; else it stores a copy.
        kind
            What painted numbers mean.
        classes
            (name, "#rrggbb") of each painted number from 0, where they have names.
        partial
            Numbers of the frames in which unpainted pixels are unknown (partly annotated).
        store
            False skips a necessary copy; `store_stack` makes it, also in the background.

        Raises
        ------
        FileExistsError
            If the folder is not empty.
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
        with writing(path, "made"):
            (path / ANNOTATIONS).mkdir(parents=True, exist_ok=True)
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
            with suppress(OSError):  # repeated attempts leave no empty folders
                (path / ANNOTATIONS).rmdir()
                path.rmdir()
            raise
        made = cls(path, content)
        if store:
            made.store_stack(stack)
        return made

    @classmethod
    def open(cls, folder: Path | str) -> Project:
        """Open a project, and remove unfinished files of killed processes.

        Parameters
        ----------
        folder
            The project's folder, its ``project.json`` or its ``annotations``.

        Raises
        ------
        FileNotFoundError
            If the folder is not a project.
        ValueError
            If ``project.json`` is damaged or of a newer version; nothing is changed then.
        """
        path = Path(os.path.abspath(folder))
        path = project_folder(path) or path
        content = read_project(path)
        for part in (path, path / ANNOTATIONS):
            clean(part)
        return cls(path, content)

    # content

    @property
    def name(self) -> str:
        """Name of the stack when the project was made."""
        return self._content.name

    @property
    def stack(self) -> StackReference:
        """The stack that is annotated."""
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

    def set_kind(self, kind: LabelKind | str, classes: Sequence[tuple[str, str]] = ()) -> None:
        """Set what painted numbers mean, and names and colours of classes."""
        self._change(lambda old: old.changed(kind=LabelKind(kind), classes=tuple(classes)))

    def set_partial(self, numbers: Sequence[int]) -> None:
        """Set the frames in which unpainted pixels are unknown."""
        self._change(lambda old: old.changed(partial=frozenset(int(n) for n in numbers)))

    def _change(self, change: Callable[[Manifest], Manifest]) -> None:
        """Apply a change to the file as it is now: another program may have written it."""
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

    def _file_name(self, number: int) -> str:
        """Return the name of the file of a frame: ``t002.tif``."""
        return f"{frame_label(self.stack.axes, number, self.stack.digits)}.tif"

    def _file(self, number: int) -> Path:
        return self.path / ANNOTATIONS / self._file_name(number)

    @property
    def annotated(self) -> tuple[int, ...]:
        """Numbers of the frames that have a file, ascending: painted ones, and `empty` ones."""
        try:
            names = set(os.listdir(self.path / ANNOTATIONS))
        except FileNotFoundError:
            return ()
        return tuple(n for n in self.stack.frame_numbers if self._file_name(n) in names)

    @property
    def empty(self) -> frozenset[int]:
        """Numbers of the annotated frames without any object, all background; reads their files."""
        found = set()
        for number in self.annotated:
            with suppress(ValueError, OSError):  # reported where the frame is read
                if not self.read_frame(number).any():
                    found.add(number)
        return frozenset(found)

    def write_frame(self, number: int, labels: NDArray[Any], *, empty: bool = False) -> None:
        """Save a frame as painted; zeros only remove its file, unless it is `empty`.

        A damaged file of this frame is not lost: it is renamed, as ``t002.tif.damaged``.

        Parameters
        ----------
        number
            Frame number, as in the file names of the stack.
        labels
            Integers, `UNKNOWN` or larger, (H, W) or (Z, H, W).
        empty
            Whether labels of zeros only mean an annotated frame that is all background.  Not for
            scribbles, where 0 is unknown and 1 is background.

        Raises
        ------
        ValueError
            If the stack has no such frame, or the labels do not fit it.
        OSError
            If it cannot be written; the file saved before stays.
        """
        check_frame(number, self.stack.frame_numbers, self.name)
        painted, path = _checked(np.asarray(labels), self.stack, number), self._file(number)
        if empty and self.kind is LabelKind.SCRIBBLES and not painted.any():
            raise ValueError(
                f"Zeros do not make frame {number} empty: in scribbles 0 is unknown. Write 1, which "
                "is background, or omit empty."
            )
        check_no_link(path.parent)
        try:
            self.read_frame(number)
        except (ValueError, OSError):
            quarantine(path)
        if not (empty or painted.any()):
            remove_file(path)
            return
        if self.path.is_dir():
            path.parent.mkdir(exist_ok=True)
        write_file(path, _encoded(painted, self.stack))

    def read_frame(self, number: int) -> NDArray[np.int32]:
        """Read a frame as painted, int32, (H, W) or (Z, H, W); zeros if it is not annotated.

        Raises
        ------
        ValueError
            If the stack has no such frame, or the file is damaged or of another size.
        """
        check_frame(number, self.stack.frame_numbers, self.name)
        path, shape = self._file(number), self.stack.spatial
        if not path.is_file():
            check_memory(self.path, 4 * math.prod(shape))
            return np.zeros(shape, np.int32)
        try:
            stored = read_tiff(path)
        except ValueError as error:
            raise ValueError(
                f"{path} is damaged, so frame {number} cannot be shown as painted. Put back a copy of "
                f"the file, or paint the frame again: the file is then renamed to {path.name}.damaged. "
                "Other frames are not affected."
            ) from error
        # A stack of one section or one row loses that axis in some programs.
        if stored.shape != shape and stored.size == math.prod(shape):
            stored = stored.reshape(shape)
        if stored.shape != shape or not np.issubdtype(stored.dtype, np.integer):
            raise ValueError(
                f"{path} holds {stored.dtype} of shape {stored.shape}, the frames of this stack are "
                f"painted as integers of shape {shape}. Move the file away, or into its own project."
            )
        return stored.astype(np.int32)

    @property
    def last_saved(self) -> datetime | None:
        """When the last frame was saved, local time; None if none is annotated."""
        times = []
        for number in self.annotated:
            with suppress(FileNotFoundError):  # removed meanwhile
                times.append(self._file(number).stat().st_mtime)
        return datetime.fromtimestamp(max(times)).astimezone() if times else None

    # roles

    @property
    def roles(self) -> dict[int, str]:
        """Frame number -> "training", "validation" or "unused"; a copy."""
        return dict(self._content.roles)

    def role(self, number: int) -> str:
        """Return the role of a frame, "" if it has none."""
        return self._content.roles.get(number, "")

    def set_role(self, number: int, role: str) -> None:
        """Set the role of a frame, "" for none; raises `ValueError` if either does not exist."""
        self.set_roles({number: role})

    def set_roles(self, roles: Mapping[int, str]) -> None:
        """Set the roles of several frames at once, as `set_role`; other frames keep theirs."""
        given = {int(number): check_role(role) for number, role in roles.items()}
        for number in given:
            check_frame(number, self.stack.frame_numbers, self.name)

        def change(old: Manifest) -> Manifest:
            merged = {**old.roles, **given}
            return old.changed(roles={n: role for n, role in merged.items() if role})

        self._change(change)

    def assign_role(self, number: int) -> str:
        """Return the role of a frame; one without a role gets the `next_role`."""
        self.assign_roles([number])
        return self.role(number)

    def assign_roles(self, numbers: Sequence[int]) -> None:
        """Give the `next_role` to those of these frames that have no role."""
        with self._lock:
            annotated, asked = set(self.annotated), set(numbers)
            given = Counter(self.role(n) for n in annotated - asked)
            chosen = {}
            for number in [n for n in numbers if not self.role(n)]:
                labels = self.read_frame(number)
                partial = self.kind is LabelKind.SCRIBBLES or number in self.partial
                role = next_role(given, complete=not partial and bool((labels != UNKNOWN).all()))
                if number in annotated and not labels.any():  # its score means little
                    role = "training"
                chosen[number] = role
                given[role] += 1
            self.set_roles(chosen)

    def numbers(self, role: str) -> tuple[int, ...]:
        """Return the annotated frames of a role, ascending."""
        check_role(role)
        return tuple(n for n in self.annotated if self.role(n) == role)

    # models and runs

    @property
    def model(self) -> Path | None:
        """The run folder or model file that predicts; None if there is none, or it is missing.

        Where none is chosen, as after a window that was closed while it trained, it is the newest run
        that has a model.
        """
        if not self._content.model:
            trained = [run.path for run in self.runs() if run.has_model]
            return next(reversed(trained), None)
        path = PACKAGED.get(self._content.model, self.path / self._content.model)
        return path if path.exists() else None

    def set_model(self, path: Path | str | None) -> None:
        """Choose the run folder or model file that predicts; one in the project moves with it.

        One of the package is remembered by its name.
        """
        text = ""
        if path is not None:
            absolute = Path(os.path.abspath(path))
            inside = absolute.is_relative_to(self.path)
            text = absolute.relative_to(self.path).as_posix() if inside else str(absolute)
            text = packaged_name(absolute) or (f"./{text}" if text in PACKAGED else text)

        def change(old: Manifest) -> Manifest:
            looked_at = old.looked_at if old.model in ("", text) else ()  # its cells are others
            return old.changed(model=text, looked_at=looked_at)

        self._change(change)

    @property
    def instances(self) -> InstanceConfig | None:
        """How predicted cells are separated, as somebody chose it; None where nobody did.

        Only what was chosen is given in it; the rest is as a model has it.
        Also None where a newer version has stored settings that this one does not know.
        """
        stored = self._content.instances
        try:
            return InstanceConfig.from_dict(stored) if stored else None
        except ValueError:
            return None

    def set_instances(self, instances: InstanceConfig) -> None:
        """Set how predicted cells are separated, by what is given in ``instances``."""
        self._change(lambda old: old.changed(instances=instances.given()))

    @property
    def diameter(self) -> float | None:
        """The diameter of the cells in pixels for a model for any size, as somebody gave it; or None.

        Also None where ``project.json`` has one that is out of range.
        """
        try:
            return NetworkConfig(diameter=self._content.diameter).diameter
        except ValueError:
            return None

    def set_diameter(self, diameter: float | None) -> None:
        """Set the diameter of the cells in pixels, at least 3; None has it estimated."""
        checked = NetworkConfig(diameter=diameter).diameter
        self._change(lambda old: old.changed(diameter=checked))

    @property
    def looked_at(self) -> tuple[tuple[int, ...], ...]:
        """The predicted cells that somebody has looked at, in order: frame number and a pixel of each.

        Another model has other cells: `set_model` forgets them.
        """
        return self._content.looked_at

    def set_looked_at(self, cells: Sequence[tuple[int, ...]]) -> None:
        """Set which predicted cells somebody has looked at: frame number, then row and column of a pixel."""
        self._change(lambda old: old.changed(looked_at=tuple(cells)))

    def new_run(self) -> Path:
        """Return the folder of the next run, ``runs/001`` first; it is not made yet."""
        return next_run(self.path / RUNS)

    def reserve_run(self) -> Path:
        """Make and return the folder of the next run, exclusively; raises `OSError`."""
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
            If the images are missing; see `relocate`.
        ValueError
            If other images are at their path.
        """
        stack = self.stack.open(self.path)
        if not self.annotated:
            return stack
        painted = self._annotation(stack)
        return replace(stack, annotations={PAINTED: painted, **stack.annotations}, candidates=False)

    def _annotation(self, stack: Stack) -> Annotation:
        kind, partial = self.kind, self.partial

        def read(number: int) -> NDArray[np.int32]:
            labels = self.read_frame(number)
            if stack.format == "folder":  # smaller images are padded where they are shown
                spatial = stack.frame(number).shape[: labels.ndim]
                labels = labels[tuple(slice(n) for n in spatial)]
            try:
                return known_labels(labels, kind, partial=number in partial)
            except ValueError as error:
                raise ValueError(f"{self.path}, frame {number}: {error}") from error

        # Scribbles count from 1 = background, classes from 0.
        start = 1 if kind is LabelKind.SCRIBBLES else 0
        return Annotation(
            PAINTED,
            kind,
            self.annotated,
            read,
            partial=partial,
            empty=(lambda: self.empty) if kind is not LabelKind.SCRIBBLES else frozenset(),
            path=self.path / ANNOTATIONS,
            classes=() if kind is LabelKind.INSTANCES else self.classes[start:],
        )

    def relocate(self, path: Path | str, *, sequence: str | None = None) -> None:
        """Set where the images are now.

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
        self._change(lambda old: old.changed(stack=old.stack.with_path(opened, self.path)))

    def store_stack(self, stack: Stack) -> None:
        """Copy an image that is in no file into the project; does nothing for others.

        Raises
        ------
        ValueError
            If the image is too large, or another one than that of the project.
        OSError
            If the disk is full or the folder cannot be written; no partial file is left.
        """
        if self.stack.has_file:
            return
        if stack.shape != self.stack.shape or fingerprint(stack) != self.stack.fingerprint:
            raise ValueError(
                f"The image {stack.name!r} is another one than that of the project {self.path}. "
                "Make a project of its own for it."
            )
        write_copy(stack, self.path)
        self._change(lambda old: old.changed(stack=old.stack.model_copy(update={"stored": True})))

    def frames(self, numbers: Sequence[int] | None = None) -> list[AnnotatedFrame]:
        """Read the frames to train on: annotated ones with their roles, without unused ones.

        Parameters
        ----------
        numbers
            Frame numbers; None takes all annotated ones.

        Raises
        ------
        ValueError
            If nothing is annotated or all is unused, or a file is damaged.
        FileNotFoundError
            If the images are missing.
        """
        annotated = self.annotated
        if numbers is None:
            numbers = [n for n in annotated if self.role(n) != "unused"]
        if not numbers:
            more = f" ({len(annotated)} annotated frames are unused)" if annotated else ""
            raise ValueError(
                f"The project {self.path} has no annotated frame to train on{more}; paint at least "
                "one cell in one frame, or set the role of a frame to training."
            )
        stack = self.open_stack()
        roles = {frame_name(stack, n): self.role(n) for n in numbers}
        found = annotated_frames(stack, PAINTED, numbers)
        return [  # a plane of a volume has the role of its frame
            replace(f, role=roles.get(f.name) or roles.get(f.name.rpartition(" z")[0], ""))
            for f in found
        ]


def _checked(labels: NDArray[Any], stack: StackReference, number: int) -> NDArray[np.int32]:
    """Return labels as they are stored; raises `ValueError` where they do not fit the stack."""
    check_covers(labels.shape, stack.spatial, f"Frame {number} of {stack.name}")
    largest = np.iinfo(np.int32).max
    integers = np.issubdtype(labels.dtype, np.integer)
    if not integers or labels.min() < UNKNOWN or labels.max() > largest:
        raise ValueError(
            f"The labels of frame {number} are {labels.dtype} from {labels.min()} to {labels.max()}; "
            f"labels are integers from {UNKNOWN} (unknown) to {largest}. Convert the layer to labels, or "
            "repaint these pixels."
        )
    return labels.astype(np.int32, copy=False)


def _encoded(labels: NDArray[np.int32], stack: StackReference) -> bytes:
    axes = stack.axes.replace("C", "")[1:]
    buffer = io.BytesIO()
    tifffile.imwrite(
        buffer,
        labels,
        photometric="minisblack",
        compression="zlib",
        compressionargs={"level": 1},  # labels shrink a hundredfold at any level; 1 is the fastest
        rowsperstrip=labels.shape[-2],
        metadata=None,
        **tiff_options(labels.shape, labels.dtype, axes, stack.scale[1:], stack.units[1:]),
    )
    return buffer.getvalue()
