"""Projects of an image that can be resumed, and recovery copies of unsaved annotations."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

from napari.utils.notifications import show_warning
from qtpy.QtWidgets import QMessageBox, QWidget

from napari_jnet.files import RECOVERY, FolderInUse, FolderLock, recovery_places
from napari_jnet.io.stack import Stack, format_numbers
from napari_jnet.labels import LabelKind
from napari_jnet.plugin.jobs.runner import TaskQueue
from napari_jnet.plugin.layers.read import image_stack, placement, spatial_shape
from napari_jnet.plugin.layers.stack_layers import annotation_layer_options, read_annotation
from napari_jnet.plugin.settings import plugin_settings
from napari_jnet.plugin.workspace import Workspace
from napari_jnet.project.places import VARIABLE, ListedProject, list_projects, projects_folder
from napari_jnet.project.project import Project

LOCK_FILE = ".open"


def chosen_folder() -> Path:
    """Return the folder of projects: ``NAPARI_JNET_PROJECTS``, the preferences, or the default."""
    preferred = str(getattr(plugin_settings("projects"), "folder", "")).strip()
    if os.environ.get(VARIABLE) or not preferred:
        return projects_folder()
    return Path(preferred).expanduser()


def stack_of(image: Any) -> Stack:
    """Return `image_stack` of a layer, with its file also where napari opened that."""
    stack = image_stack(image)
    source = image.source.path
    if stack.path is None and source and os.path.exists(source):
        return replace(stack, path=Path(os.path.abspath(source)))
    return stack


def lock_project(project: Path) -> FolderLock:
    """Lock a project for one viewer; raises `ValueError` where another viewer has it open."""
    try:
        return FolderLock(project, LOCK_FILE).acquire()
    except FolderInUse as error:
        raise ValueError(
            f"The project {project} is open in another window ({error.owner}). Close it there first."
        ) from error


def report_damage(workspace: Workspace, *problems: str) -> None:
    """Show problems in the window, also where none of our widgets is open; empty ones are skipped."""
    shown = workspace.problem
    for text in filter(None, problems):
        if text not in shown:
            shown = f"{shown}\n\n{text}".strip()
            show_warning(f"A file of your project is damaged. {text}")
    workspace.problem = shown


def describe_damage(damaged: Mapping[int, str]) -> str:
    """Describe which painted frames, by number, could not be read, and why the first could not."""
    if not damaged:
        return ""
    numbers = sorted(damaged)
    return (
        f"{damaged[numbers[0]]} Frames that are empty here until then: {format_numbers(numbers)}."
    )


def show_box(text: str, window: QWidget | None) -> None:
    """Log a warning, and show it before the window closes; napari may end with the window."""
    logging.getLogger("napari_jnet").error(text)
    if window is not None and window.isVisible():
        QMessageBox.warning(window, "napari-jnet", text)


# recovery copies: projects outside the folder of projects, of what could not be saved there


def _recovery_folders() -> list[Path]:
    """Return the folders of the user's own recovery copies: others may write into the temporary folder."""
    found: list[Path] = []
    for place in recovery_places():
        with suppress(OSError):
            roots = list(place.glob(f"{RECOVERY}*"))
            own = os.getuid() if hasattr(os, "getuid") else None
            found += [root for root in roots if own in (None, root.lstat().st_uid)]
    return found


# offers


class ResumeOffers:
    """Search for projects of the image, and set `offer` and `projects` of the workspace."""

    def __init__(self, workspace: Workspace) -> None:
        self._workspace = workspace
        self._queue = TaskQueue("napari-jnet projects")
        workspace.image_changed.connect(self._search)
        workspace.project_changed.connect(self._search)
        self._search()

    def wait(self) -> None:
        """Wait for the running search; for scripts."""
        self._queue.wait()

    def _search(self, _changed: Any = None) -> None:
        workspace, image = self._workspace, self._workspace.image
        workspace.offer, workspace.projects = None, ()
        if image is None:
            return
        if workspace.project is not None:  # no offer once something is painted
            workspace.dismissed.add(image)
        try:
            stack = stack_of(image)
        except ValueError:
            return
        folders = (chosen_folder(), projects_folder())

        def show(found: tuple[ListedProject, ...]) -> None:
            if workspace.image is not image:
                return
            workspace.projects = found
            if workspace.project is None and image not in workspace.dismissed:
                resumable = (one for one in found if one.summary and not one.problem)
                workspace.offer = next(resumable, None)
                report_damage(workspace, *(one.problem for one in found if one.saved is None))

        self._queue.submit(lambda: _list_offers(stack, folders), show)


def _list_offers(stack: Stack, folders: Iterable[Path]) -> tuple[ListedProject, ...]:
    """List the projects of a stack, also recovery copies; being open elsewhere is a problem too."""
    found = list(list_projects(stack, dict.fromkeys((*folders, *_recovery_folders()))))
    for at, one in enumerate(found):
        if one.summary and one.path.parent.name.startswith(RECOVERY):
            found[at] = one = replace(one, summary=f"{one.summary}, recovery copy")
        owner = "" if one.problem else FolderLock(one.path, LOCK_FILE).holder
        if owner:
            found[at] = replace(one, problem=f"open in another window ({owner})")
    return tuple(found)


def resume_project(
    workspace: Workspace, path: Path, failed: Callable[[Exception], Any] | None = None
) -> None:
    """Resume a project of the image: its annotation as a layer, roles, kind, model and last run.

    Returns at once; the layer is added when it is read, or chosen if it is in the viewer already.
    ``failed`` is called with the exception where it cannot be read.  Raises `ValueError` without an image.
    """
    image, viewer, autosave = workspace.image, workspace.viewer, workspace.autosave
    if image is None or viewer is None:
        raise ValueError("No image is open. Open the stack of the project first.")
    if (there := autosave.layer_of(path)) is not None:
        workspace.choose("annotation", there)
        return
    offer, workspace.offer = workspace.offer, None  # a second press must not add it again
    shape, place = spatial_shape(image), placement(image)

    def read() -> tuple[Any, dict[str, Any], LabelKind, int]:
        project = Project.open(path)
        labels, empty = read_annotation(project, shape)
        options = annotation_layer_options(project, empty)
        return labels, options, project.kind, int(labels.max(initial=0))

    def show(found: tuple[Any, dict[str, Any], LabelKind, int]) -> None:
        labels, options, kind, highest = found
        layer = viewer.add_labels(labels, **options | place)
        if kind is LabelKind.INSTANCES:  # now: a first stroke must not fall on cell 1
            layer.selected_label = highest + 1
        workspace.choose("annotation", layer)  # the autosave opens its project
        viewer.layers.selection.active = layer
        layer.mode = "paint"

    def not_read(error: Exception) -> None:
        workspace.offer = offer
        if failed is not None:
            failed(error)

    autosave.queue.submit(read, show, not_read)
