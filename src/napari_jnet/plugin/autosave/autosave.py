"""Save every stroke: labels layers to their projects on disk."""

from __future__ import annotations

import copy
import logging
import shutil
from collections.abc import Callable, Container, Mapping
from contextlib import suppress
from datetime import datetime
from functools import cached_property, partial
from pathlib import Path
from typing import Any, NamedTuple
from weakref import WeakKeyDictionary

import numpy as np
import tifffile
from napari.layers import Labels
from numpy.typing import NDArray
from qtpy.QtCore import QEvent, QObject, QTimer
from qtpy.QtWidgets import QApplication, QWidget

from napari_jnet.files import FolderLock, atomic_write, free_path, make_folder, write_recovery_copy
from napari_jnet.labels import LabelKind
from napari_jnet.plugin.autosave.resume import (
    ResumeOffers,
    chosen_folder,
    describe_damage,
    lock_project,
    report_damage,
    show_box,
    stack_of,
)
from napari_jnet.plugin.frames import checksum
from napari_jnet.plugin.jobs.runner import TaskQueue
from napari_jnet.plugin.layers.read import (
    METADATA_KEY,
    check_same_size,
    kind_of,
    layer_classes,
    marked_empty,
    metadata,
    pixels,
    remember,
    result_of,
    spatial_shape,
)
from napari_jnet.plugin.workspace import SaveStatus, Workspace
from napari_jnet.project.places import new_project_folder
from napari_jnet.project.project import Project

_WAIT_MS = 2000  # after the first unsaved stroke
_RETRY_MS = 5000
_CLOSING_S = 60.0  # what is not saved then is written into a recovery copy
_EMPTY = -1  # in place of the checksum of an empty frame that has a file
_NO_IMAGE = "labels without an image"  # folder, beside the projects
_SAVING = SaveStatus("saving…", saved=False)
Classes = tuple[tuple[str, str], ...]


class SaveRequest(NamedTuple):
    """The content of one save."""

    positions: set[int]
    roles: Mapping[int, str]  # of all frames, by number
    kind: LabelKind
    classes: Classes
    empty: Container[int]  # numbers of frames that are annotated without any object; may read files


