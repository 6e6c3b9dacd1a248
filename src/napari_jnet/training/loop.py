"""The training loop, a generator of events; closing it stops the training."""

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
    Message,
    Preview,
    TrainEvent,
    TrainingEnd,
    TrainingStart,
)
from napari_jnet.inference.image import predict_maps
from napari_jnet.io.run_folder import RunFolder
from napari_jnet.io.stack import AnnotatedFrame
from napari_jnet.training.distributed import agree, is_first, share, together
from napari_jnet.training.run import TrainingSession, TrainingState
from napari_jnet.training.sampler import draw_batch
from napari_jnet.training.setup import prepare, update_frames

PREVIEW_EVERY_S = 3.0
PREVIEW_WITHIN_EPOCH_S = 20.0  # in long epochs, to show a preview before their end
SAVE_EVERY_S = 120.0  # within an epoch
READ_LOSS_EVERY = 8  # batches on a GPU: reading a loss waits for the device


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
        To train on; frames without a role are split by the seed.
    run
        Folder for ``model.pt`` (kept), ``last.pt``, ``history.csv``, ``config.json``, ``split.json``.
    config
        Settings; those that are left open are estimated from the frames.
    resume
        Continue the training in ``run`` as if it had never stopped.  ``config`` may give another
        budget (minutes or epochs, counted from the beginning; patience), device, threads, precision
        or TensorBoard; any other setting that is given must be that of the run.  Frames that are new
        to the run are added.
    start_from
        A model whose weights a new training starts from (fine-tuning), or "starter"; network and targets
        are those of the model, and ``config`` may not give others, and so are thresholds that it does not
        give.  Frames are rescaled to the diameter of the model's objects where ``network.diameter`` is given,
        or the model is for cells of any size.
    preview
        Called after an epoch; if it returns an image, a `Preview` of it follows.
    new_frames
        Called after an epoch; returns all frames if annotations have changed, else None.  The training
        continues on the new frames, and `NewFrames` follows.

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
    that a resumed training draws the same batches as one that was never stopped, and ``model.pt`` the epoch
    that is kept.  On the way both are written where an epoch ends or two minutes have passed, but only when
    the last save (at first, what is expected of one) took at most 1.2 % of the time since.  So a process that
    is killed loses two minutes, or 80 times what a save takes if that is longer, and the present batch.
    Where the disk is full, a `Message` says so once, and later saves try again; where the last one fails
    too, everything is saved in a recovery copy in the home or temporary folder, and `OutputError` names it.
    Only the time that the generator itself runs counts as training time, not the time that its caller takes
    between two events.
    """
    folder = RunFolder(run, resume=resume, writes=is_first())
    with closing(folder), together():
        try:
            session = prepare(folder, frames, config or Config(), resume, start_from)
        except BaseException:
            folder.remove_unused()
            raise
        del frames  # their data is on the device now
        session.preview, session.new_frames = preview, new_frames
        with closing(_train(session)) as events:
            for event in events:
                left = time.monotonic()
                yield event
                session.started += time.monotonic() - left  # the caller's time


def _train(session: TrainingSession) -> Generator[TrainEvent, None, None]:
    """Train until the budget is used; save everything, also if closed or failed in between."""
    state = session.state
    yield TrainingStart(
        device=describe_device(session.device),
        training_frames=tuple(session.split["training"]),
        validation_frames=tuple(session.split["validation"]),
        parameters=state.network.parameter_count(),
        dt_bound=session.dt_bound,
        distance=session.config.describe_distance(),
        start_epoch=state.epoch,
        batches_per_epoch=session.config.training.batches_per_epoch,
    )
    yield from _messages(session)
    session.start_clock()
    started = time.monotonic()
    try:
        while session.progress() < 1 and not session.out_of_patience:
            yield from _train_epoch(session, started)
            event = _finish_epoch(session)
            session.log(event)
            yield event
            yield from _messages(session)
            yield from _preview(session, since=session.previewed_at, wait=PREVIEW_EVERY_S)
            if session.new_frames is not None and (frames := session.new_frames()) is not None:
                yield from update_frames(session, frames)
    except ArithmeticError:
        session.diverged = True
        raise
    finally:
        session.finish()
    yield from _messages(session)
    if session.out_of_patience:
        yield Message(
            f"Stopped early: {session.validation.best_by} has not improved since epoch "
            f"{state.best_epoch}, {session.config.training.patience} epochs ago."
        )
    yield TrainingEnd(session.folder.model, state.epoch, state.best_epoch, state.elapsed_s)


def _messages(session: TrainingSession) -> Iterator[Message]:
    """Yield the messages that wait."""
    while session.messages:
        yield session.messages.pop(0)


def _train_epoch(session: TrainingSession, started: float) -> Generator[TrainEvent, None, None]:
    state, batches = session.state, session.config.training.batches_per_epoch
    read_every = 1 if session.device.type == "cpu" else READ_LOSS_EVERY
    losses: list[Tensor] = []  # on the device
    try:
        while state.batch < batches and session.progress() < 1:
            at_once = state.patches_at_once
            losses.append(_train_batch(session))
            state.batch += 1
            if state.patches_at_once != at_once:
                yield Message(
                    f"The memory does not hold a batch of {session.config.training.batch_size} patches; "
                    f"from now on {state.patches_at_once} are computed at a time, and their gradients added."
                )
            loss = None
            if len(losses) == read_every or state.batch == batches:
                loss = _read_losses(session, losses)
                session.save_if_due(SAVE_EVERY_S)
                yield from _messages(session)
            progress, elapsed = session.progress(), state.elapsed_s
            remaining = elapsed / progress - elapsed if progress > 0 else float("inf")
            yield BatchEnd(state.epoch + 1, state.batch, loss, progress, elapsed, remaining)
            if state.batch < batches:
                since = max(session.previewed_at, started)
                yield from _preview(session, since=since, wait=PREVIEW_WITHIN_EPOCH_S)
    finally:  # also when closed: unread losses belong to the epoch
        if losses:
            _read_losses(session, losses)


def _train_batch(session: TrainingSession) -> Tensor:
    """Do one optimizer step; return the loss, still on the device."""
    state, config = session.state, session.config
    state.set_learning_rate(session.progress())
    with state.all_or_nothing():
        levels, targets = draw_batch(session.store, config, session.dt_bound, state.generator)
        images = share(config.training.batch_size)  # all of them, but where several processes train
        loss = session.compute_gradients([level[images] for level in levels], targets.cut(images))
    state.apply_gradients()
    return loss


def _read_losses(session: TrainingSession, losses: list[Tensor]) -> float:
    """Add the losses since the last reading to those of the epoch; return their mean."""
    state = session.state
    total, count = float(torch.stack(losses).sum()), len(losses)
    losses.clear()
    if not math.isfinite(total):
        raise ArithmeticError(
            f"The loss is not finite in epoch {state.epoch + 1}. Start a new training in another folder, "
            "with a smaller learning rate (training.learning_rate); from the second epoch on, model.pt has "
            "the weights of an epoch before, and can be its start."
        )
    state.loss_sum += total
    return total / count


def _finish_epoch(session: TrainingSession) -> EpochEnd:
    """Validate, save if that is due, and return the event."""
    state, batches = session.state, session.state.batch
    train_loss = state.loss_sum / max(batches, 1)
    scores = session.validate()
    session.progress()  # reads the clock
    before = state.history[-1]["elapsed_s"] if state.history else 0.0
    by = session.validation.best_by
    score: float | None = float(state.epoch + 1) if by == "last" else -train_loss
    if session.validation.frames and by != "last":
        score = scores.by(by)
    kept = bool(agree(_is_better(state, score, scores.loss))) and state.is_finite
    event = EpochEnd(
        epoch=state.epoch + 1,
        train_loss=train_loss,
        validation_loss=scores.loss,
        learning_rate=state.learning_rate,
        images_per_s=batches
        * session.config.training.batch_size
        / max(state.elapsed_s - before, 1e-9),
        elapsed_s=state.elapsed_s,
        best=kept,
        memory_mb=memory_mb(session.device),
        **{name: value for name, value in vars(scores).items() if name != "loss"},
    )
    state.history.append(asdict(event))
    state.end_epoch(train_loss)
    if kept and score is not None:
        state.best_score, state.best_epoch = score, state.epoch
        state.best_loss = math.inf if scores.loss is None else scores.loss
        state.keep_best()
    session.save_if_due()
    return event


def _is_better(state: TrainingState, score: float | None, loss: float | None) -> bool:
    """Whether an epoch is better than the one kept; of equal scores, such as a SEG of 1, by its loss."""
    if score is None or score != state.best_score:
        return score is not None and score > state.best_score
    return loss is not None and loss < state.best_loss


def _preview(session: TrainingSession, *, since: float, wait: float) -> Iterator[Preview]:
    """Predict the image that is shown, if the last time is long enough ago."""
    if session.preview is None or time.monotonic() - since <= wait:
        return
    image = session.preview()
    if image is None:
        return
    plain = PredictionConfig(tta=1)  # quick: without overlap and test-time augmentation
    maps = predict_maps(session.model, image, prediction=plain, name="The preview image")
    yield Preview(maps.segmentation, maps.distance, session.state.epoch)
    session.previewed_at = time.monotonic()
