"""The layers that show a prediction: how each looks, and how it lies on the image."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from napari.utils.colormaps import DirectLabelColormap
from numpy.typing import NDArray

from napari_jnet.plugin.session import METADATA_KEY, result_of

if TYPE_CHECKING:
    import napari

__all__ = ["RESULT_LAYERS", "add_result_layer", "mark", "placement"]

RESULT_LAYERS = ("segmentation", "distance", "cells")
"""In the order of the viewer, the lowest first."""

_SEGMENTATION = "#35c6f4"


def placement(layer: Any) -> dict[str, Any]:
    """Return how a layer lies in the world, for layers that lie on it."""
    return {
        "scale": tuple(layer.scale),
        "translate": tuple(layer.translate),
        "rotate": np.asarray(layer.rotate),
        "shear": np.asarray(layer.shear),
        "units": tuple(str(unit) for unit in layer.units),
        "axis_labels": tuple(layer.axis_labels),
    }


def mark(result: str) -> dict[str, Any]:
    """Return metadata that say which result a layer is."""
    return {METADATA_KEY: {"result": result}}


def add_result_layer(
    viewer: napari.viewer.Viewer, name: str, data: NDArray[Any], image: Any, **options: Any
) -> Any:
    """Add a result to the viewer, on the image; who is painting keeps the layer under the brush.

    Parameters
    ----------
    viewer
        Gets the layer.
    name
        Of `RESULT_LAYERS`, or "classes".
    data
        As large as the image.
    image
        The layer that it is of.
    **options
        More options of the layer.
    """
    active = viewer.layers.selection.active
    add = viewer.add_image if name == "distance" else viewer.add_labels
    options = {**_look(name), **options}
    layer = add(data, name=name, metadata=mark(name), **options, **placement(image))
    if hasattr(active, "brush_size") and not result_of(active):
        viewer.layers.selection.active = active
    return layer


def _look(name: str) -> dict[str, Any]:
    colours = {None: _SEGMENTATION, 0: "transparent"}
    looks: dict[str, dict[str, Any]] = {
        "segmentation": {"opacity": 0.4, "colormap": DirectLabelColormap(color_dict=colours)},
        # hidden at first: it would lie over all the others
        "distance": {
            "opacity": 0.5,
            "colormap": "magma",
            "blending": "additive",
            "visible": False,
        },
        "cells": {"opacity": 0.6},
        "classes": {"opacity": 0.5},
    }
    return looks[name]