class LayerStore:
    """A labels layer and the project that it is saved in, which the first save makes.

    Raises `ValueError` where the layer and its image do not cover the same pixels.
    """

    def __init__(self, layer: Any, image: Any) -> None:
        check_same_size(layer, image)
        self.layer = layer
        self.stack = stack_of(image)
        self.project: Project | None = None
        self.dirty: set[int] = set()  # positions
        self.changed = False  # kind, classes or roles
        self.whole = False  # all its painted frames are saved, not only corrected ones
        self.saving = 0  # running saves
        self.failure = ""  # why the last save failed
        self.recovered = False  # what is unsaved is in a recovery copy
        self._folder = chosen_folder()
        self._lock: FolderLock | None = None
        self._sums: dict[int, int] = {}  # position -> checksum of the file, of frames that have one
        self.renew()

    @property
    def waiting(self) -> bool:
        """Whether something is to be saved."""
        return bool(self.dirty) or self.changed

    @property
    def unsaved(self) -> bool:
        """Whether something is not on disk yet: waiting, or being written."""
        return self.waiting or self.saving > 0

    @property
    def replaced(self) -> bool:
        """Whether the layer was given labels of another shape, which belong to another project."""
        return tuple(pixels(self.layer).shape) != tuple(self._data.shape)

    def renew(self) -> None:
        """Hold the present labels of the layer: these are saved, even if it is given others."""
        self._data, self._empty = pixels(self.layer), marked_empty(self.layer)

    def detach(self) -> None:
        """Go on with a layer of the former labels, which no viewer has: the layer was given others."""
        self.layer = Labels(
            self._data,
            name=self.layer.name,
            metadata={METADATA_KEY: metadata(self.layer) | {"empty": self._empty}},
            features=self.layer.features,
            colormap=self.layer.colormap,
        )

    def take(self, roles: Mapping[int, str]) -> SaveRequest:
        """Return what is to be saved; later strokes on these frames are for the next save."""
        if not self.replaced:
            self.renew()
        positions, self.dirty, self.changed = self.dirty, set(), False
        self.saving += 1
        return SaveRequest(positions, roles, *self._kind(), self._empty)

    def differs(self, roles: Mapping[int, str]) -> bool:
        """Return whether the project has other roles, another kind or other classes."""
        project = self.project
        return project is not None and (
            not roles.items() <= project.roles.items()
            or (project.kind, project.classes) != self._kind()
        )

    def _kind(self) -> tuple[LabelKind, Classes]:
        kind = kind_of(self.layer)
        if kind is None:
            classes = result_of(self.layer) in ("segmentation", "classes")
            kind = LabelKind.CLASSES if classes else LabelKind.INSTANCES
        return kind, () if kind is LabelKind.INSTANCES else layer_classes(self.layer)

    # in the thread that saves

    def _frame(self, position: int) -> NDArray[Any]:
        data = self._data
        return np.array(data if data.ndim == 2 else data[position])

    @cached_property
    def _partial(self) -> list[int]:
        """Numbers of the frames where 0 is unknown; may read files."""
        some = metadata(self.layer).get("partial", ())
        return sorted(n for n in self.stack.frame_numbers if n in some)

    def _checksum(self, number: int, labels: NDArray[Any], empty: Container[int]) -> int | None:
        """Return the entry in `_sums` of a frame with these labels; None if it has no file."""
        if labels.any():
            return checksum(labels)
        return _EMPTY if number in empty else None

    def open(self, path: Path) -> tuple[Project, dict[int, str]]:
        """Open the project that the layer was restored from; see `differing` for what is new in it.

        Returns the project, and why frames, by number, cannot be read: these are blank in the layer,
        which is not a change.  Raises `ValueError` where another window has it open.
        """
        lock = lock_project(path)
        try:
            project = Project.open(path)
            positions = {n: p for p, n in enumerate(self.stack.frame_numbers)}
            damaged, like = {}, self._frame(0)
            for number in filter(positions.__contains__, project.annotated):
                try:
                    stored = project.read_frame(number).astype(like.dtype).reshape(like.shape)
                except (ValueError, OSError) as error:
                    damaged[number] = str(error)
                    continue
                self._sums[positions[number]] = checksum(stored) if stored.any() else _EMPTY
        except Exception:
            lock.release()
            raise
        self.project, self._lock = project, lock
        return project, damaged

    def save(self, request: SaveRequest) -> None:
        """Write what is requested; the first request makes the project, which gives roles to new frames.

        Raises `OSError` where the disk fails, and `ValueError` where these labels cannot be saved or
        another window has the project.
        """
        if self.project is None:
            self.project = Project.create(
                new_project_folder(self.stack, self._folder),
                self.stack,
                request.kind,
                classes=request.classes,
                partial=self._partial,
                store=False,
            )
        project = self.project
        if self._lock is None:
            self._lock = lock_project(project.path)
        if project.partial != frozenset(self._partial):
            project.set_partial(self._partial)
        if (project.kind, project.classes) != (request.kind, request.classes):
            project.set_kind(request.kind, request.classes)
        if not request.roles.items() <= project.roles.items():
            project.set_roles(request.roles)
        numbers, annotated, new = self.stack.frame_numbers, set(project.annotated), []
        removed = {p for p in self._sums if numbers[p] not in annotated}  # their files were removed
        for position in removed:
            del self._sums[position]
        for position in sorted(request.positions | removed):
            labels, number = self._frame(position), numbers[position]
            total = self._checksum(number, labels, request.empty)
            if self._sums.get(position) != total:
                empty = total == _EMPTY
                project.write_frame(number, labels.reshape(project.stack.spatial), empty=empty)
            if total is None:
                self._sums.pop(position, None)
                continue
            self._sums[position] = total
            if not project.role(number):
                new.append(number)
        if new and result_of(self.layer):  # validation would compare a prediction with itself
            project.set_roles(dict.fromkeys(new, "training"))
        elif new:
            project.assign_roles(new)

    def differing(self) -> set[int]:
        """Return the frames that differ from what is on disk: changed without an event."""
        if self.project is None or not isinstance(self._data, np.ndarray):
            return set()
        numbers, found = self.stack.frame_numbers, set()
        for position in range(len(self.stack)) if self.whole else list(self._sums):
            total = self._checksum(numbers[position], self._frame(position), self._empty)
            if self._sums.get(position) != total:
                found.add(position)
        return found

    def write_copy(self, roles: Mapping[int, str], root: Path) -> Path:
        """Write all that is painted into a new project below a folder; nothing is left if that fails."""
        twin = copy.copy(self)
        vars(twin).update(project=None, _lock=None, _sums={}, _folder=root)
        positions = set(range(len(self.stack)))
        try:
            twin.save(SaveRequest(positions, roles, *self._kind(), self._empty))
        except (OSError, ValueError):
            shutil.rmtree(root, ignore_errors=True)
            raise
        finally:
            twin.release()
        assert twin.project is not None
        return twin.project.path

    def release(self) -> None:
        """Unlock the project for other windows; the next save locks it again."""
        if self._lock is not None:
            self._lock.release()
            self._lock = None


