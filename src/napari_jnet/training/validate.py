"""Scores of a model on the validation frames, and the comparison of two models."""

from __future__ import annotations

import math
from collections.abc import Generator, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from napari_jnet.config import Config
from napari_jnet.evaluation.objects import seg_frame
from napari_jnet.evaluation.pixels import confusion, iou, mean_iou, pixel_accuracy
from napari_jnet.events import ComparisonResult, ModelScore
from napari_jnet.inference.instances import separate
from napari_jnet.inference.tiling import checked_region, frame_logits, output_maps
from napari_jnet.io.stack import AnnotatedFrame
from napari_jnet.labels import UNKNOWN, LabelKind, contingency
from napari_jnet.model import Model, load_model
from napari_jnet.preprocess import (
    expand,
    fit_channels,
    frame_tensor,
    rescaled_size,
    restore,
)
from napari_jnet.training.estimate import check_fit, typical_diameter
from napari_jnet.training.losses import frame_borders, loss_function
from napari_jnet.training.sampler import mirror, pooled_targets, smallest_side
from napari_jnet.training.targets import Targets

SCORING_SHARE = 0.1  # of the training's work that scoring may take
# Work in units of a pixel that is predicted at the top level: of a pixel that is trained on (forward,
# backward, augmentation, optimizer), and of separating and scoring a pixel of the full frame.
TRAINED_PIXEL = 3.5
SCORED_PIXEL = 0.7
ALWAYS_SCORED = 256.0**2  # so few pixels are scored after every epoch, however short


@dataclass(frozen=True)
class ValidationScores:
    """Means over the validation frames; None without frames, and where a score is not informative.

    SEG needs instances.  The IoU of cell needs known cells and known background.
    """

    loss: float | None = None
    iou: float | None = None  # of cell, whatever its class
    seg: float | None = None
    mean_iou: float | None = None
    pixel_accuracy: float | None = None
    class_iou: tuple[float | None, ...] = ()
    class_accuracy: tuple[float | None, ...] = ()

    def by(self, name: str) -> float | None:
        """Return the score of this name, larger is better; None where there is none."""
        if name == "loss":
            return None if self.loss is None else -self.loss
        if name.startswith("class:"):
            number = int(name.removeprefix("class:"))
            return self.class_iou[number] if number < len(self.class_iou) else None
        value: float | None = getattr(self, name)
        return value


