"""Projects of an image that one can go on with, and work recovered after a failure."""

from __future__ import annotations

import logging
import os
import tempfile
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any
from weakref import WeakSet

import numpy as np
from numpy.typing import NDArray
from qtpy.QtCore import QThread
from qtpy.QtWidgets import QMessageBox, QWidget

from napari_jnet.io.stack import Stack
from napari_jnet.plugin.autosave.store import (
    RESCUED_FROM,
    LayerStore,
    chosen_folder,
    locked_by,
    say_trouble,
    stack_of,
)
from napari_jnet.plugin.jobs.runner import TaskQueue
from napari_jnet.plugin.layers.add import annotation_options, make_ready, placement
from napari_jnet.plugin.layers.read import spatial_shape, stack_metadata
from napari_jnet.plugin.workspace import METADATA_KEY, ResumeOffer, Workspace
from napari_jnet.project.places import list_projects, projects_folder
from napari_jnet.project.project import Project

LayerData = tuple[Any, dict[str, Any], str]


def read_painted(
    project: Project, shape: tuple[int, ...]
) -> tuple[NDArray[np.int32], frozenset[int]]:
    """Read what is painted into an array of the layer's shape; only painted frames take memory.

    Parameters
    ----------
    project
        Read file by file; call it outside the window's thread.
    shape
        (T, H, W), (T, Z, H, W), or (H, W) for a single plane.

    Returns
    -------
    painted : ndarray of int32
        Of this shape.
    empty : frozenset of int
        Numbers of the frames that are said to be empty.

    Notes
    -----
    A frame whose file is damaged stays blank: the others shall not be lost with it, and the keeper
    says so when it opens the project.
    """
    painted, empty = np.zeros(shape, np.int32), set()
    positions = {number: p for p, number in enumerate(project.stack.frame_numbers)}
    for number in project.annotated:
        try:
            frame = project.read_frame(number)
        except (ValueError, OSError) as error:
            logging.getLogger("napari_jnet").warning("%s", error)
            continue
        if not frame.any():
            empty.add(number)
        elif len(shape) == 2:
            painted[:] = frame
        else:
            painted[positions[number]] = frame
    return painted, frozenset(empty)


def painted_options(project: Project, empty: frozenset[int]) -> dict[str, Any]:
    """Return the options of the annotation layer: its name, colours and kind, and its empty frames."""
    reference = project.stack
    told = {
        **stack_metadata(reference),
        "kind": project.kind.value,
        "partial": sorted(project.partial),
        "empty": empty,
        "project": str(project.path),
        "opened": True,  # until the keeper takes it: a copy of the layer is no annotation of the project
        **({"notice": project.notice} if project.notice else {}),
    }
    return {
        "name": "annotation",
        "opacity": 0.5,
        "metadata": {METADATA_KEY: told},
        **annotation_options(project.kind, project.legend),
    }


def project_layers(project: Project) -> list[LayerData]:
    """Describe the layers of a project, as an npe2 reader does: the image, and the annotation.

    Raises
    ------
    FileNotFoundError
        If the images are no longer where they were.
    ValueError
        If there are other images in their place.
    """
    from napari_jnet.plugin.layers.stack_layers import stack_layers

    stack = project.open_stack()
    image = stack_layers(replace(stack, annotations={}))[0]
    data, options, _ = image
    options["metadata"][METADATA_KEY]["project"] = str(project.path)
    rgb, channels = options.get("rgb", False), options["axis_labels"][0] == "c"
    shape = tuple(data.shape[channels : data.ndim - rgb])
    placed = {name: options[name][channels:] for name in ("scale", "units", "axis_labels")}
    painted, empty = read_painted(project, shape)
    return [image, (painted, painted_options(project, empty) | placed, "labels")]


_PREFIX, _TAKEN = "napari-jnet-rescued-", "napari-jnet-taken-back-"


_boxes: list[QMessageBox] = []  # that are open


def _places() -> list[Path]:
    return [Path.home(), Path(tempfile.gettempdir())]