class AutoSave:
    """Saves the annotations of a viewer to projects: changed frames, roles, kind and class names.

    The first stroke makes the project.  Every stroke is on disk within three seconds, unless the
    disk fails: then the window shows the error, and saving is retried.  The `project` and
    `saving` of the workspace are set here.  Other work with files of the projects goes into `queue`.
    """

    def __init__(self, workspace: Workspace) -> None:
        self._workspace, self._frames = workspace, workspace.frames
        self.queue = TaskQueue("napari-jnet saving")
        self._copies = TaskQueue("napari-jnet copying")
        self._copied: set[Path] = set()  # projects that have or get a copy of their image
        self._stores: list[LayerStore] = []
        self._projects: dict[Path, Project] = {}
        self._owned: WeakKeyDictionary[Any, str] = WeakKeyDictionary()  # layer -> its project
        self._unfit: dict[
            Any, str
        ] = {}  # layer -> why not saved; also removed ones, until they are
        self._saved = SaveStatus()  # the last save
        self._listened: Any = None
        self._timer = QTimer()
        self._timer.setSingleShot(True)
        self._timer.timeout.connect(self._on_time)
        self._frames.painted.connect(self._on_painted)
        self._frames.roles_changed.connect(self._on_changed)
        self._frames.kind_changed.connect(self._on_changed)
        workspace.annotation_changed.connect(self._on_annotation)
        workspace.image_changed.connect(self._on_image)
        workspace.viewer.layers.events.inserted.connect(self._retry_unfit)
        workspace.viewer.layers.events.removed.connect(self._on_removed)
        self._offers = ResumeOffers(workspace)
        self._closing_filter = _ClosingFilter(workspace.viewer, self._on_closing, self.release)
        self._on_annotation(workspace.annotation)

    # for widgets and scripts

    def ensure_project(
        self,
        then: Callable[[Project], Any] | None = None,
        failed: Callable[[Exception], Any] | None = None,
    ) -> None:
        """Make the project of the annotation, with all that is painted, unless it is there.

        ``then`` is called with the project, at once where it is there already, and ``failed`` with the
        exception where it cannot be made.  Raises `ValueError` without an annotation or an image,
        or if they do not cover the same pixels.
        """
        if self._workspace.annotation is None:
            raise ValueError("No annotation is open. Press New annotation, or add a labels layer.")
        store = self._need_store(self._workspace.annotation)
        if store.project is None or self._workspace.project is None or not store.whole:
            self._mark_all(store)
            self._workspace.saving = _SAVING
            self._save(store, then, failed)
        elif then is not None:
            then(store.project)

    @property
    def projects(self) -> tuple[Project, ...]:
        """The projects of this viewer's layers, also of removed ones."""
        return tuple(self._projects.values())

    def layer_of(self, path: Path) -> Any | None:
        """Return the layer of the viewer that is saved in the project of this folder, or None."""
        viewer = self._workspace.viewer
        there = () if viewer is None else viewer.layers
        saved = (s.layer for s in self._stores if s.project is not None and s.project.path == path)
        return next((layer for layer in saved if layer in there), None)

    def flush(self) -> bool:
        """Wait until all is on disk; return False where something could not be saved."""
        for store in self._stores:
            self._find_changes(store)
        self.queue.wait(_CLOSING_S)
        self._timer.stop()
        self._on_time()
        self.queue.wait(_CLOSING_S)
        return not self._unfit and not any(store.unsaved for store in self._stores)

    def wait(self) -> None:
        """Wait for running tasks, such as resuming a project; for scripts."""
        self.queue.wait()
        self._copies.wait()
        self._offers.wait()

    def release(self) -> None:
        """Unlock the projects for other windows; the next save locks them again."""
        for store in self._stores:
            store.release()

    # changes

    def _on_painted(self, layer: Any, positions: tuple[int, ...]) -> None:
        try:
            store = self._need_store(layer)
        except ValueError as error:
            self._unfit[layer] = str(error)
            self._show_status()
            return
        self._unfit.pop(layer, None)
        if not store.whole and (layer is self._workspace.annotation or not result_of(layer)):
            self._mark_all(store)
        store.dirty |= set(positions)
        store.recovered = False
        self._save_soon()

    def _on_changed(self, _event: Any = None) -> None:
        """Save new roles, kind or names with the project, which they alone do not make."""
        store = self._current
        if store is not None and store.differs(self._frames.roles):
            store.changed = True
            self._save_soon()

    def _on_annotation(self, layer: Any | None) -> None:
        before, self._listened = self._listened, layer
        for one, verb in ((before, "disconnect"), (layer, "connect")):
            if one is not None:
                getattr(one.events.colormap, verb)(self._on_changed)
                getattr(one.events.features, verb)(self._on_changed)
                getattr(one.events.data, verb)(self._on_data)
        store = self._current
        if store is not None:
            self._find_changes(store)
        self._drop_saved()
        self._workspace.project = None if store is None else store.project
        if self._workspace.project is None:
            self._saved = SaveStatus()
            self._show_status()
            self._reopen(layer)

    def _on_data(self, _event: Any = None) -> None:
        store = self._current
        if store is not None and store.replaced:
            self._detach(store)
        elif store is not None:
            store.renew()

    def _on_image(self, _image: Any) -> None:
        if self._current is None:
            self._reopen(self._workspace.annotation)
        self._retry_unfit()

    def _on_removed(self, event: Any) -> None:
        store = self._store_of(event.value)
        if event.value in self._unfit:
            self._write_unfit(event.value)
        elif store is not None and store.waiting:
            self._save(store)
        self._drop_saved()

    def _find_changes(self, store: LayerStore) -> None:
        """Find changes without an event, such as undo in a frame that is not shown."""

        def mark(found: set[int]) -> None:
            if found:
                store.dirty |= found
                self._save_soon()

        self.queue.submit(store.differing, mark)

    # which layers

    @property
    def _current(self) -> LayerStore | None:
        return self._store_of(self._workspace.annotation)

    def _store_of(self, layer: Any | None) -> LayerStore | None:
        return next((store for store in self._stores if store.layer is layer), None)

    def _need_store(self, layer: Any) -> LayerStore:
        store = self._store_of(layer)
        if store is not None and store.replaced:
            self._detach(store)
            store = None
        if store is None:
            self._reopen(layer)
            store = self._store_of(layer)
        if store is None:
            store = LayerStore(layer, self._image_of(layer))
            self._stores.append(store)
        return store

    def _image_of(self, layer: Any) -> Any:
        """Return the image that labels belong to: the chosen one, else one of their size."""
        images = self._workspace.images()
        if not images:
            raise ValueError(
                f"The labels {layer.name!r} are not saved, because no image is open. Open the image "
                "that they belong to."
            )
        size = tuple(pixels(layer).shape)
        own = images[-1] if self._workspace.image is None else self._workspace.image
        fitting = (one for one in (own, *reversed(images)) if spatial_shape(one) == size)
        return next(fitting, own)

    def _reopen(self, layer: Any | None) -> None:
        """Open the project of a layer that was read from one, or added again, unless another layer has it.

        Where they differ, the layer is saved.
        """
        if layer is None or self._workspace.image is None:
            return
        path = self._owned.get(layer) or metadata(layer).get("opened")
        if not path or path in [str(store.project.path) for store in self._stores if store.project]:
            return
        try:
            store = LayerStore(layer, self._image_of(layer))
        except ValueError as error:
            self._show_failure(f"not saved: {error}")
            return
        store.whole = True
        self._stores.append(store)
        self._owned[layer] = path
        remember(layer, opened=None)  # a copy of the layer gets a project of its own

        def opened(found: tuple[Project, dict[int, str]]) -> None:
            project, damaged = found
            self._projects[project.path] = project
            self._frames.add_roles(layer, project.roles)
            self._show_project(store, project.last_saved)
            self._copy_image(store)  # a killed program may not have finished
            self._show_status()
            report_damage(self._workspace, describe_damage(damaged))
            if store.waiting:
                self._save_soon()

        def failed(error: Exception) -> None:
            self._owned.pop(layer, None)
            store.whole = False
            if store.waiting:
                self._mark_all(store)
                self._save_soon()
            self._show_failure(f"{error} What is painted here is saved in a new project.", True)

        self.queue.submit(lambda: store.open(Path(path)), opened, failed)
        self._find_changes(store)

    def _detach(self, store: LayerStore) -> None:
        """Save the former labels of the layer; the present ones are a new annotation."""
        layer, roles = store.layer, self._frames.roles_of(store.layer)
        store.detach()
        self._frames.add_roles(store.layer, roles)
        self._owned.pop(layer, None)
        if store.waiting:
            self._save(store)
        self._drop_saved()
        if layer is self._workspace.annotation:
            self._workspace.project = None
            self._workspace.saving = SaveStatus()

    def _drop_saved(self) -> None:
        """Remove stores that are saved and whose layer is not in the viewer."""
        viewer = self._workspace.viewer
        there = () if viewer is None else viewer.layers
        for store in list(self._stores):
            if not store.unsaved and store.layer not in there:
                self._stores.remove(store)
                store.release()

    # saving

    def _mark_all(self, store: LayerStore) -> None:
        """Mark all painted frames of a layer to be saved."""
        store.whole = True
        store.dirty |= set(self._frames.filled(store.layer))

    def _save_soon(self) -> None:
        if not self._workspace.saving.failed:
            self._workspace.saving = _SAVING
        if not self._timer.isActive():
            self._timer.start(_WAIT_MS)

    def _on_time(self) -> None:
        for store in self._stores:
            if store.waiting:
                self._save(store)

    def _save(
        self,
        store: LayerStore,
        then: Callable[[Project], Any] | None = None,
        failed: Callable[[Exception], Any] | None = None,
    ) -> None:
        """Save the waiting changes of a layer; later strokes are for the next save."""
        request = store.take(self._frames.roles_of(store.layer))

        def saved(_: None) -> None:
            store.saving -= 1
            self._on_saved(store)
            if then is not None and store.project is not None:
                then(store.project)

        def not_saved(error: Exception) -> None:
            store.saving -= 1
            store.dirty |= request.positions
            store.changed = True
            self._on_failed(store, error)
            if failed is not None:
                failed(error)

        self.queue.submit(lambda: store.save(request), saved, not_saved)

    def _on_saved(self, store: LayerStore) -> None:
        layer, project = store.layer, store.project
        assert project is not None
        self._projects[project.path] = project
        store.failure = ""
        self._unfit.pop(layer, None)
        self._owned[layer] = str(project.path)
        self._frames.add_roles(layer, project.roles)
        self._show_project(store, datetime.now())
        self._copy_image(store)
        self._drop_saved()
        self._show_status()

    def _on_failed(self, store: LayerStore, error: Exception) -> None:
        text = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        store.failure = text
        if isinstance(error, ValueError):  # not the disk: it cannot be saved as it is
            self._unfit[store.layer] = text
        self._show_status()
        self._timer.start(_RETRY_MS)

    def _copy_image(self, store: LayerStore) -> None:
        """Copy an image without a file into the project, in a thread that may outlast the window."""
        project, stack = store.project, store.stack
        if project is None or project.stack.has_file or project.path in self._copied:
            return
        self._copied.add(project.path)

        def failed(error: Exception) -> None:
            self._copied.discard(project.path)
            self._show_failure(f"The image is not saved: {error}")

        self._copies.submit(partial(project.store_stack, stack), None, failed)

    # labels that fit no image

    def _write_unfit(self, layer: Any) -> None:
        """Write labels that cannot be saved as they are into a file, in the queue of the saves."""
        folder = chosen_folder() / _NO_IMAGE

        def written(path: Path) -> None:
            self._forget_unfit(layer)
            self._show_status()
            if not self._unfit:
                self._workspace.saving = SaveStatus(f"saved as a file, {path}")

        def failed(error: Exception) -> None:
            self._show_failure(f"not saved: {error}")

        self.queue.submit(lambda: _write_labels(layer, folder), written, failed)

    def _forget_unfit(self, layer: Any) -> None:
        """Drop labels that are saved elsewhere, since their project cannot hold them."""
        self._unfit.pop(layer, None)
        store = self._store_of(layer)
        if store is not None:
            self._stores.remove(store)
            store.release()
            self._owned.pop(layer, None)

    def _retry_unfit(self, _event: Any = None) -> None:
        """Save labels whose image has been added."""
        for layer in list(self._unfit):
            with suppress(ValueError):
                store = self._need_store(layer)
                del self._unfit[layer]
                self._mark_all(store)
                self._save_soon()

    # status

    def _show_project(self, store: LayerStore, saved: datetime | None) -> None:
        """Show the project of a layer, and when it was saved."""
        if store is self._current:
            self._workspace.project = store.project
        if saved is not None and store.project is not None:
            layer = "" if store is self._current else f", {store.layer.name!r}"
            self._saved = SaveStatus(f"saved {saved:%H:%M}{layer} in {store.project.path.name}")

    def _show_status(self) -> None:
        """Show the status of saving; unsaved labels come first."""
        unsaved = [store for store in self._stores if store.unsaved]
        failed = [f"{one.failure} Retrying every few seconds." for one in unsaved if one.failure]
        reasons = [*self._unfit.values(), *failed]
        if reasons:
            self._show_failure(f"not saved: {reasons[0]}")
        else:
            self._workspace.saving = _SAVING if unsaved else self._saved

    def _show_failure(self, text: str, saved: bool = False) -> None:
        self._workspace.saving = SaveStatus(text, saved=saved, failed=True)

    # closing

    def _on_closing(self, window: QWidget | None) -> None:
        """Save before the window closes; write recovery copies of what cannot be saved."""
        for layer in list(self._unfit):
            self._write_unfit(layer)
        try:
            self.flush()
        except TimeoutError:
            self._show_failure("not saved: the disk does not respond.")
        self._timer.stop()
        for layer, why in list(self._unfit.items()):  # their file cannot be written either
            if self._write_recovery_copy(partial(_write_labels, layer), why, window):
                self._forget_unfit(layer)
        for store in self._stores:
            if store.unsaved and not store.recovered and store.layer not in self._unfit:
                write = partial(store.write_copy, self._frames.roles_of(store.layer))
                why = store.failure or "The disk does not respond."
                store.recovered = self._write_recovery_copy(write, why, window)
        if window is not None and self._copies.busy:  # in a thread that Python waits for
            logging.getLogger("napari_jnet").warning(
                "The image is in no file: it is still being copied into its project, and the program "
                "ends when that is done."
            )

    def _write_recovery_copy(
        self, write: Callable[[Path], Path], why: str, window: QWidget | None
    ) -> bool:
        """Write what is not saved to another disk, and say where it is; return whether that worked."""
        text, written = f"What you painted is not saved: {why}", True
        try:
            path = write_recovery_copy(write)
            text += f"\n\nA recovery copy is in {path}. A project is offered when you open its image again."
        except (OSError, ValueError) as error:
            text += f"\n\nA recovery copy could not be written either: {error}"
            written = False
        show_box(text, window)
        return written


