"""Annotations that change while a training runs: from the next epoch on it learns from them."""

from __future__ import annotations

from collections.abc import Sequence

from napari_jnet.adaptation import class_count
from napari_jnet.batches import load_frames
from napari_jnet.checkpoint import load_model
from napari_jnet.data.stack import AnnotatedFrame
from napari_jnet.events import NewFrames, Notice
from napari_jnet.training_job import Job
from napari_jnet.training_setup import split_annotated
from napari_jnet.validation import Validation

__all__ = ["learn_from", "revalidate"]


def learn_from(job: Job, frames: Sequence[AnnotatedFrame]) -> NewFrames | Notice:
    """Let a training learn from other frames; its network, bound and schedule stay.

    Parameters
    ----------
    job
        The training, between two epochs.
    frames
        All that is annotated now.

    Returns
    -------
    NewFrames or Notice
        A notice says why it goes on with the frames it had: nobody's painting may end a training.
    """
    try:
        added = _replace_frames(job, frames)
    except ValueError as error:
        return Notice(f"The training goes on with the annotations it had. {error}")
    return NewFrames(tuple(job.split["training"]), tuple(job.split["validation"]), added)


def _replace_frames(job: Job, frames: Sequence[AnnotatedFrame]) -> tuple[str, ...]:
    training, validation = split_annotated(frames, job.config, job.split)
    classes = class_count(job.config, frames)
    if classes != job.config.network.classes:
        raise ValueError(
            f"The labels hold {classes} classes now, the network has {job.config.network.classes}; "
            "a new training learns them all."
        )
    store = load_frames(training, job.state.network.levels, job.device, job.config)
    known = {*job.split["training"], *job.split["validation"]}
    job.store = store
    job.split = {
        "training": [frame.name for frame in training],
        "validation": [frame.name for frame in validation],
    }
    job.folder.write_start(job.config, job.split)
    revalidate(job, validation)
    return tuple(frame.name for frame in frames if frame.name not in known)


def revalidate(job: Job, validation: Sequence[AnnotatedFrame]) -> None:
    """Score the best model so far on other validation frames: only then later ones compare with it."""
    job.validation = Validation(validation, job.config, job.device, job.store.class_weights)
    if not job.state.best_epoch:
        return
    scores = job.validation.run(load_model(job.folder.model, device=job.device.type))
    best = scores.by(job.config.training.best_by)
    job.state.best_score = float("-inf") if best is None else best
