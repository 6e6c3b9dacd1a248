"""Every stroke is saved: labels layers to the project on disk."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any
from weakref import WeakKeyDictionary

import numpy as np
import tifffile
from numpy.typing import NDArray
from qtpy.QtCore import QTimer
from qtpy.QtWidgets import QWidget

from napari_jnet.files import replacing
from napari_jnet.labels import UNKNOWN, LabelKind
from napari_jnet.plugin.autosave.closing import Closing, StackCopy, wait_in_window
from napari_jnet.plugin.autosave.resume import ResumeOffers, rescue_unsaved, taken_back
from napari_jnet.plugin.autosave.store import (
    LayerStore,
    SaveResult,
    chosen_folder,
    damage_words,
    say_trouble,
    stack_of,
)
from napari_jnet.plugin.jobs.runner import TaskQueue
from napari_jnet.plugin.layers.add import make_ready, new_annotation
from napari_jnet.plugin.layers.read import current_index, kind_of, pixels, spatial_shape
from napari_jnet.plugin.workspace import (
    METADATA_KEY,
    SaveStatus,
    Workspace,
    result_of,
)
from napari_jnet.project.project import Project


def placed_on(layer: Any, image: Any, viewer: Any) -> NDArray[Any]:
    """Return the labels of a layer where they lie on an image.

    Parameters
    ----------
    layer
        A labels layer of another size or another number of axes; axes that it lacks are those of the
        frame that is shown, and so is what is taken of axes that the image lacks.
    image
        The image layer.
    viewer
        That has both.

    Returns
    -------
    numpy.ndarray
        Of the type of the labels and the size of the image, without its colours.

    Raises
    ------
    ValueError
        If one is rotated or sheared, or nothing that is painted lies on the image.
    """
    for one in (layer, image):
        if not _is_straight(one):
            raise ValueError(f"{one.name!r} is rotated or sheared; labels are copied upright only.")
    shape = spatial_shape(image)
    labels, found = pixels(layer), np.zeros(shape, pixels(layer).dtype)
    common = min(layer.ndim, len(shape))
    taken: list[NDArray[Any]] = []
    given: list[NDArray[Any]] = []
    for axis in range(-common, 0):
        world = np.arange(shape[axis]) * image.scale[axis] + image.translate[axis]
        index = np.round((world - layer.translate[axis]) / layer.scale[axis]).astype(np.int64)
        inside = (index >= 0) & (index < labels.shape[axis])
        taken.append(index[inside])
        given.append(np.flatnonzero(inside))
    part = np.asarray(labels[current_index(viewer, layer)[: layer.ndim - common]])[np.ix_(*taken)]
    if not part.any():
        raise ValueError(f"Nothing that is painted in {layer.name!r} lies on {image.name!r}.")
    found[current_index(viewer, image)[: len(shape) - common]][np.ix_(*given)] = part
    return found


def _is_straight(layer: Any) -> bool:
    turned = np.asarray(layer.rotate), np.asarray(layer.affine)[:-1, :-1]
    return (
        all(np.allclose(m, np.eye(len(m))) for m in turned)
        and np.allclose(np.asarray(layer.affine)[:-1, -1], 0)
        and not np.any(layer.shear)
    )


def write_labels(layer: Any, folder: Path) -> Path:
    """Write the labels of a layer into a TIFF file of a new name in this folder, and return it.

    Raises
    ------
    OSError
        If it cannot be written, in words.
    """
    folder.mkdir(parents=True, exist_ok=True)
    name = "".join(c if c.isalnum() or c in "-_ " else "-" for c in layer.name).strip() or "labels"
    path, count = folder / f"{name}.tif", 2
    while path.exists():
        path, count = folder / f"{name}-{count}.tif", count + 1
    labels = np.asarray(pixels(layer))
    with replacing(path) as temporary:
        tifffile.imwrite(
            temporary,
            labels.astype(np.uint8) if labels.dtype == bool else labels,
            photometric="minisblack",
            compression="zlib",
        )
    return path


class LayerStores:
    """Finds what is kept of a layer, and holds it until it is on disk."""

    def __init__(self) -> None:
        self._by_layer: WeakKeyDictionary[Any, LayerStore] = WeakKeyDictionary()
        self._left: list[LayerStore] = []  # their layers hold other labels now

    def __iter__(self) -> Iterator[LayerStore]:
        return iter([*self._by_layer.values(), *self._left])

    def __contains__(self, kept: object) -> bool:
        """Whether the layer still holds these labels."""
        return any(kept is mine for mine in self._by_layer.values())

    def of(self, layer: Any | None) -> LayerStore | None:
        """Return what is kept of a layer."""
        return None if layer is None else self._by_layer.get(layer)

    def add(self, kept: LayerStore) -> None:
        """Keep a layer."""
        self._by_layer[kept.layer] = kept

    def forget(self, kept: LayerStore) -> None:
        """Keep a layer no longer."""
        self._by_layer.pop(kept.layer, None)

    def part(self, kept: LayerStore) -> None:
        """Keep until it is saved what was in a layer that holds other labels now."""
        self.forget(kept)
        self._left.append(kept)

    @property
    def projects(self) -> set[str]:
        """The folders of the projects that layers have."""
        return {str(kept.project.path) for kept in self._by_layer.values() if kept.project}

    def drop_saved(self, there: Iterable[Any]) -> None:
        """Let go of what is saved and of no layer that is there."""
        ids = {id(layer) for layer in there}
        for kept in [one for one in self if not one.unsaved]:
            if kept in self._left:
                self._left.remove(kept)
                kept.release()
            elif id(kept.layer) not in ids:
                self.forget(kept)
                kept.release()


Failed = Callable[[Exception], Any]


class SaveQueue:
    """Saves layers in a thread of its own, in turn with other work on their projects.

    Parameters
    ----------
    stored
        Called in the window's thread with the layer and what its save did.
    refused
        Called there with the layer and why nothing was saved; that waits again.
    """

    def __init__(
        self,
        stored: Callable[[LayerStore, SaveResult], None],
        refused: Callable[[LayerStore, Exception], None],
    ) -> None:
        self._background = TaskQueue("napari-jnet saving")
        self._stored, self._refused = stored, refused

    def save(
        self,
        kept: LayerStore,
        roles: Mapping[int, str],
        then: Callable[[SaveResult], Any] | None = None,
        failed: Failed | None = None,
    ) -> None:
        """Save what waits in a layer; what is painted from now on is for the next save."""
        parcel = kept.take(roles)
        kept.under_way += 1

        def stored(what: SaveResult) -> None:
            kept.under_way -= 1
            self._stored(kept, what)
            if then is not None:
                then(what)

        def refused(error: Exception) -> None:
            kept.under_way -= 1
            kept.put_back(parcel)
            self._refused(kept, error)
            if failed is not None:
                failed(error)

        self._background.submit(lambda: kept.save(parcel), stored, refused)

    def submit(
        self,
        task: Callable[[], Any],
        then: Callable[[Any], Any] | None = None,
        failed: Failed | None = None,
    ) -> None:
        """Run a task in turn with the saves; see `TaskQueue.submit`."""
        self._background.submit(task, then, failed)

    @property
    def busy(self) -> bool:
        """Whether a save or another task is under way."""
        return self._background.busy

    def wait(self, timeout_s: float = 30.0) -> None:
        """Wait for all of them; raises `TimeoutError`."""
        self._background.wait(timeout_s)


_WAIT_MS = 2000  # after the first unsaved stroke


_RETRY_MS = 5000


_BUSY_MS = 500


_CLOSING_S = 120.0


_QUITTING_S = 10.0  # without a window that could say what is waited for


_COPYING_S = 600.0


_NO_IMAGE = "labels without an image"  # folder, beside the projects


class AutoSave:
    """Keeps the annotation of a viewer in a project: changed frames, roles, kind and class names.

    The first stroke makes the project.  No stroke is older than three seconds before it is on disk,
    unless the disk refuses: that is said, and tried again.

    Parameters
    ----------
    workspace
        Of the viewer.  Its `project` and `saving` are set here.
    """

    def __init__(self, workspace: Workspace) -> None:
        self._workspace, self._frames = workspace, workspace.frames
        self._queue = SaveQueue(self._on_stored, self._on_refused)
        self._copy = StackCopy(lambda error: self._say_failed(f"The image is not kept: {error}"))
        self._kept = LayerStores()
        self._projects: list[Project] = []
        self._last: tuple[Any, Any] = (None, None)  # what was saved last, and when
        self._current: LayerStore | None = None
        self._owned: WeakKeyDictionary[Any, str] = WeakKeyDictionary()  # layer -> its project
        self._misfits: WeakKeyDictionary[Any, str] = (
            WeakKeyDictionary()
        )  # painted, and why not saved
        self._closing = False
        self._timer = QTimer()
        self._timer.setSingleShot(True)
        self._timer.timeout.connect(self._on_time)
        self._frames.painted.connect(self._on_painted)
        self._frames.roles_changed.connect(self._on_changed)
        self._frames.kind_changed.connect(self._on_changed)
        workspace.annotation_changed.connect(self._on_annotation)
        workspace.image_changed.connect(self._on_image)
        if workspace.viewer is not None:
            workspace.viewer.layers.events.inserted.connect(self._try_misfits)
            workspace.viewer.layers.events.removed.connect(self._on_removed)
        self.offers = ResumeOffers(workspace)
        self._window = Closing(workspace.viewer, self._on_closing, self._on_closed)
        self._on_annotation(workspace.annotation)

    # what a script or a widget asks for

    def ensure_project(
        self,
        then: Callable[[Project], Any] | None = None,
        failed: Callable[[Exception], Any] | None = None,
    ) -> Project | None:
        """Return the project of the annotation; it is made, with all that is painted, if need be.

        Parameters
        ----------
        then
            Called in the window's thread with the project when it is there, and this returns at
            once with None unless it is there already; without, this waits.
        failed
            Called there with why it cannot be made.

        Raises
        ------
        ValueError
            If there is no annotation or no image, or they do not cover the same pixels.
        OSError
            If it cannot be made and this waits for it.
        """
        if self._workspace.annotation is None:
            raise ValueError("There is no annotation; press New annotation, or add a labels layer.")
        kept = self._need_kept(self._workspace.annotation)
        if kept.project is not None and self._workspace.project is not None and kept.whole:
            if then is not None:
                then(kept.project)
            return kept.project
        self._mark_all(kept)
        self._workspace.saving = SaveStatus("saving…", saved=False)
        failure: list[Exception] = []
        self._save(
            kept,
            (lambda stored: then(stored.project)) if then else None,
            failed or failure.append,
        )
        if then is not None:
            return None
        self._queue.wait()
        if failure:
            raise failure[0]
        return kept.project

    @property
    def projects(self) -> tuple[Project, ...]:
        """The projects of this viewer's layers, also of those that are gone."""
        return tuple(self._projects)

    def save_misfits(self) -> None:
        """Save the labels that cannot be saved as they are, which the window has said.

        They are copied into a new annotation where they lie on the image, else written into a file
        in the folder of projects; where that fails too, the saving says so.
        """
        for layer in list(self._misfits):
            try:
                labels = self._placed(layer)
                annotation = new_annotation(self._workspace, kind_of(layer) or LabelKind.INSTANCES)
            except ValueError:
                self._write_misfit(layer)
                continue
            annotation.name = f"{layer.name} on {self._workspace.image.name}"
            painted = np.nonzero(labels)
            annotation.data_setitem(painted, labels[painted])
            make_ready(annotation, self._frames.kind, int(labels.max()))
            layer.visible = False
            self._let_go(layer)
        self._say()

    def _write_misfit(self, layer: Any) -> None:
        """Write labels that cannot be saved as they are into a file, in turn with the saves."""
        folder = chosen_folder() / _NO_IMAGE

        def written(path: Path) -> None:
            self._let_go(layer)
            self._say()
            if not self._misfits:
                self._workspace.saving = SaveStatus(f"saved as a file, {path}")

        def failed(error: Exception) -> None:
            self._say_failed(f"not saved: {error}")

        self._queue.submit(lambda: write_labels(layer, folder), written, failed)

    def _let_go(self, layer: Any) -> None:
        """Note that labels are saved otherwise: their own project could not take them."""
        self._misfits.pop(layer, None)
        kept = self._kept.of(layer)
        if kept is not None:
            self._kept.forget(kept)
            kept.release()
            self._unname(layer)

    def _placed(self, layer: Any) -> NDArray[np.int32]:
        image = self._workspace.image
        if image is None:
            raise ValueError("There is no image.")
        stack_of(image)
        labels = own = placed_on(layer, image, self._workspace.viewer)
        if int(labels.min()) < UNKNOWN or int(labels.max()) > np.iinfo(np.int32).max:
            painted = labels != 0
            labels = np.zeros(labels.shape, np.int32)
            labels[painted] = np.unique(own[painted], return_inverse=True)[1] + 1
        return labels.astype(np.int32)

    def layer_of(self, path: Path) -> Any | None:
        """Return the layer of the viewer that is kept in the project of this folder, or None."""
        there = [] if self._workspace.viewer is None else self._workspace.viewer.layers
        for layer in there:
            kept = self._kept.of(layer)
            if kept is not None and kept.project is not None and kept.project.path == path:
                return layer
        return None

    def flush(self) -> bool:
        """Wait until all is on disk.

        Returns
        -------
        bool
            False if something could not be saved; `Workspace.saving` says why.
        """
        self._timer.stop()
        for kept in self._kept:
            self._find_unwatched(kept)
        self._queue.wait(_CLOSING_S)
        self._timer.stop()
        for kept in self._kept:
            if kept.waiting:
                self._save(kept)
        self._queue.wait(_CLOSING_S)
        return not self._misfits and not any(kept.unsaved for kept in self._kept)

    def wait(self) -> None:
        """Wait for what is under way, such as going on with a project; for scripts."""
        self._queue.wait()
        self._copy.wait()
        self.offers.wait()

    def run(
        self,
        task: Callable[[], Any],
        then: Callable[[Any], Any] | None = None,
        failed: Callable[[Exception], Any] | None = None,
    ) -> None:
        """Run a task with files of the project, in turn with what is saved; see `TaskQueue`."""
        self._queue.submit(task, then, failed)

    def restore(self, layer: Any, path: Path) -> None:
        """Take a layer that was made of a project's annotation, so that its strokes go there.

        Parameters
        ----------
        layer
            A labels layer of the viewer.  Where it differs from what is on disk, it is saved.
        path
            The project's folder.

        Raises
        ------
        ValueError
            If it does not cover the pixels of the image.
        """
        kept = LayerStore(layer, self._image_of(layer), chosen_folder())
        kept.whole = True
        self._kept.add(kept)
        if layer is self._workspace.annotation:
            self._current = kept

        told = layer.metadata.get(METADATA_KEY, {})
        told.pop("opened", None)
        notice = told.pop("notice", "")

        def opened(project: Project) -> None:
            self._note(project)
            self._owned[layer] = str(project.path)
            self._know(project, kept)
            if layer.selected_label in (1, kept.highest + 1):  # else somebody chose a number
                make_ready(layer, project.kind, kept.highest)
            self._last = (kept, project.last_saved)
            self._say()
            say_trouble(self._workspace, notice, damage_words(kept.damaged))
            if kept.waiting:
                self._soon()

        def failed(error: Exception) -> None:
            self._unname(layer)
            kept.whole = False
            if kept.waiting:
                self._mark_all(kept)
                self._soon()
            self._say_failed(f"{error} What is painted here is kept in a new project.", saved=True)

        self._queue.submit(lambda: kept.open(path), opened, failed)
        self._find_unwatched(kept)

    # what happens

    def _on_painted(self, layer: Any, positions: tuple[int, ...]) -> None:
        try:
            kept = self._need_kept(layer)
        except ValueError as error:
            self._misfits[layer] = str(error)
            self._say()
            return
        self._misfits.pop(layer, None)
        if not kept.whole and (kept is self._current or not result_of(layer)):
            self._mark_all(kept)
        kept.dirty |= set(positions)
        kept.rescued = False
        self._soon()

    def _on_changed(self, _what: Any = None) -> None:
        """Roles, kind or names are new: saved with the project, which they alone do not make."""
        kept = self._current
        if kept is not None and kept.project is not None and kept.differs(self._frames.roles):
            kept.changed = True
            self._soon()

    def _on_annotation(self, layer: Any | None) -> None:
        before = self._current
        if before is not None and before.waiting:
            self._save(before)
        self._timer.stop()
        self._current = self._kept.of(layer)
        if before is not None:
            self._listen(before.layer, False)
        if layer is not None:
            self._listen(layer, True)
        if self._current is not None:
            self._find_unwatched(self._current)
        self._drop_removed()
        self._workspace.project = None if self._current is None else self._current.project
        if self._workspace.project is None:
            self._last = (None, None)
            self._say()
            self._adopt(layer)

    def _on_image(self, _image: Any) -> None:
        layer = self._workspace.annotation
        if layer is not None and self._current is None:
            self._adopt(layer)
        self._try_misfits()

    def _try_misfits(self, _event: Any = None) -> None:
        """Save what could not be saved, where its image is there now."""
        for layer in list(self._misfits):
            with suppress(ValueError):
                kept = self._need_kept(layer)
                del self._misfits[layer]
                self._mark_all(kept)
                self._soon()

    def _on_removed(self, event: Any) -> None:
        layer = event.value
        kept = self._kept.of(layer)
        if layer in self._misfits:
            self._write_misfit(layer)
        elif kept is not None and kept.waiting:
            self._save(kept)
        self._drop_removed()

    def _listen(self, layer: Any, on: bool) -> None:
        for emitter in (layer.events.colormap, layer.events.features):
            (emitter.connect if on else emitter.disconnect)(self._on_changed)
        (layer.events.data.connect if on else layer.events.data.disconnect)(self._on_data)

    def _on_data(self, _event: Any = None) -> None:
        """Other labels were put into the layer: where they are of another shape, part from it."""
        kept = self._current
        if kept is not None and kept.replaced:
            self._part_from(kept)
        elif kept is not None:
            kept.renew()

    def _part_from(self, kept: LayerStore) -> None:
        """Save what was in the layer, and take what is in it now for a new annotation."""
        layer = kept.layer
        self._kept.part(kept)
        if self._current is kept:
            self._current = None
        self._unname(layer)
        if kept.waiting:
            self._save(kept)
        self._drop_removed()
        if layer is self._workspace.annotation:
            self._workspace.project = None
            self._workspace.saving = SaveStatus()

    def _adopt(self, layer: Any | None) -> None:
        """Take a layer that says which project it comes from, unless another layer has that."""
        if layer is None:
            return
        told = layer.metadata.get(METADATA_KEY, {})
        path = told.get("project")
        mine = told.get("opened") or self._owned.get(layer) == path
        if not path or not mine or path in self._kept.projects or self._workspace.image is None:
            return
        try:
            self.restore(layer, Path(path))
        except ValueError as error:
            self._say_failed(f"not saved: {error}")

    @staticmethod
    def _unname(layer: Any) -> None:
        """Let a layer belong to no project any more."""
        told = layer.metadata.get(METADATA_KEY, {})
        layer.metadata[METADATA_KEY] = {k: v for k, v in told.items() if k != "project"}

    def _find_unwatched(self, kept: LayerStore) -> None:
        """Look for changes that nobody told of; undo in a frame out of sight is told late."""

        def told(found: set[int]) -> None:
            if found:
                kept.dirty |= found
                self._soon()

        self._queue.submit(lambda: kept.differing() if kept.project else set(), told)

    def _drop_removed(self) -> None:
        """Let go of layers that are saved and no longer in the viewer."""
        viewer = self._workspace.viewer
        there = [] if viewer is None else viewer.layers
        own = [] if self._current is None else [self._current.layer]
        self._kept.drop_saved([*there, *own])

    # saving

    def _need_kept(self, layer: Any) -> LayerStore:
        kept = self._kept.of(layer)
        if kept is not None and kept.replaced:
            self._part_from(kept)
            kept = None
        if kept is None:
            self._adopt(layer)
            kept = self._kept.of(layer)
        if kept is None:
            kept = LayerStore(layer, self._image_of(layer), chosen_folder())
            self._kept.add(kept)
        if layer is self._workspace.annotation:
            self._current = kept
        return kept

    def _image_of(self, layer: Any) -> Any:
        """Return the image that labels belong to: the one worked on, else one of their size.

        Raises
        ------
        ValueError
            If there is no image.
        """
        images = self._workspace.images()
        if not images:
            raise ValueError(
                f"The labels {layer.name!r} are not saved, because there is no image. Open the image "
                "that they belong to."
            )
        size = tuple(pixels(layer).shape)
        own = images[-1] if self._workspace.image is None else self._workspace.image
        for image in (own, *reversed(images)):
            if spatial_shape(image) == size:
                return image
        return own

    def _mark_all(self, kept: LayerStore) -> None:
        """Let the first save take all that was there before it."""
        kept.whole = True
        kept.dirty |= set(self._frames.filled(kept.layer))

    def _soon(self) -> None:
        if not self._workspace.saving.failed:
            self._workspace.saving = SaveStatus("saving…", saved=False)
        if not self._timer.isActive():
            self._timer.start(_WAIT_MS)

    def _on_time(self) -> None:
        for kept in [one for one in self._kept if one.waiting]:
            if kept.under_way:
                self._timer.start(_BUSY_MS)
            else:
                self._save(kept)

    def _save(
        self,
        kept: LayerStore,
        then: Callable[[SaveResult], Any] | None = None,
        failed: Callable[[Exception], Any] | None = None,
    ) -> None:
        self._queue.save(kept, self._frames.roles_of(kept.layer), then, failed)

    def _on_stored(self, kept: LayerStore, stored: SaveResult) -> None:
        self._note(stored.project)
        if kept in self._kept:
            told = kept.layer.metadata.get(METADATA_KEY, {})
            kept.layer.metadata[METADATA_KEY] = told | {"project": str(stored.project.path)}
            self._owned[kept.layer] = str(stored.project.path)
        kept.refused = ""
        self._misfits.pop(kept.layer, None)
        while kept.rescues and not kept.unsaved:  # the window stayed open after all
            taken_back(kept.rescues.pop())
        self._last = (kept, stored.when)
        if kept is self._current:
            self._know(stored.project, kept)
        else:
            self._copy.begin(kept)
            self._drop_removed()
        self._say()

    def _on_refused(self, kept: LayerStore, error: Exception) -> None:
        text = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        kept.refused = text
        if isinstance(error, ValueError):  # not the disk refuses: it may never go as it is
            self._misfits[kept.layer] = text
        self._say()
        if not self._closing:
            self._timer.start(_RETRY_MS)

    def _note(self, project: Project) -> None:
        paths = [known.path for known in self._projects]
        if project.path in paths:
            self._projects[paths.index(project.path)] = project
        else:
            self._projects.append(project)

    def _know(self, project: Project, kept: LayerStore) -> None:
        """Tell the window of a project that was made or opened, and of roles given there."""
        if kept is not self._current:
            return
        if self._workspace.project is not project:
            self._workspace.project = project
            self._copy.begin(kept)
        known = self._frames.roles
        news = {number: role for number, role in project.roles.items() if number not in known}
        if news:
            positions = {number: p for p, number in enumerate(self._frames.numbers)}
            self._frames.set_roles({positions[n]: r for n, r in news.items() if n in positions})

    def _say(self) -> None:
        """Tell how the saving stands; what is not saved comes first."""
        for words in self._misfits.values():
            self._workspace.saving = SaveStatus(
                f"not saved: {words}", saved=False, failed=True, remedy="Save these labels"
            )
            return
        for kept in self._kept:
            if kept.refused and kept.unsaved:
                self._say_failed(f"not saved: {kept.refused} It is tried again every few seconds.")
                return
        kept, when = self._last
        if any(kept.unsaved for kept in self._kept):
            self._workspace.saving = SaveStatus("saving…", saved=False)
        elif when is None:
            self._workspace.saving = SaveStatus()
        else:
            where = self._where(kept)
            self._workspace.saving = SaveStatus(f"saved {when.astimezone():%H:%M}{where}")

    def _where(self, kept: LayerStore) -> str:
        """Say which layer is saved where, unless it is what one expects."""
        own = kept.project
        if own is None:
            return ""
        if kept is not self._current:
            return f": {kept.layer.name!r} in a project of its own, {own.path.name}"
        first = next(p for p in self._projects if p.stack.name == own.stack.name)
        return f" in a project of its own, {own.path.name}" if first.path != own.path else ""

    def _say_failed(self, text: str, *, saved: bool = False) -> None:
        self._workspace.saving = SaveStatus(text, saved=saved, failed=True)

    # the end

    def _on_closing(self, window: QWidget | None) -> None:
        """Save before the window goes, and write elsewhere what the disk refuses."""
        self._closing = True
        self._timer.stop()
        try:
            for layer in list(self._misfits):
                self._write_misfit(layer)
            for kept in self._kept:
                self._find_unwatched(kept)
            if self._saved_in(window):
                self._timer.stop()
                for kept in self._kept:
                    if kept.waiting:
                        self._save(kept)
                self._saved_in(window)
            self._copy.finish(window, _COPYING_S)
        finally:
            self._timer.stop()
            self._closing = False
        rescue_unsaved(self._kept, window)

    def _saved_in(self, window: QWidget | None) -> bool:
        done = wait_in_window(
            lambda: self._queue.busy,
            window,
            "Saving what you painted…",
            give_up="Close now",
            limit_s=_QUITTING_S if window is None else _CLOSING_S,
        )
        if not done:
            self._say_failed("not saved: the disk does not answer.")
        return done

    def _on_closed(self) -> None:
        """Let other windows have the projects; should this one live on, the next save takes them."""
        for kept in self._kept:
            kept.release()
