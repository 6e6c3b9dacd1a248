"""What the original's jobs tell while they run."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

__all__ = [
    "Finished",
    "ImageDone",
    "JobStart",
    "OriginalBatch",
    "OriginalEpoch",
    "OriginalEvent",
    "OriginalScores",
]


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
