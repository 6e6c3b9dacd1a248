"""What the painted cells say about the training, in words, before it begins."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from napari_jnet.config import Config
from napari_jnet.data.stack import UNKNOWN, AnnotatedFrame, LabelKind, known_labels
from napari_jnet.plugin.layers import TrainingInput

__all__ = ["Advice", "advice_words", "advise", "size_title"]

_SIZES = ("full", "half", "quarter", "an eighth of the", "a sixteenth of the")


@dataclass(frozen=True)
class Advice:
    """What the data decide, where nobody says otherwise.

    Attributes
    ----------
    diameter
        Of the typical object, in pixels of the full frame; the length of a stroke.
    objects
        How many it was measured on.
    levels
        Resolution levels, lowest first.
    bound
        Distance bound in pixels.
    min_size
        Smallest object in pixels.
    choices
        Top level -> resolution levels: what may be chosen instead.
    sparse
        Whether labels are strokes, which say neither distances nor how small an object may be.
    """

    diameter: float
    objects: int
    levels: tuple[int, ...]
    bound: float
    min_size: int
    choices: dict[int, tuple[int, ...]] = field(default_factory=dict)
    sparse: bool = False


def advise(data: TrainingInput, config: Config) -> Advice | None:
    """Measure the annotated objects; called in a worker thread, since it imports torch.

    Parameters
    ----------
    data
        What will be learned from; only labels are read.
    config
        The preset; sizes that it gives are kept.

    Returns
    -------
    Advice or None
        None without any object.
    """
    from napari_jnet.adaptation import (
        adapt,
        is_sparse,
        object_areas,
        resolution_levels,
        typical_diameter,
    )

    frames = list(_labels_only(data))
    areas = object_areas(frames) if frames else np.zeros(0)
    if not areas.size:
        return None
    adapted = adapt(config, frames)
    choices = {}
    for top in range(0, -len(_SIZES), -1):
        levels = resolution_levels(config.network, frames, top)
        if levels[-1] == top:
            choices[top] = levels
    return Advice(
        diameter=typical_diameter(frames) or 0.0,
        objects=int(areas.size),
        levels=adapted.network.resolution_levels,
        bound=float(adapted.targets.dt_bound or 0),
        min_size=adapted.instances.min_size,
        choices=choices,
        sparse=all(is_sparse(frame) for frame in frames),
    )


def _labels_only(data: TrainingInput) -> Iterator[AnnotatedFrame]:
    """Give the frames to learn from with blank images: reading those would take long."""
    kind = LabelKind.CLASSES if data.kind is LabelKind.SCRIBBLES else data.kind
    channels = data.image.shape[data.labels.ndim :]
    for index in np.ndindex(tuple(data.labels.shape[:-2])):
        number = data.frame_numbers[index[0] if index else 0]
        if data.roles.get(number, "") in ("unused", "validation"):
            continue
        labels = np.asarray(data.labels[index])
        if not labels.any() or not (labels != UNKNOWN).any():
            continue
        known = known_labels(labels, data.kind, partial=bool(index) and number in data.partial)
        blank: Any = np.broadcast_to(np.float32(0), labels.shape + channels)
        yield AnnotatedFrame("", blank, known, kind)


def size_title(top: int) -> str:
    """Say a resolution level: "half size"."""
    return f"{_SIZES[-top] if -top < len(_SIZES) else f'1/{2**-top} of the'} size"


def advice_words(
    advice: Advice,
    kind: LabelKind,
    *,
    top: int | None = None,
    bound: float | None = None,
    min_size: int = 0,
    distance: bool = True,
) -> str:
    """Say what is learned at which size; values that somebody chose instead are said as chosen."""
    what = "Cells" if kind is LabelKind.INSTANCES else "Painted areas"
    across = f"{what} are about {advice.diameter:.0f} px across"
    if advice.sparse:
        across = f"Strokes are about {advice.diameter:.0f} px long"
    parts = [f"learnt at {size_title(advice.levels[-1] if top is None else top)}"]
    if distance and not advice.sparse:
        parts.append(f"distance bound {advice.bound if bound is None else bound:g} px")
    smallest = min_size or advice.min_size
    if smallest:
        parts.append(f"objects of less than {smallest} pixels left out")
    return f"{across}: {', '.join(parts)}."