class _ClosingFilter(QObject):
    """Call ``before`` with the window of a viewer that closes, None where napari quits; then ``closed``.

    napari may ask the user in between, and keep the window open.
    """

    def __init__(
        self, viewer: Any, before: Callable[[QWidget | None], Any], closed: Callable[[], Any]
    ) -> None:
        super().__init__()
        self._before, self._closed = before, closed
        window = getattr(viewer, "window", None)
        if window is not None:
            window.main_menu.window().installEventFilter(self)
            QApplication.instance().aboutToQuit.connect(self._quit)

    def eventFilter(self, watched: QObject | None, event: QEvent | None) -> bool:
        """Call before the window is asked to close, and when it is hidden, as a closed one is."""
        if event is None or not isinstance(watched, QWidget):
            return False
        if event.type() == QEvent.Type.Close:
            self._before(watched)
            if watched.isHidden():  # no event of hiding will come
                watched.event(event)
                if event.isAccepted():
                    self._closed()
                return True
        elif event.type() == QEvent.Type.Hide and not event.spontaneous():
            self._closed()
        return False

    def _quit(self) -> None:
        self._before(None)
        self._closed()


def _write_labels(layer: Any, folder: Path) -> Path:
    """Write the labels of a layer into a TIFF file of a new name in this folder, and return it."""
    make_folder(folder)
    name = "".join(c if c.isalnum() or c in "-_ " else "-" for c in layer.name).strip() or "labels"
    path = free_path(folder, name, ".tif")
    with atomic_write(path) as temporary:
        labels = np.asarray(pixels(layer))
        tifffile.imwrite(temporary, labels, photometric="minisblack", compression="zlib")
    return path
