"""How well the network does on frames that it is not trained on."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from napari_jnet.checkpoint import Model
from napari_jnet.config import Config
from napari_jnet.data.stack import AnnotatedFrame, LabelKind
from napari_jnet.inference import answer, output_maps
from napari_jnet.instances import separate
from napari_jnet.losses import loss_function
from napari_jnet.metrics.ctc import seg_frame
from napari_jnet.metrics.pixels import confusion, iou, mean_iou, pixel_accuracy
from napari_jnet.normalization import frame_tensor, standardized_pyramid
from napari_jnet.pyramid import expand
from napari_jnet.targets import Targets, make_targets
from napari_jnet.weights import frame_borders, pixel_weights

__all__ = ["Validation", "ValidationScores", "class_labels"]


@dataclass(frozen=True)
class ValidationScores:
    """Means over the validation frames; None without them, and SEG only of instances."""

    loss: float | None = None
    iou: float | None = None  # of cell, whatever its class
    seg: float | None = None
    mean_iou: float | None = None
    pixel_accuracy: float | None = None
    class_iou: tuple[float | None, ...] = ()
    class_accuracy: tuple[float | None, ...] = ()

    def by(self, name: str) -> float | None:
        """Return what makes an epoch the best: larger is better; None where it cannot be said.

        Parameters
        ----------
        name
            As ``training.best_by``.
        """
        if name == "loss":
            return None if self.loss is None else -self.loss
        if name.startswith("class:"):
            number = int(name.removeprefix("class:"))
            return self.class_iou[number] if number < len(self.class_iou) else None
        value: float | None = getattr(self, name)
        return value


class Validation:
    """Validation frames and their targets, made once."""

    def __init__(
        self,
        frames: Sequence[AnnotatedFrame],
        config: Config,
        device: torch.device,
        class_weights: Tensor | None = None,
    ) -> None:
        self.class_weights = class_weights  # of the training frames
        self.frames = tuple(frames)
        self.config = config
        self.device = device
        assert config.targets.dt_bound is not None
        self.bound = config.targets.dt_bound
        unit = 2 ** -config.network.resolution_levels[-1]
        self.targets = [self._targets(frame, unit) for frame in self.frames]

    def _targets(self, frame: AnnotatedFrame, unit: int) -> Targets:
        height, width = (side // unit * unit for side in frame.labels.shape)
        picked = slice(unit // 2, height, unit), slice(unit // 2, width, unit)
        made = make_targets(
            torch.from_numpy(np.ascontiguousarray(frame.labels[picked]))[None].to(self.device),
            max(self.bound / unit, 1.0),
            kind=frame.kind,
            classes=self.config.network.classes,
            metric=self.config.targets.distance_metric,
        )
        borders = frame_borders(frame, self.config.training, self.device)
        picked_borders = None if borders is None else borders[picked][None]
        return dataclasses.replace(
            made,
            distance=made.distance * unit,
            weight=pixel_weights(made.segmentation, self.class_weights, picked_borders),
        )

    def run(self, model: Model) -> ValidationScores:
        """Score a model on every frame."""
        if not self.frames:
            return ValidationScores()
        how = self.config.network.standardization
        loss = loss_function(self.config.training.loss)
        losses, segs = [], []
        classes = max(self.config.network.classes, 2)
        counts = np.zeros((classes, classes), np.int64)
        for frame, targets in zip(self.frames, self.targets, strict=True):
            image = frame_tensor(
                frame.image, frame.name, model.frame_channels, standardization=how
            )[None]
            levels = standardized_pyramid(image, model.network.levels, standardization=how)
            output = answer(model.network, [level.to(self.device) for level in levels])
            losses.append(float(loss(output, targets, self.config.network.classes, self.bound)))
            full = expand(output, model.network.top_level, frame.labels.shape).cpu()
            segmentation, distance, likeliest = output_maps(full, model)
            found = segmentation > 0.5 if likeliest is None else likeliest
            counts += confusion(class_labels(frame, classes), found, classes)
            if frame.kind is LabelKind.INSTANCES:
                objects = separate(segmentation, distance, self.config.instances, self.bound)
                segs.append(seg_frame(frame.labels, objects))
        seg = float(np.concatenate(segs).mean()) if segs and sum(map(len, segs)) else None
        return _scores(float(np.mean(losses)), seg, counts)


def class_labels(frame: AnnotatedFrame, classes: int) -> NDArray[np.int32]:
    """Return the classes of a frame, (H, W), `UNKNOWN` where nobody knows; objects are class 1."""
    objects = classes == 2 or frame.kind is LabelKind.INSTANCES
    return np.minimum(frame.labels, 1) if objects else frame.labels


def _scores(loss: float, seg: float | None, counts: NDArray[np.int64]) -> ValidationScores:
    """Read all scores off the confusion table of all frames."""
    cells = np.array(
        [[counts[0, 0], counts[0, 1:].sum()], [counts[1:, 0].sum(), counts[1:, 1:].sum()]]
    )
    right, of_class = np.diagonal(counts), counts.sum(axis=1)
    return ValidationScores(
        loss=loss,
        iou=_known(iou(cells)[1]),
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
