"""The frozen events that long jobs yield, and a summary of skipped frames."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Message:
    """A message for the user, in one sentence; the job goes on."""

    text: str
    topic: str = ""  # a later message on the same one replaces it
    is_problem: bool = False  # which lasts until a message on its topic says otherwise


@dataclass(frozen=True)
class TrainingStart:
    """The first event of a training: everything is checked, nothing is trained yet."""

    device: str  # such as "NVIDIA H200 (cuda)" or "CPU, 2 threads: torch is built without CUDA"
    training_frames: tuple[str, ...]
    validation_frames: tuple[str, ...]
    parameters: int  # of the network
    dt_bound: float  # pixels of the full frame
    distance: str  # what it learns of it, in words: "distance truncated at 12 px", "no distance"
    start_epoch: int  # 0, or where a resumed training goes on
    batches_per_epoch: int


@dataclass(frozen=True)
class NewFrames:
    """Annotations have changed while training: from now on it learns from these."""

    training_frames: tuple[str, ...]
    validation_frames: tuple[str, ...]
    added: tuple[str, ...]  # those of both that were not there before


@dataclass(frozen=True)
class BatchEnd:
    """One optimiser step.  ``loss`` is None on most steps: it is read from the device every few."""

    epoch: int  # from 1
    batch: int  # from 1
    loss: float | None
    progress: float  # of the whole training, 0 to 1
    elapsed_s: float  # of training, earlier sessions of a resumed run included
    remaining_s: float


@dataclass(frozen=True)
class EpochEnd:
    """One epoch and its validation."""

    epoch: int  # from 1
    train_loss: float
    validation_loss: float | None  # None without validation frames
    iou: float | None  # of cell pixels, known pixels only; 0 to 1
    seg: float | None  # SEG on the validation frames; None where labels are not instances
    learning_rate: float
    images_per_s: float
    elapsed_s: float
    best: bool  # whether it is the best so far, or the last is kept: ``model.pt`` will be this one
    pixel_accuracy: float | None = None  # known pixels of the validation frames
    mean_iou: float | None = None  # over background and cell, or over all classes
    # Of each class from 0 (background, cell where they are two); None where it does not occur.
    class_iou: tuple[float | None, ...] = ()
    class_accuracy: tuple[float | None, ...] = ()  # fraction of its pixels that is found
    memory_mb: float | None = None  # of the GPU, or of the process where there is none; MiB


@dataclass(frozen=True, eq=False)
class Preview:
    """The network's present output for the image that was requested."""

    segmentation: NDArray[np.float32]  # (H, W), probability of cell
    distance: NDArray[np.float32]  # (H, W), as of `FramePrediction`; zeros without a distance head
    epoch: int


@dataclass(frozen=True)
class TrainingEnd:
    """The last event of a training that came to its end."""

    model: Path
    epochs: int
    best_epoch: int  # that ``model`` holds
    elapsed_s: float


@dataclass(frozen=True, eq=False)
class FramePrediction:
    """The output of the network and of the instance step for one frame.

    Arrays are (H, W), or (Z, H, W) for volumes, at the full size of the frame, or of ``region``.
    """

    position: int  # index along the stack
    number: int  # frame number, from the file name
    count: int  # frames of this prediction
    segmentation: NDArray[np.float32]  # probability of cell, 0 to 1
    # pixels, 0 to dt_bound; with targets.relative the depth in its object, 0 to 1, times dt_bound
    distance: NDArray[np.float32]
    instances: NDArray[np.int32]  # 0 = background, objects from 1 without gaps
    classes: NDArray[np.uint8] | None = None  # most probable ones, of more than two
    class_names: tuple[tuple[str, str], ...] = ()  # (name, "#rrggbb") of each class, where known
    region: tuple[slice, slice] | None = None  # rows and columns of the arrays; None = all
    # where neighbouring blocks of a large frame saw other objects beside their seam
    seam_pixels: int = 0
    confidence: NDArray[np.float32] | None = None  # of objects 1, 2 ..., 0 to 1; None if unknown


@dataclass(frozen=True)
class FrameSkipped:
    """A frame that could not be predicted; the job goes on with the others."""

    position: int  # index along the stack
    number: int  # frame number, from the file name
    count: int  # frames of this prediction
    reason: str  # with the remedy


@dataclass(frozen=True)
class ClusterProgress:
    """A worker of a cluster has predicted a frame and written it into its file."""

    done: int
    count: int  # frames that were missing


@dataclass(frozen=True, kw_only=True)
class _ScoreValues:
    """Scores, 0 to 1; None where one does not apply."""

    seg: float | None = None
    det: float | None = None
    iou: float | None = None  # of cell pixels
    mean_iou: float | None = None  # over background and cell, or over all classes
    pixel_accuracy: float | None = None
    ap50: float | None = None  # TP / (TP + FP + FN) of objects, at IoU above 0.5
    ap75: float | None = None
    ap: float | None = None  # mean over IoU 0.5, 0.55 ... 0.95
    v_rand: float | None = None
    v_info: float | None = None


@dataclass(frozen=True, kw_only=True)
class FrameScore(_ScoreValues):
    """The scores of one frame; None where a score does not apply."""

    number: int


@dataclass(frozen=True, kw_only=True)
class Scores(_ScoreValues):
    """The scores of all evaluated frames together, and what they were computed from."""

    objects: int  # reference objects
    missed: int  # reference objects without a match
    frames: tuple[FrameScore, ...]
    result: str
    truth: str
    border: int = 0  # objects wholly within so many pixels of the sides do not count


@dataclass(frozen=True)
class ModelScore:
    """The scores of one of several models on the same validation frames."""

    name: str  # "old", "new", ...
    path: Path
    seg: float | None  # of objects
    iou: float | None  # of cell pixels
    mean_iou: float | None  # over all classes
    loss: float | None  # by the model's own configuration


@dataclass(frozen=True)
class ComparisonResult:
    """Which of several models to keep, and why."""

    kept: Path
    better: bool | None  # than the one before; None where there is none, or no difference
    summary: str  # "Better: SEG 0.740 → 0.810 on 2 validation frames."
    scores: tuple[ModelScore, ...]


TrainEvent = Message | TrainingStart | NewFrames | BatchEnd | EpochEnd | Preview | TrainingEnd
_MOST = 8  # ranges of frames that are named


def summarize_skipped(skipped: Iterable[FrameSkipped]) -> list[str]:
    """Return which frames were skipped, a sentence for each reason: "2 frames skipped (3, 7): ..."."""
    reasons: dict[str, list[FrameSkipped]] = {}
    for frame in skipped:
        reason = re.sub(r"[\d.,]+", "#", frame.reason)  # what frames that fail alike have in common
        reasons.setdefault(reason, []).append(frame)
    sentences = []
    for frames in reasons.values():
        ranges = number_ranges([frame.number for frame in frames])
        shown = ", ".join(ranges[:_MOST] + ["…"] * (len(ranges) > _MOST))
        count = f"{len(frames)} frame{'s' * (len(frames) != 1)}"
        sentences.append(f"{count} skipped ({shown}): {frames[0].reason}")
    return sentences


def number_ranges(numbers: Sequence[int]) -> list[str]:
    """Return ascending numbers as ranges: "0-2", "5"."""
    runs: list[list[int]] = []
    for number in numbers:
        if runs and number == runs[-1][-1] + 1:
            runs[-1].append(number)
        else:
            runs.append([number])
    return [f"{run[0]}-{run[-1]}" if len(run) > 1 else str(run[0]) for run in runs]
