"""What is painted, written elsewhere when the disk of its project refuses and the window closes."""

from __future__ import annotations

import logging
import os
import tempfile
from collections.abc import Iterable
from contextlib import suppress
from datetime import datetime
from pathlib import Path

from qtpy.QtCore import QThread
from qtpy.QtWidgets import QMessageBox, QWidget

from napari_jnet.data.project import Project
from napari_jnet.plugin.keeping.layer import RESCUED_FROM, KeptLayer

__all__ = ["own_project", "rescue", "rescue_folders", "rescue_unsaved", "taken_back", "tell"]

_PREFIX, _TAKEN = "napari-jnet-rescued-", "napari-jnet-taken-back-"
_boxes: list[QMessageBox] = []  # that are open


def _places() -> list[Path]:
    return [Path.home(), Path(tempfile.gettempdir())]


def rescue_unsaved(layers: Iterable[KeptLayer], window: QWidget | None) -> None:
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


def rescue(kept: KeptLayer) -> Path:
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