def rescue_unsaved(layers: Iterable[LayerStore], window: QWidget | None) -> None:
    """Write elsewhere what is not saved, and say where; raises nothing."""
    for kept in layers:
        if not kept.unsaved or kept.rescued:
            continue
        why = kept.refused or "The disk does not answer."
        try:
            path = rescue(kept)
        except (OSError, ValueError) as error:
            tell(f"What you painted is not saved: {why}\n\nNor is it elsewhere: {error}", window)
            continue
        kept.rescued = True
        kept.rescues.append(path)
        tell(
            f"What you painted could not be saved in its project: {why}\n\nIt is in {path} now. "
            "When you open the image again, napari-jnet offers to go on with it.",
            window,
        )


def rescue(kept: LayerStore) -> Path:
    """Write all that is painted in a layer to a folder of its own, where there is room.

    Returns
    -------
    pathlib.Path
        The project that was made; it lies in one of `rescue_folders`.

    Raises
    ------
    OSError, ValueError
        If there is no such place.
    """
    name = f"{_PREFIX}{datetime.now():%Y-%m-%d-%H%M%S-%f}"
    failure: Exception = OSError("there is no home and no temporary folder")
    for place in _places():
        try:
            (place / name).mkdir(mode=0o700)  # others may read in the temporary folder
            return kept.rescue(place / name)
        except (OSError, ValueError) as error:
            failure = error
    raise failure


def rescue_folders() -> list[Path]:
    """Return the folders that hold a rescued project which was not taken back."""
    found: list[Path] = []
    for place in _places():
        with suppress(OSError):
            found += [root for root in place.glob(f"{_PREFIX}*") if _mine(root)]
    return found


def _mine(root: Path) -> bool:
    """Whether a folder is the user's: others may write into the temporary folder too."""
    return not hasattr(os, "getuid") or root.lstat().st_uid == os.getuid()


def own_project(rescued: Project) -> Path | None:
    """Return the project that a rescued one was to be saved in; None where that is not to be had."""
    path = rescued.settings.get(RESCUED_FROM)
    with suppress(OSError, ValueError):
        return Project.open(path).path if path else None
    return None


def taken_back(rescued: Path) -> None:
    """Rename what was rescued, so that it is not offered again; nothing is deleted."""
    root = rescued.parent
    if root.name.startswith(_PREFIX):
        with suppress(OSError):
            root.rename(root.with_name(_TAKEN + root.name.removeprefix(_PREFIX)))


def tell(text: str, window: QWidget | None) -> None:
    """Say it in a box that outlives the window, and in the terminal.

    Where the user has closed the window it waits for the answer: napari may end with the window.
    """
    logging.getLogger("napari_jnet").error(text)
    if window is None:
        return
    box = QMessageBox(QMessageBox.Icon.Warning, "napari-jnet", text)
    thread = QThread.currentThread()
    if thread is not None and thread.loopLevel() > 0 and window.isVisible():
        box.exec()
        return
    _boxes.append(box)
    box.finished.connect(lambda _: _boxes.remove(box))
    box.setModal(False)
    box.show()


class ResumeOffers:
    """Offers to go on with the project of an image, as soon as there is such an image.

    Parameters
    ----------
    workspace
        Of the viewer; its `offer` is set here.
    """

    def __init__(self, workspace: Workspace) -> None:
        self._workspace = workspace
        self._background = TaskQueue("napari-jnet projects")
        self._declined: WeakSet[Any] = WeakSet()
        workspace.image_changed.connect(self._look)
        workspace.project_changed.connect(self._look)
        self._look()

    def decline(self) -> None:
        """Start anew with this image: the project stays as it is, and is not offered again."""
        if self._workspace.image is not None:
            self._declined.add(self._workspace.image)
        self._workspace.offer = None

    def wait(self) -> None:
        """Wait for what is under way; for scripts."""
        self._background.wait()

    def _look(self, _what: Any = None) -> None:
        workspace = self._workspace
        image = workspace.image
        workspace.offer, workspace.projects = None, ()
        if image is None:
            return
        if workspace.project is not None:  # who has begun is not asked again
            self._declined.add(image)
        try:
            stack = stack_of(image)
        except ValueError:
            return

        folder = chosen_folder()

        def look() -> tuple[tuple[ResumeOffer, ...], str]:
            found = _list(stack, dict.fromkeys((folder, projects_folder())))
            first = next((offer for offer in found if _resumable(offer)), None)
            notice = ""
            if first is not None:
                with suppress(OSError, ValueError):
                    notice = Project.open(first.path).notice
            return found, notice

        def told(answer: tuple[tuple[ResumeOffer, ...], str]) -> None:
            found, notice = answer
            if workspace.image is None or workspace.image is not image:
                return
            workspace.projects = found
            if workspace.project is None and image not in self._declined:
                workspace.offer = next((offer for offer in found if _resumable(offer)), None)
                say_trouble(
                    workspace, notice, *(o.problem for o in found if not o.words and o.problem)
                )

        self._background.submit(look, told)


