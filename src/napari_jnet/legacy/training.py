"""Training as the original does it: whole frames, its augmentations, its schedule, its checkpoints."""

from __future__ import annotations

import math
import secrets
import time
from collections.abc import Generator
from dataclasses import dataclass, field
from pathlib import Path

import torch
from torch import Tensor

from napari_jnet.device import choose_device, describe_device
from napari_jnet.files import FolderLock, atomic_write, clean, make_folder
from napari_jnet.inference.tiling import answer
from napari_jnet.io.stack import AnnotatedFrame
from napari_jnet.legacy.checkpoints import (
    BEST_TRAINING,
    BEST_VALIDATION,
    FINAL,
    LAST,
    STOPPED,
    choose_structure,
    refuse_overwriting,
    save_original,
)
from napari_jnet.legacy.flags import Flags, training_frames
from napari_jnet.model import load_state, read_checkpoint
from napari_jnet.networks.base import SegmentationNetwork
from napari_jnet.training.losses import loss_function
from napari_jnet.training.run import TrainingState, new_state
from napari_jnet.training.sampler import FullFrameDataset, load_full_frames
from napari_jnet.training.targets import Targets


@dataclass(frozen=True)
class OriginalScores:
    """The quantities that the original reports: means over known pixels."""

    loss: float  # BCE + MSE, the distance not cut
    l1_seg: float  # mean |probability - target|
    l1_dist: float  # mean |distance - target| in pixels, both cut at dt_bound


@dataclass(frozen=True)
class JobStart:
    """Everything is checked; nothing is computed yet."""

    device: str  # in words
    training: tuple[str, ...]
    validation: tuple[str, ...]
    parameters: int


@dataclass(frozen=True)
class OriginalBatch:
    """One optimiser step."""

    epoch: int  # from 1
    batch: int  # from 1
    batches: int  # of an epoch


@dataclass(frozen=True)
class OriginalEpoch:
    """One epoch; its checkpoints are already written."""

    epoch: int  # from 1
    training: OriginalScores
    validation: OriginalScores | None
    learning_rate: float
    elapsed_s: float
    saved: tuple[str, ...]  # names of the checkpoints


@dataclass(frozen=True)
class ImageDone:
    """One image of eval or vis; its pictures are already written."""

    label: str  # "01_t002"
    scores: OriginalScores | None  # None for vis
    files: tuple[Path, ...]


@dataclass(frozen=True)
class Finished:
    """The end of a job."""

    average: OriginalScores | None  # of eval, over images
    suggestions: tuple[tuple[str, str], ...]  # what for, and the command line
    note: str = ""


OriginalEvent = JobStart | OriginalBatch | OriginalEpoch | ImageDone | Finished


_LOSS = loss_function("bce+mse")


def compare(output: Tensor, targets: Targets, bound: float) -> tuple[Tensor, Tensor]:
    """Compare the network's answer with what it should be.

    Parameters
    ----------
    output
        (N, 2, H, W), logits and distance in pixels.
    targets
        At the same resolution.
    bound
        dt_bound in pixels.

    Returns
    -------
    loss
        Scalar with a gradient.
    values
        (3,) without: loss, L1 of the segmentation, L1 of the distance cut at the bound; means over
        the known pixels.
    """
    loss = _LOSS(output, targets, 1, bound)
    with torch.no_grad():
        segmentation = (output[:, 0].sigmoid() - targets.segmentation).abs()
        distance = (output[:, 1].clamp(min=0, max=bound) - targets.distance).abs()
        parts = (
            loss.detach(),
            _mean(segmentation, targets.known),
            _mean(distance, targets.distance_known),
        )
        return loss, torch.stack(parts)


def _mean(values: Tensor, known: Tensor) -> Tensor:
    return (values * known).sum() / known.sum().clamp(min=1)


class ScoreSum:
    """Adds up scores where they are computed; they are read once, at the end."""

    def __init__(self) -> None:
        self.total: Tensor | None = None
        self.count = 0

    def add(self, values: Tensor, count: int = 1) -> None:
        """Add the mean values of ``count`` images."""
        self.total = values * count if self.total is None else self.total + values * count
        self.count += count

    def mean(self) -> OriginalScores:
        """Return the mean over all images."""
        assert self.total is not None
        loss, l1_seg, l1_dist = (self.total / self.count).tolist()
        return OriginalScores(loss, l1_seg, l1_dist)


PATIENCE = 10


"""Validations without improvement before an early stop."""


def train(flags: Flags) -> Generator[OriginalEvent, None, None]:
    """Train a J-Net as the original's script.

    Parameters
    ----------
    flags
        With ``mode="train"``.

    Yields
    ------
    OriginalEvent
        `JobStart`, then `OriginalBatch` and `OriginalEpoch`, at last `Finished`.

    Raises
    ------
    ValueError, FileNotFoundError, OSError
        Before anything is trained, if the flags, the images or the folder cannot be used.

    Notes
    -----
    Closing the generator stops the training; ``model_last`` then has the weights of the last epoch.
    """
    structure = choose_structure(flags)
    refuse_overwriting(flags)
    frames = training_frames(flags)
    config = flags.config(structure, channels=1)
    device = choose_device(config.training.device)
    seed = flags.seed if flags.seed >= 0 else secrets.randbelow(2**31)
    state = new_state(config.replace({"training.seed": seed}), device)
    if flags.model_file:
        path = Path(flags.model_file)
        load_state(state.network, read_checkpoint(path)["state_dict"], path)
    chosen, kept = _split(frames, flags.validation_percentage, state.generator)
    levels = state.network.levels
    folder = Path(flags.output_dir)
    make_folder(folder)
    job = _Job(
        flags,
        folder,
        state,
        load_full_frames(chosen, levels, flags.dt_bound, device),
        load_full_frames(kept, levels, flags.dt_bound, device) if kept else None,
    )
    with FolderLock(folder):
        clean(folder, locked=True)
        yield JobStart(
            device=describe_device(device),
            training=tuple(frame.name for frame in chosen),
            validation=tuple(frame.name for frame in kept),
            parameters=state.network.parameter_count(),
        )
        yield from _run(job)


