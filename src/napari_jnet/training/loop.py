"""Training as a generator of events: every caller is a ``for`` loop, stopping is closing it."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import closing
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from numpy.typing import NDArray
from torch import Tensor

from napari_jnet.config import Config, PredictionConfig
from napari_jnet.device import describe_device, memory_mb
from napari_jnet.events import (
    BatchEnd,
    EpochEnd,
    Notice,
    Preview,
    TrainEvent,
    TrainingEnd,
    TrainingStart,
)
from napari_jnet.inference.predict import predict_maps
from napari_jnet.io.run_folder import RunFolder
from napari_jnet.io.stack import AnnotatedFrame
from napari_jnet.model import Model
from napari_jnet.training.run import Job, TrainingState
from napari_jnet.training.sampler import draw_batch
from napari_jnet.training.setup import prepare, update_frames

PREVIEW_EVERY_S = 3.0


PREVIEW_WITHIN_EPOCH_S = 20.0


"""In an epoch that is longer, so that there is something to see before its end."""


SAVE_EVERY_S = 120.0


"""What a killed training loses at most, besides the batch that it is at."""


READ_LOSS_EVERY = 8


"""Batches between two looks at the loss on a GPU: each look waits for the device."""


def train(
    frames: Sequence[AnnotatedFrame],
    run: Path | str,
    config: Config | None = None,
    *,
    resume: bool = False,
    start_from: Path | str | None = None,
    preview: Callable[[], NDArray[Any] | None] | None = None,
    new_frames: Callable[[], Sequence[AnnotatedFrame] | None] | None = None,
) -> Generator[TrainEvent, None, None]:
    """Train a network on annotated frames.

    Parameters
    ----------
    frames
        What to learn from; frames without a role are split by the seed.
    run
        Folder for ``model.pt`` (best), ``last.pt``, ``history.csv``, ``config.json``, ``split.json``.
    config
        What and how; what it leaves open comes from the frames.
    resume
        Go on with the training in ``run`` as if it had never stopped.  ``config`` may give another
        budget (minutes or epochs, counted from the beginning; patience), device, threads, precision
        or TensorBoard; any other setting that is given must be that of the run.  Frames that the run
        did not have join it.
    start_from
        A model whose weights are the start of a new training (fine-tuning); network and targets are
        its own, and ``config`` may not give others.
    preview
        Asked for an image after an epoch; if it gives one, a `Preview` follows.
    new_frames
        Asked after an epoch; where annotations have changed it gives all frames anew, and the
        training learns from these: `NewFrames` follows.  None: nothing has changed.

    Yields
    ------
    TrainEvent
        `TrainingStart` first, `TrainingEnd` last.

    Raises
    ------
    ValueError, FileNotFoundError, OSError
        Before anything is trained, if frames, configuration or folder cannot be used.

    Notes
    -----
    Closing the generator stops the training at that batch; ``last.pt`` then holds everything, so
    that a resumed training draws the same batches as one that was never stopped.  It is also written
    after every epoch, and within a long epoch every two minutes, so that no more is lost when the
    process is killed.  Only the time that the generator itself works counts as training time: between
    two events it may wait for as long as its caller likes.
    """
    folder = RunFolder(run, resume=resume)
    try:
        job, notices = prepare(folder, frames, config or Config(), resume, start_from)
    except BaseException:
        folder.remove_unused()
        raise
    del frames  # what is needed of them is on the device now
    with closing(folder):
        yield from _train(job, notices, preview, new_frames)


def _train(
    job: Job,
    notices: Sequence[str],
    preview: Callable[[], NDArray[Any] | None] | None,
    new_frames: Callable[[], Sequence[AnnotatedFrame] | None] | None,
) -> Generator[TrainEvent, None, None]:
    yield TrainingStart(
        device=describe_device(job.device),
        training_frames=tuple(job.split["training"]),
        validation_frames=tuple(job.split["validation"]),
        parameters=job.state.network.parameter_count(),
        dt_bound=job.config.targets.dt_bound or 0.0,
        start_epoch=job.state.epoch,
        batches_per_epoch=job.config.training.batches_per_epoch,
    )
    yield from map(Notice, notices)
    yield from _only_work_counts(job, _run(job, preview, new_frames))


def _only_work_counts(
    job: Job, events: Generator[TrainEvent, None, None]
) -> Generator[TrainEvent, None, None]:
    """Pass events on; what the caller does between two of them is no time of the training."""
    with closing(events):
        for event in events:
            left = time.monotonic()
            yield event
            job.started += time.monotonic() - left


def _run(
    job: Job,
    preview: Callable[[], NDArray[Any] | None] | None,
    new_frames: Callable[[], Sequence[AnnotatedFrame] | None] | None,
) -> Generator[TrainEvent, None, None]:
    """Train until the budget is used; keep everything also when closed or failing in between."""
    state, look = job.state, _Previews(job, preview)
    job.start_clock()
    try:
        while job.progress() < 1 and not job.out_of_patience:
            yield from _train_epoch(job, look)
            event = _finish_epoch(job)
            if job.board is not None:
                job.board.write(event)
            yield event
            yield from look.after_epoch()
            if new_frames is not None and (given := new_frames()) is not None:
                yield from update_frames(job, given)
    except ArithmeticError:
        job.saved_step = state.step  # what was saved before is good; these weights are not
        raise
    finally:
        if state.step > job.saved_step:
            job.save_last()
        if job.board is not None:
            job.board.close()
    if job.out_of_patience:
        yield Notice(
            f"Stopped early: {job.validation.best_by} has not become better since epoch "
            f"{state.best_epoch}, {job.config.training.patience} epochs ago."
        )
    yield TrainingEnd(job.folder.model, state.epoch, state.best_epoch, state.elapsed_s)


def _train_epoch(job: Job, look: _Previews) -> Generator[TrainEvent, None, None]:
    state, batches = job.state, job.config.training.batches_per_epoch
    read_every = 1 if job.device.type == "cpu" else READ_LOSS_EVERY
    losses: list[Tensor] = []
    try:
        while state.batch < batches and job.progress() < 1:
            losses.append(_train_batch(job))
            state.batch += 1
            loss = None
            if len(losses) == read_every or state.batch == batches:
                loss = _read_losses(losses, state)
                if time.monotonic() - job.saved_at >= SAVE_EVERY_S and _is_finite(state):
                    job.save_last()
            yield _batch_end(job, loss)
            if state.batch < batches:
                yield from look.within_epoch()
    finally:  # also when closed: what was not yet read belongs to the epoch
        if losses:
            _read_losses(losses, state)


def _train_batch(job: Job) -> Tensor:
    """One optimiser step; the loss stays on the device."""
    state, config = job.state, job.config
    state.schedule.set_rate(job.progress())
    levels, targets = draw_batch(job.store, config, job.bound, state.generator)
    levels = [level.contiguous(memory_format=torch.channels_last) for level in levels]
    with (
        state.drawn_dropout(),
        torch.autocast(job.device.type, torch.bfloat16, enabled=job.bfloat16),
    ):
        output = state.network(levels)
    loss = job.loss(output.float(), targets, config.network.classes, job.bound)
    state.optimizer.zero_grad(set_to_none=True)
    loss.backward()  # type: ignore[no-untyped-call]
    state.optimizer.step()
    state.average()
    return loss.detach()


def _read_losses(losses: list[Tensor], state: TrainingState) -> float:
    """Add the losses since the last look to the epoch's; return their mean."""
    total, count = float(torch.stack(losses).sum()), len(losses)
    losses.clear()
    if not math.isfinite(total):
        raise ArithmeticError(_exploded(state))
    state.loss_sum += total
    return total / count


