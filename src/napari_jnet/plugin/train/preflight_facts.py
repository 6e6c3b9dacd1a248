"""Gathers, cheaply, what the list before a training looks at; called in the window's thread."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np

from napari_jnet.config import Config
from napari_jnet.config.plans import Hardware
from napari_jnet.data.stack import LabelKind
from napari_jnet.plugin.layers import TrainingInput, pixels, spatial_shape
from napari_jnet.plugin.session import Session, same
from napari_jnet.plugin.train.feed import labels_now
from napari_jnet.plugin.train.preflight import TrainingFacts

__all__ = ["fitting_labels", "gather", "sample"]

_SAMPLED = 12  # annotated frames that are measured before a training


def gather(
    session: Session, config: Config | None, hardware: Hardware, run: Path | None, *, resume: bool
) -> TrainingFacts:
    """Return the facts of a training with this configuration into this folder.

    Parameters
    ----------
    config
        None where it cannot be made; its error is then said when training is asked for.
    run
        A run folder that somebody has chosen; None for one in the project.
    resume
        Whether the run in it shall go on.
    """
    image, labels, book = session.image, session.annotation, session.book
    painted = None if labels is None else pixels(labels)
    other = None if image is None else fitting_labels(session)
    network = None if config is None else config.network
    return TrainingFacts(
        image=None if image is None else image.name,
        labels=None if labels is None else labels.name,
        image_size=() if image is None else _spatial(image),
        labels_size=() if painted is None else tuple(painted.shape),
        integers=painted is None
        or np.issubdtype(painted.dtype, np.integer)
        or painted.dtype == bool,
        fitting="" if other is None else other.name,
        kind=book.kind,
        frames=book.annotated_facts,
        frame_letter=book.frame_name(0)[0],
        counting=book.counting,
        classes=_class_names(session),
        run=run,
        run_taken=run is not None and not resume and _is_taken(run),
        free_bytes=_free(run or (session.project.path if session.project else Path.home())),
        hardware=hardware,
        channels=network.channels if network is not None and network.name == "unet" else 0,
        minutes=None if config is None else config.training.minutes,
        misfit=session.fine_tuning.misfit,
    )


def fitting_labels(session: Session) -> Any | None:
    """Return the last labels layer of the image's size that is not the annotation, or None."""
    size = _spatial(session.image)
    fitting = [
        layer
        for layer in session.labels()
        if tuple(pixels(layer).shape) == size and not same(layer, session.annotation)
    ]
    return fitting[-1] if fitting else None


def sample(session: Session) -> TrainingInput | None:
    """Take some annotated frames, spread over the stack, to measure the cells in; None without any."""
    image, labels, book = session.image, session.annotation, session.book
    frames = book.annotated_facts
    kept = (one for one in frames if one.role not in ("unused", "validation") and not one.empty)
    positions = [one.position for one in kept]
    if image is None or labels is None or not positions:
        return None
    if tuple(pixels(labels).shape) != _spatial(image):
        return None
    step = max(1, len(positions) // _SAMPLED)
    try:
        return labels_now(session, positions[::step][:_SAMPLED])
    except ValueError:
        return None


def _class_names(session: Session) -> tuple[str, ...]:
    """Return the names of the classes from background; the legend of scribbles is by label."""
    names = tuple(name for name, _ in session.book.legend)
    return names[1:] if session.book.kind is LabelKind.SCRIBBLES else names


def _spatial(image: Any) -> tuple[int, ...]:
    return spatial_shape(image)


def _is_taken(run: Path) -> bool:
    return (run / "last.pt").exists() or (run / "model.pt").exists()


def _free(path: Path) -> int | None:
    """Return the free bytes where a folder is or will be; None where that cannot be said."""
    for folder in (path, *path.parents):
        if folder.is_dir():
            try:
                return shutil.disk_usage(folder).free
            except OSError:
                return None
    return None