def _split(
    frames: list[AnnotatedFrame], part: float, generator: torch.Generator
) -> tuple[list[AnnotatedFrame], list[AnnotatedFrame]]:
    """Keep int(part * n) random frames for validation."""
    count = int(part * len(frames))
    if count == len(frames):
        raise ValueError(
            f"--validation_percentage {part:g} keeps all {len(frames)} image(s) for validation; at "
            "least one must be for training. Choose a smaller part."
        )
    order = torch.randperm(len(frames), generator=generator).tolist()
    chosen = set(order[:count])
    return (
        [frame for index, frame in enumerate(frames) if index not in chosen],
        [frame for index, frame in enumerate(frames) if index in chosen],
    )


@dataclass(eq=False)
class _Job:
    """One training."""

    flags: Flags
    folder: Path
    state: TrainingState
    training: FullFrameDataset
    validation: FullFrameDataset | None
    best: dict[str, float] = field(default_factory=dict)  # loss of each best checkpoint
    without: int = 0  # validations since the best one
    diverged: bool = False

    @property
    def network(self) -> SegmentationNetwork:
        return self.state.network

    @property
    def stopped(self) -> bool:
        """Whether the original would stop early."""
        return bool(self.flags.non_decreasing_output_file) and self.without >= PATIENCE


def _run(job: _Job) -> Generator[OriginalEvent, None, None]:
    """Train to the end; what is learnt stays also when closed or failing in between."""
    flags, started, note = job.flags, time.monotonic(), ""
    try:
        for epoch in range(1, flags.num_epochs + 1):
            rate = job.state.schedule.rate
            scores = yield from _train_epoch(job, epoch)
            validated = _validate(job)
            job.state.schedule.end_epoch(scores.loss)
            saved = _save(job, epoch, scores, validated)
            yield OriginalEpoch(epoch, scores, validated, rate, time.monotonic() - started, saved)
            if job.stopped:
                note = _stop_early(job, epoch)
                break
    finally:
        if not job.diverged:
            save_original(job.folder / LAST, job.network)
    save_original(job.folder / FINAL, job.network)
    yield Finished(None, _suggestions(job), note)


def _stop_early(job: _Job, epoch: int) -> str:
    note = (
        f"{STOPPED} {epoch}: {PATIENCE} validations without improvement on "
        f"{job.best[BEST_VALIDATION]:.6f}."
    )
    file = Path(job.flags.non_decreasing_output_file)
    with atomic_write(file) as partial:
        partial.write_text(note + "\n", encoding="utf-8")
    return note


def _train_epoch(job: _Job, epoch: int) -> Generator[OriginalEvent, None, OriginalScores]:
    state, total = job.state, ScoreSum()
    job.network.train()
    batches = _batches(len(job.training), job.flags, state.generator)
    for number, indices in enumerate(batches, 1):
        levels, targets = job.training.draw(indices, job.flags, state.generator)
        output = job.network([_channels_last(level) for level in levels])
        loss, values = compare(output, targets, job.flags.dt_bound)
        state.optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        state.optimizer.step()
        total.add(values, len(indices))
        yield OriginalBatch(epoch, number, len(batches))
    scores = total.mean()
    if not math.isfinite(scores.loss):
        job.diverged = True
        raise ArithmeticError(
            f"The loss is not a number in epoch {epoch}; the weights are lost from here on. Start again "
            "with a smaller --learning_rate."
        )
    return scores


def _batches(count: int, flags: Flags, generator: torch.Generator) -> list[list[int]]:
    """Every frame dataset_len_multiplier times, in random order; the last batch may be smaller."""
    order = torch.randperm(count * flags.dataset_len_multiplier, generator=generator) % count
    size = flags.batch_size
    return [order[start : start + size].tolist() for start in range(0, len(order), size)]


def _channels_last(level: Tensor) -> Tensor:
    return level.contiguous(memory_format=torch.channels_last)


def _validate(job: _Job) -> OriginalScores | None:
    """Score the network on the validation images as they are."""
    if job.validation is None:
        return None
    job.network.eval()
    total = ScoreSum()
    for frame in range(len(job.validation)):
        levels, targets = job.validation.plain(frame)
        total.add(compare(answer(job.network, levels), targets, job.flags.dt_bound)[1])
    return total.mean()


def _save(
    job: _Job, epoch: int, scores: OriginalScores, validated: OriginalScores | None
) -> tuple[str, ...]:
    """Write the checkpoints of this epoch; return their names."""
    names = [LAST]
    if scores.loss < job.best.get(BEST_TRAINING, float("inf")):
        job.best[BEST_TRAINING] = scores.loss
        names.append(BEST_TRAINING)
    if validated is not None:
        job.without += 1
        if validated.loss < job.best.get(BEST_VALIDATION, float("inf")):
            job.best[BEST_VALIDATION], job.without = validated.loss, 0
            names.append(BEST_VALIDATION)
    if epoch % job.flags.save_model_frequency == 0:
        names.append(f"model_{epoch}")
    for name in names:
        save_original(job.folder / name, job.network)
    return tuple(names)


def _suggestions(job: _Job) -> tuple[tuple[str, str], ...]:
    file = str(job.folder / BEST_TRAINING)
    return (
        ("score the best network", job.flags.command(mode="eval", model_file=file)),
        ("see its maps of every frame", job.flags.every_frame(file)),
    )