def _is_finite(state: TrainingState) -> bool:
    """Whether the weights are numbers: a loss tells only of the step before the last."""
    return all(bool(torch.isfinite(value).all()) for value in state.network.parameters())


def _exploded(state: TrainingState) -> str:
    rate = "a smaller learning rate (training.learning_rate)"
    words = f"The loss is not finite in epoch {state.epoch + 1}"
    if not state.epoch:
        return f"{words}, the first, so there is no model yet. Start again in another folder, with {rate}."
    return (
        f"{words}; model.pt is the best of the {state.epoch} epochs before. Start a new training from that "
        f"model, with {rate}."
    )


def _batch_end(job: Job, loss: float | None) -> BatchEnd:
    progress, elapsed = job.progress(), job.state.elapsed_s
    remaining = elapsed / progress - elapsed if progress > 0 else float("inf")
    return BatchEnd(job.state.epoch + 1, job.state.batch, loss, progress, elapsed, remaining)


def _finish_epoch(job: Job) -> EpochEnd:
    """Validate, keep the best and the last, and only then tell."""
    state, config = job.state, job.config
    batches, train_loss = state.batch, state.loss_sum / max(state.batch, 1)
    model = Model(state.averaged, config, job.folder.model, job.device)
    scores = job.validate(model)
    before = state.history[-1]["elapsed_s"] if state.history else 0.0
    job.progress()
    state.epoch, state.batch, state.loss_sum = state.epoch + 1, 0, 0.0
    # Without validation frames there is only the training loss to go by.
    score = scores.by(job.validation.best_by) if job.validation.frames else -train_loss
    best = score is not None and score > state.best_score
    event = EpochEnd(
        epoch=state.epoch,
        train_loss=train_loss,
        validation_loss=scores.loss,
        learning_rate=state.schedule.rate,
        images_per_s=batches * config.training.batch_size / max(state.elapsed_s - before, 1e-9),
        elapsed_s=state.elapsed_s,
        best=best,
        memory_mb=memory_mb(job.device),
        **{name: value for name, value in vars(scores).items() if name != "loss"},
    )
    state.history.append(asdict(event))
    state.schedule.end_epoch(train_loss)
    if best and score is not None:
        state.best_score, state.best_epoch = score, state.epoch
    job.save_epoch()
    return event


class _Previews:
    """Looks at the image that is shown, now and then: soon after an epoch, later within a long one."""

    def __init__(self, job: Job, image: Callable[[], NDArray[Any] | None] | None) -> None:
        self._job, self._image = job, image
        self._begun, self._last = time.monotonic(), float("-inf")

    def after_epoch(self) -> Iterator[Preview]:
        """Yield a preview if the last one is a moment old."""
        if time.monotonic() - self._last > PREVIEW_EVERY_S:
            yield from self._look()

    def within_epoch(self) -> Iterator[Preview]:
        """Yield a preview if the last one, or the beginning, is a while ago."""
        if time.monotonic() - max(self._last, self._begun) > PREVIEW_WITHIN_EPOCH_S:
            yield from self._look()

    def _look(self) -> Iterator[Preview]:
        image = None if self._image is None else self._image()
        if image is None:
            return
        job = self._job
        model = Model(job.state.averaged, job.config, job.folder.model, job.device)
        plain = PredictionConfig()  # a look at the network, not the best answer it can give
        maps = predict_maps(model, image, prediction=plain, name="The preview image")
        yield Preview(maps.segmentation, maps.distance, job.state.epoch)
        self._last = time.monotonic()