def _resumable(offer: ResumeOffer) -> bool:
    return bool(offer.words) and not offer.problem


def _list(stack: Stack, folders: Iterable[Path]) -> tuple[ResumeOffer, ...]:
    """List the projects of a stack in these folders and those that were rescued, the newest first."""
    listed = [(one, "") for folder in folders for one in list_projects(stack, folder)]
    for folder in rescue_folders():
        rescued = ", rescued when the disk refused"
        listed += [(one, rescued) for one in list_projects(stack, folder) if one.words]
    listed.sort(key=lambda pair: pair[0].saved.timestamp() if pair[0].saved else 0.0, reverse=True)
    offers = []
    for one, more in listed:
        owner = "" if one.problem else locked_by(one.path)
        problem = f"open in {owner}" if owner else one.problem
        offers.append(ResumeOffer(one.path, one.words + more, problem))
    return tuple(offers)


def go_on(
    workspace: Workspace,
    path: Path | str | None = None,
    failed: Callable[[Exception], Any] | None = None,
) -> None:
    """Bring a project back: its annotation as a layer, roles, kind, model and last run.

    Returns at once; the layer is added when it is read, or chosen where it is there already.

    Parameters
    ----------
    workspace
        Of the viewer; its image is that of the project.
    path
        The project's folder; None takes that of the offer.
    failed
        Called with what went wrong.

    Raises
    ------
    ValueError
        If there is no image, or no offer.
    """
    image, viewer = workspace.image, workspace.viewer
    if image is None or viewer is None:
        raise ValueError("There is no image; open the stack of the project first.")
    if path is None and workspace.offer is None:
        raise ValueError("There is no project of this image to go on with.")
    if path is not None and (there := workspace.autosave.layer_of(Path(path))) is not None:
        workspace.choose("annotation", there)
        return
    offer, workspace.offer = workspace.offer, None  # who presses twice gets one annotation
    folder = Path(offer.path if path is None and offer is not None else path or "")
    shape = spatial_shape(image)
    placed = placement(image)

    def read() -> tuple[Project, Any, dict[str, Any], int]:
        project = Project.open(folder)
        labels, empty = read_painted(project, shape)
        options = painted_options(project, empty)
        if RESCUED_FROM in project.settings:
            own = own_project(project)  # None: it gets a new one
            options["metadata"][METADATA_KEY]["project"] = None if own is None else str(own)
        return project, labels, options, int(labels.max(initial=0))

    def show(found: tuple[Project, Any, dict[str, Any], int]) -> None:
        project, labels, options, highest = found
        layer = viewer.add_labels(labels, **options | placed)
        workspace.choose("annotation", layer)
        viewer.layers.selection.active = layer
        make_ready(layer, project.kind, highest)
        layer.mode = "paint"
        if RESCUED_FROM in project.settings:
            _take_back(workspace, project)

    def refused(error: Exception) -> None:
        workspace.offer = offer
        if failed is not None:
            failed(error)

    workspace.autosave.run(read, show, refused)


def _take_back(workspace: Workspace, rescued: Project) -> None:
    """Save what was rescued where it belongs; until that is done, it is offered again."""
    frames, roles = workspace.frames, rescued.roles
    frames.set_roles({p: roles[n] for p, n in enumerate(frames.numbers) if n in roles})
    workspace.autosave.ensure_project(
        lambda _project: workspace.autosave.run(lambda: taken_back(rescued.path))
    )