class Validation:
    """Scores a network on validation frames of any sizes, by the complete configuration of its training.

    ``class_weights`` are those of the training frames.  With ``trained``, the pixels at the top level that
    an epoch trains on, scoring is limited to about a tenth of the training's work; None scores all frames
    after all epochs.

    Attributes
    ----------
    frames
        Those that are scored: all, or as many as that tenth allows, at least one.  They stay the same, so
        that the scores of all epochs compare.
    interval
        Epochs from one scoring to the next: more than 1 where one frame alone is more than that tenth.
    best_by
        Score that decides which epoch is kept: ``training.best_by``, or "loss" where these frames
        do not have that score.  For "auto" it is "last", or, with early stopping, SEG where labels
        are objects, else the mean IoU.
    """

    def __init__(
        self,
        frames: Sequence[AnnotatedFrame],
        config: Config,
        device: torch.device,
        class_weights: Tensor | None = None,
        *,
        trained: float | None = None,
    ) -> None:
        self.class_weights = class_weights
        self.config = config
        self.device = device
        assert config.targets.dt_bound is not None
        self.dt_bound = config.targets.dt_bound
        self.scale = config.network.scale
        self.unit = 2 ** -config.network.resolution_levels[-1] / self.scale
        self.classes = max(config.network.classes, 2)
        self.given = len(frames)
        self.frames, self.interval = tuple(frames), 1
        if trained is not None and frames:
            self._limit_work(SCORING_SHARE * TRAINED_PIXEL * trained)
        asked = [config.training.best_by]
        if asked == ["auto"]:
            asked = ["seg", "mean_iou"] if config.training.patience else ["last"]
        self.best_by = next(filter(self._has_score, asked), "loss")

    def _limit_work(self, allowed: float) -> None:
        """Choose the frames that this many predicted pixels allow, and how often they are scored."""
        chosen: list[AnnotatedFrame] = []
        work = 0.0
        for frame in _informative_first(self.frames, self.classes):
            more = frame.labels.size * (self.unit**-2 + SCORED_PIXEL)
            if chosen and work + more > allowed:
                break
            chosen.append(frame)
            work += more
        self.frames = tuple(frame for frame in self.frames if frame in chosen)
        self.interval = 1 if work <= max(allowed, ALWAYS_SCORED) else math.ceil(work / allowed)

    def _has_score(self, by: str) -> bool:
        if by in ("loss", "last"):
            return True
        if by == "seg":
            return any(_has_seg(frame) and (frame.labels > 0).any() for frame in self.frames)
        found = set().union(*(known_classes(frame, self.classes) for frame in self.frames))
        if by == "iou":
            return 0 in found and max(found) > 0
        return len(found) > 1 and (by == "mean_iou" or int(by.removeprefix("class:")) in found)

    @property
    def names(self) -> list[str]:
        """The score that decides which epoch is kept, then the names of the frames."""
        return [self.best_by, *(frame.name for frame in self.frames)]

    def messages(self) -> Iterator[str]:
        """Yield messages if not all frames are scored, or not by the requested score."""
        if len(self.frames) < self.given or self.interval > 1:
            often = "each epoch"
            if self.interval > 1:
                often = f"one epoch in {self.interval}, and the last,"
            yield (
                f"To keep scoring to a tenth of the time, {often} is scored on {len(self.frames)} of "
                f"{self.given} validation frames, always the same."
            )
        if self.frames and self.config.training.best_by not in ("auto", self.best_by):
            yield (
                f"training.best_by is {self.config.training.best_by}, a score that the validation frames do "
                "not have; the loss decides which epoch is the best."
            )

    def targets(self, frame: AnnotatedFrame) -> Targets:
        """Make the targets of a frame, at the top level."""
        unit = self.unit
        top = self.config.network.resolution_levels[-1]
        sides = (side // 2**-top for side in rescaled_size(frame.labels.shape, self.scale))
        picked = np.ix_(*(((np.arange(side) + 0.5) * unit).astype(int) for side in sides))
        labels = torch.from_numpy(np.ascontiguousarray(frame.labels[picked]))[None].to(self.device)
        borders = frame_borders(frame, self.config.training, self.device)
        if borders is not None:
            borders = borders[picked][None]
        return pooled_targets(
            labels, unit, self.dt_bound, frame.kind, self.config, self.class_weights, borders
        )

    def run(self, model: Model) -> ValidationScores:
        """Score a model on the chosen frames."""
        if not self.frames:
            return ValidationScores()
        network, how = self.config.network, self.config.network.standardization
        loss = loss_function(self.config.training.loss)
        losses, segs = [], []
        counts = np.zeros((self.classes, self.classes), np.int64)
        for frame in self.frames:
            whole = mirror(frame, smallest_side(model.network.levels, self.scale))
            image = frame_tensor(
                fit_channels(whole.image, network.gray and whole.image.ndim == 3),
                frame.name,
                model.frame_channels,
                standardization=how,
                scale=self.scale,
            )
            output = frame_logits(model, image[None]).to(self.device)
            losses.append(float(loss(output, self.targets(whole), network.classes, self.dt_bound)))
            full = expand(output, model.network.top_level, (image.shape[-2], image.shape[-1])).cpu()
            if self.scale != 1:
                area = checked_region(None, whole.labels.shape)
                full = restore(full[0], area, self.scale, whole.labels.shape)[None]
            height, width = frame.labels.shape
            segmentation, distance, most_probable = output_maps(full[..., :height, :width], model)
            found = segmentation > 0.5 if most_probable is None else most_probable
            counts += confusion(class_labels(frame, self.classes), found, self.classes)
            if _has_seg(frame):
                objects = separate(segmentation, distance, self.config.instances, self.dt_bound)
                segs.append(seg_frame(contingency(frame.labels, objects)))
        seg = float(np.concatenate(segs).mean()) if segs and sum(map(len, segs)) else None
        return _scores(float(np.mean(losses)), seg, counts)


def _informative_first(frames: Sequence[AnnotatedFrame], classes: int) -> list[AnnotatedFrame]:
    """Order frames: first those that show more classes than the ones before, then evenly spread."""
    # 0, 1/2, 1/4, 3/4, 1/8 ...: any beginning of this order is spread over all frames.
    spread = sorted(range(len(frames)), key=lambda n: int(f"{n:032b}"[::-1], 2))
    seen: set[int] = set()
    first: list[int] = []
    known = [known_classes(frame, classes) for frame in frames]
    for n in sorted(spread, key=lambda n: -len(known[n])):
        if known[n] - seen:
            first.append(n)
            seen |= known[n]
    return [frames[n] for n in [*first, *(n for n in spread if n not in first)]]


def _has_seg(frame: AnnotatedFrame) -> bool:
    """Whether SEG is informative: not where everything outside the cells is unknown."""
    bounded = (frame.labels == 0).any() or not (frame.labels == UNKNOWN).any()
    return frame.kind is LabelKind.INSTANCES and bool(bounded)


def known_classes(frame: AnnotatedFrame, classes: int) -> set[int]:
    """Return the classes that known pixels of a frame have, as `class_labels` counts them."""
    # quicker than `unique`
    counts = np.bincount(class_labels(frame, classes).ravel().clip(UNKNOWN) + 1)
    return set((np.flatnonzero(counts[1:])).tolist())


def class_labels(frame: AnnotatedFrame, classes: int) -> NDArray[np.int32]:
    """Return the classes of a frame, (H, W), `UNKNOWN` where unknown; objects are class 1."""
    objects = classes == 2 or frame.kind is LabelKind.INSTANCES
    return np.minimum(frame.labels, 1) if objects else frame.labels


def _scores(loss: float, seg: float | None, counts: NDArray[np.int64]) -> ValidationScores:
    """Return all scores from the confusion matrix of all frames."""
    cells = np.array(
        [[counts[0, 0], counts[0, 1:].sum()], [counts[1:, 0].sum(), counts[1:, 1:].sum()]]
    )
    right, of_class = np.diagonal(counts), counts.sum(axis=1)
    if np.count_nonzero(of_class) < 2:  # one class everywhere would score perfectly
        return ValidationScores(loss=loss, seg=seg)
    return ValidationScores(
        loss=loss,
        iou=_known(iou(cells)[1]) if cells.sum(axis=1).all() else None,
        seg=seg,
        mean_iou=_known(mean_iou(counts)),
        pixel_accuracy=_known(pixel_accuracy(counts)),
        class_iou=tuple(_known(value) for value in iou(counts)),
        class_accuracy=tuple(
            int(n) / int(total) if total else None for n, total in zip(right, of_class, strict=True)
        ),
    )


def _known(score: float) -> float | None:
    return None if np.isnan(score) else float(score)


_TITLES = {"seg": "SEG", "mean_iou": "mean IoU", "iou": "IoU"}  # the most informative first
_EQUAL = 5e-4  # half of the last digit that is written


def compare_models(
    models: Mapping[str, Path | str], frames: Sequence[AnnotatedFrame], *, device: str = "auto"
) -> Generator[ModelScore, None, ComparisonResult]:
    """Score models on the same validation frames, and choose the one to keep.

    Parameters
    ----------
    models
        Run folders or model files by their names, the older first; of equal ones the later is kept,
        since it has seen more.
    frames
        Annotated frames that no model was trained on.
    device
        Where to compute.

    Yields
    ------
    ModelScore
        For each model.

    Returns
    -------
    ComparisonResult
        The model to keep, and a sentence on how they compare.

    Raises
    ------
    ValueError
        Before anything is scored, if there is no model or no frame, a file is not a model, or a model
        has other channels or classes than the frames.

    Notes
    -----
    SEG decides where labels are objects, the mean IoU of all classes where they are classes, and
    the IoU of cell where a frame has no object.
    """
    if not models:
        raise ValueError("There is no model to compare; give at least one.")
    if not frames:
        raise ValueError(
            "There is no validation frame, so the models cannot be compared. Give one annotated frame "
            "the role validation."
        )
    loaded = {name: load_model(path, device=device) for name, path in models.items()}
    for name, model in loaded.items():
        check_fit(model.config.network, frames, f"the {name} model {models[name]}")
        typical = typical_diameter(frames)
        if model.config.prediction.diameter == 0 and typical is not None:  # for cells of any size
            loaded[name] = model.at_diameter(typical)
    scores = []
    for name, model in loaded.items():
        found = Validation(frames, model.config, model.device).run(model)
        path = Path(models[name])
        scores.append(ModelScore(name, path, found.seg, found.iou, found.mean_iou, found.loss))
        yield scores[-1]
    return _compare(scores, f"on {len(frames)} validation frame{'s' if len(frames) > 1 else ''}")


def _compare(scores: Sequence[ModelScore], where: str) -> ComparisonResult:
    by = next((b for b in _TITLES if all(getattr(m, b) is not None for m in scores)), "")
    values = [float(getattr(model, by)) if by else 0.0 for model in scores]
    kept, better = len(scores) - 1, None
    if not by:
        summary = f"The models cannot be compared {where}: no score applies to all of them."
    elif len(scores) == 1:
        summary = f"{_TITLES[by]} {values[0]:.3f} {where}."
    else:
        before, after = values[0], max(values[1:])
        best = max(n for n in range(1, len(scores)) if values[n] == after)
        better = None if abs(after - before) < _EQUAL else after > before
        kept = 0 if better is False else best
        verdict = {None: "The same", True: "Better", False: "Worse"}[better]
        summary = f"{verdict}: {_TITLES[by]} {before:.3f} → {after:.3f} {where}."
    return ComparisonResult(scores[kept].path, better, summary, tuple(scores))
