"""How well the network does on frames that it is not trained on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from napari_jnet.checkpoint import Model
from napari_jnet.config import Config
from napari_jnet.data.stack import AnnotatedFrame, LabelKind
from napari_jnet.inference import answer, output_maps
from napari_jnet.instances import separate
from napari_jnet.losses import loss_function
from napari_jnet.metrics.ctc import seg_frame
from napari_jnet.metrics.pixels import confusion, iou
from napari_jnet.normalization import frame_tensor, standardized_pyramid
from napari_jnet.pyramid import expand
from napari_jnet.targets import Targets, make_targets

__all__ = ["Validation", "ValidationScores"]


@dataclass(frozen=True)
class ValidationScores:
    """Means over the validation frames; None without them, and SEG only of instances."""

    loss: float | None = None
    iou: float | None = None
    seg: float | None = None


class Validation:
    """Validation frames and their targets, made once."""

    def __init__(
        self, frames: Sequence[AnnotatedFrame], config: Config, device: torch.device
    ) -> None:
        self.frames = tuple(frames)
        self.config = config
        self.device = device
        assert config.targets.dt_bound is not None
        self.bound = config.targets.dt_bound
        unit = 2 ** -config.network.resolution_levels[-1]
        self.targets = [self._targets(frame, unit) for frame in self.frames]

    def _targets(self, frame: AnnotatedFrame, unit: int) -> Targets:
        height, width = (side // unit * unit for side in frame.labels.shape)
        labels = frame.labels[unit // 2 : height : unit, unit // 2 : width : unit]
        made = make_targets(
            torch.from_numpy(np.ascontiguousarray(labels))[None].to(self.device),
            max(self.bound / unit, 1.0),
            kind=frame.kind,
            classes=self.config.network.classes,
            metric=self.config.targets.distance_metric,
        )
        return Targets(made.segmentation, made.known, made.distance * unit, made.distance_known)

    def run(self, model: Model) -> ValidationScores:
        """Score a model on every frame."""
        if not self.frames:
            return ValidationScores()
        loss = loss_function(self.config.training.loss)
        losses, segs = [], []
        counts = np.zeros((2, 2), np.int64)
        for frame, targets in zip(self.frames, self.targets, strict=True):
            image = frame_tensor(frame.image, frame.name, model.frame_channels)[None]
            levels = standardized_pyramid(image, model.network.levels)
            output = answer(model.network, [level.to(self.device) for level in levels])
            losses.append(float(loss(output, targets, self.config.network.classes, self.bound)))
            full = expand(output, model.network.top_level, frame.labels.shape).cpu()
            segmentation, distance, _ = output_maps(full, model)
            counts += confusion(np.minimum(frame.labels, 1), segmentation > 0.5)
            if frame.kind is LabelKind.INSTANCES:
                objects = separate(segmentation, distance, self.config.instances, self.bound)
                segs.append(seg_frame(frame.labels, objects))
        seg = float(np.concatenate(segs).mean()) if segs and sum(map(len, segs)) else None
        return ValidationScores(float(np.mean(losses)), float(iou(counts)[1]), seg)
