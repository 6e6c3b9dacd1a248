"""Labels layers to paint on: as large as the image, lying on it, and saying their kind."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from napari.utils.colormaps import CyclicLabelColormap, label_colormap
from numpy.typing import NDArray

from napari_jnet.data.stack import UNKNOWN, LabelKind
from napari_jnet.plugin.correct.edits import hold_labels
from napari_jnet.plugin.layers import (
    channels_first,
    image_stack,
    pixels,
    spatial_shape,
    stack_metadata,
)
from napari_jnet.plugin.legend import legend_options
from napari_jnet.plugin.predict.results import placement
from napari_jnet.plugin.session import METADATA_KEY, Session

__all__ = [
    "CLASS_COLOURS",
    "UNKNOWN_COLOUR",
    "annotation_options",
    "brush_size",
    "default_legend",
    "empty_labels",
    "make_ready",
    "new_annotation",
]

Legend = Sequence[tuple[str, str]]

UNKNOWN_COLOUR = "#dcdcdc"  # a light veil: seen on grey and on black images
CLASS_COLOURS = ("#ff9f1c", "#2ec4b6", "#e84393", "#4d8bff", "#b8e986", "#b18cff", "#ffd84d")
_BACKGROUND_COLOUR = "#5b6abf"  # of scribbles, where background is painted
_CYCLE, _ROUNDS = 49, 20  # napari's colours, repeated: one number in a thousand looks unknown


def new_annotation(
    session: Session, kind: LabelKind | str = LabelKind.INSTANCES, legend: Legend = ()
) -> Any:
    """Add an empty labels layer for the image of the session, and make it ready to paint.

    Parameters
    ----------
    session
        Of the viewer; the new layer becomes its annotation.
    kind
        What the numbers will mean.
    legend
        (name, "#rrggbb") of each number from 0, as `legend.layer_legend` gives; for classes and
        scribbles there is a default.

    Returns
    -------
    napari.layers.Labels
        int32, selected, in paint mode.

    Raises
    ------
    ValueError
        If there is no image, it is no stack or does not say which, or there is no memory for labels
        of its size.
    """
    image, viewer = session.image, session.viewer
    if image is None or viewer is None:
        raise ValueError("There is no image to annotate; open one first.")
    kind = LabelKind(kind)
    stack = image_stack(image)  # what it is must be known before anything is painted
    channels_first(image)
    told = image.metadata.get(METADATA_KEY, {})
    ours = {name: told[name] for name in stack_metadata(stack) if name in told} | {
        "kind": kind.value
    }
    layer = viewer.add_labels(
        empty_labels(spatial_shape(image)),
        name="annotation",
        opacity=0.5,
        metadata={METADATA_KEY: ours},
        **placement(image),
        **annotation_options(kind, legend),
    )
    session.choose("annotation", layer)
    viewer.layers.selection.active = layer
    make_ready(layer, kind)
    layer.mode = "paint"
    return layer


def make_ready(layer: Any, kind: LabelKind, highest: int = 0) -> None:
    """Choose a brush, and a number that the first stroke may paint: of no other cell.

    Parameters
    ----------
    layer
        The labels.
    kind
        What their numbers mean.
    highest
        The highest number that is painted.
    """
    layer.brush_size = brush_size(pixels(layer).shape)
    layer.preserve_labels = kind is LabelKind.INSTANCES
    first = 2 if kind is LabelKind.SCRIBBLES else 1
    number = max(highest, 0) + 1 if kind is LabelKind.INSTANCES else first
    hold_labels(layer, 0, number)
    layer.selected_label = number


def annotation_options(kind: LabelKind | str, legend: Legend = ()) -> dict[str, Any]:
    """Return the options that colour a labels layer of this kind; unknown pixels are grey.

    Parameters
    ----------
    kind
        What the numbers mean.
    legend
        (name, "#rrggbb") of each number from 0; for classes and scribbles there is a default.
    """
    kind = LabelKind(kind)
    if kind is LabelKind.INSTANCES:
        return {"colormap": _cell_colours()}
    return legend_options(tuple(legend) or default_legend(kind), unknown=UNKNOWN_COLOUR)


def default_legend(kind: LabelKind | str) -> tuple[tuple[str, str], ...]:
    """Return (name, "#rrggbb") of each number from 0 for a kind; nothing for cells."""
    return {
        LabelKind.INSTANCES: (),
        LabelKind.CLASSES: (("background", "#000000"), ("cell", CLASS_COLOURS[0])),
        LabelKind.SCRIBBLES: (
            ("not painted", "#000000"),
            ("background", _BACKGROUND_COLOUR),
            ("cell", CLASS_COLOURS[0]),
        ),
    }[LabelKind(kind)]


def brush_size(shape: tuple[int, ...]) -> int:
    """Return a brush for frames of this size, in pixels: about a fiftieth of the shorter side."""
    return int(np.clip(round(min(shape[-2:]) / 50), 3, 40))


def _cell_colours() -> CyclicLabelColormap:
    """Return napari's colours of cells, with the place that `UNKNOWN` falls on in grey.

    A cyclic map shows label v as colour 1 + (v - 1) mod n, so -1 is the last but one.
    """
    colours = label_colormap(_CYCLE).colors
    repeated = np.concatenate([colours[:1], *[colours[1:]] * _ROUNDS]).astype(np.float32)
    grey = [int(UNKNOWN_COLOUR[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    repeated[len(repeated) - 1 + UNKNOWN] = (*grey, 1.0)
    return CyclicLabelColormap(
        name="cells and unknown",
        colors=repeated,
        controls=np.linspace(0, 1, len(repeated) + 1),
        background_value=0,
    )


def empty_labels(shape: tuple[int, ...]) -> NDArray[np.int32]:
    """Return labels of this shape with nothing painted; raises `ValueError` without the memory."""
    try:
        return np.zeros(shape, np.int32)  # takes memory where it is painted on
    except MemoryError as error:
        size = 4 * np.prod(shape, dtype=float) / 2**30
        raise ValueError(
            f"Labels of {' × '.join(str(n) for n in shape)} pixels need {size:.0f} GiB, more than "
            "this computer gives. Open fewer frames, or a smaller part of the image."
        ) from error
