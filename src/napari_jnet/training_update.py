"""Annotations that change while a training runs: from the next epoch on it learns from them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from napari_jnet.adaptation import check_fit
from napari_jnet.batches import FrameStore, epoch_pixels, load_frames
from napari_jnet.checkpoint import load_model
from napari_jnet.config import Config
from napari_jnet.data.stack import AnnotatedFrame
from napari_jnet.events import NewFrames, Notice
from napari_jnet.training_job import Job
from napari_jnet.training_setup import split_annotated, usable_frames
from napari_jnet.validation import Validation

__all__ = ["learn_from", "new_validation", "revalidate"]


def learn_from(job: Job, frames: Sequence[AnnotatedFrame]) -> Iterator[NewFrames | Notice]:
    """Let a training learn from other frames; its network, bound and schedule stay.

    Parameters
    ----------
    job
        The training, between two epochs.
    frames
        All that is annotated now.

    Yields
    ------
    NewFrames or Notice
        A notice says which frames are skipped, or why it goes on with the frames it had: nobody's
        painting may end a training.
    """
    try:
        frames, skipped = usable_frames(frames)
        added = _replace_frames(job, frames)
    except ValueError as error:
        yield Notice(f"The training goes on with the annotations it had. {error}")
        return
    yield NewFrames(tuple(job.split["training"]), tuple(job.split["validation"]), added)
    yield from map(Notice, skipped)


def _replace_frames(job: Job, frames: Sequence[AnnotatedFrame]) -> tuple[str, ...]:
    training, validation = split_annotated(frames, job.config, job.split)
    check_fit(job.config.network, frames, "the network in training")
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


def new_validation(
    frames: Sequence[AnnotatedFrame], config: Config, store: FrameStore
) -> Validation:
    """Make the validation of a training, which takes a tenth of its work at most."""
    trained = epoch_pixels(store, config)
    return Validation(frames, config, store.sizes.device, store.class_weights, trained=trained)


def revalidate(job: Job, validation: Sequence[AnnotatedFrame]) -> None:
    """Score the best model so far on other validation frames: only then later ones compare with it."""
    job.validation = new_validation(validation, job.config, job.store)
    job.state.scored = job.validation.names
    if not job.state.best_epoch:
        return
    scores = job.validation.run(load_model(job.folder.model, device=job.device.type))
    best = scores.by(job.validation.best_by)
    job.state.best_score = float("-inf") if best is None else best
