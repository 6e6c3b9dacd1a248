"""The layers that show a prediction: how each looks, and how it lies on the image."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from napari.utils.colormaps import DirectLabelColormap
from napari.utils.transforms import Affine
from numpy.typing import NDArray

from napari_jnet.plugin.layers import channel_axis
from napari_jnet.plugin.session import METADATA_KEY, result_of

if TYPE_CHECKING:
    import napari

__all__ = [
    "RESULT_LAYERS",
    "Answer",
    "add_result_layer",
    "mark",
    "placement",
    "plane_placement",
]

RESULT_LAYERS = ("segmentation", "distance", "cells")
"""In the order of the viewer, the lowest first."""

_SEGMENTATION = "#35c6f4"


@dataclass(frozen=True)
class Answer:
    """What a network says of a pixel, as far as layers and words depend on it.

    Attributes
    ----------
    classes
        Segmentation channels of the network; its classes where there are more than two.
    distance
        Whether it predicts a distance.
    legend
        (name, "#rrggbb") of each class from background; empty for cells.
    """

    classes: int = 1
    distance: bool = True
    legend: tuple[tuple[str, str], ...] = ()

    @property
    def areas(self) -> bool:
        """Whether the areas of classes are meant, not single cells."""
        return self.classes > 2 or bool(self.legend)

    @property
    def names(self) -> tuple[str, ...]:
        """The names of its classes from background."""
        known = tuple(name for name, _ in self.legend)
        usual = ("background", *(f"class {n}" for n in range(1, max(self.classes, 2))))
        return known + usual[len(known) :]

    @property
    def layers(self) -> tuple[str, ...]:
        """The names of its result layers, without that of the classes."""
        return tuple(name for name in RESULT_LAYERS if self.distance or name != "distance")

    def look(self, name: str) -> dict[str, Any]:
        """Return options of a result layer that differ from those for cells."""
        if not self.areas:
            return {}
        foreground = self.names[1] if len(self.names) == 2 else "all but background"
        shows = {"segmentation": foreground, "cells": "each separate piece its own colour"}
        options: dict[str, Any] = {"metadata": mark(name, shows.get(name, ""))}
        if name in shows:  # one of them is seen: else their colours mix
            options["visible"] = self.classes <= 2 and name == "segmentation"
        return options


def placement(layer: Any, index: tuple[int, ...] = ()) -> dict[str, Any]:
    """Return how a layer lies in the world, for layers that lie on it and have no channels.

    Parameters
    ----------
    layer
        An image or labels.
    index
        Leading indices of the first pixel, for a layer that shows a plane of this one only.
    """
    kept = [n for n in range(layer.ndim) if n != channel_axis(layer)]
    linear = Affine(scale=layer.scale, rotate=layer.rotate, shear=layer.shear).linear_matrix
    first = np.zeros(len(kept))
    first[: len(index)] = index
    shear = np.asarray(layer.shear)
    if len(kept) < layer.ndim:
        shear = Affine(shear=shear, ndim=layer.ndim).linear_matrix[np.ix_(kept, kept)]
    matrix = np.asarray(layer.affine.affine_matrix)
    return {
        "scale": tuple(np.asarray(layer.scale)[kept]),
        "translate": tuple(np.asarray(layer.translate)[kept] + linear[np.ix_(kept, kept)] @ first),
        "rotate": np.asarray(layer.rotate)[np.ix_(kept, kept)],
        "shear": shear,
        "affine": matrix[np.ix_([*kept, -1], [*kept, -1])],
        "units": tuple(str(layer.units[n]) for n in kept),
        "axis_labels": tuple(layer.axis_labels[n] for n in kept),
    }


def plane_placement(layer: Any, index: tuple[int, ...]) -> dict[str, Any]:
    """Return how a plane of a layer lies in the world, for a layer of rows and columns only.

    Parameters
    ----------
    layer
        An image or labels.
    index
        Leading indices of the plane.
    """
    points = np.zeros((3, layer.ndim))
    points[:, : len(index)] = index
    points[1, -2], points[2, -1] = 1, 1
    origin, row, column = (np.asarray(layer.data_to_world(p), float)[-2:] for p in points)
    scale = np.asarray(layer.scale, float)[-2:]
    matrix = np.eye(3)
    matrix[:2, :2] = np.stack([row - origin, column - origin], axis=1) / scale
    matrix[:2, 2] = origin
    return {
        "scale": tuple(scale),
        "affine": matrix,
        "units": tuple(str(unit) for unit in layer.units)[-2:],
        "axis_labels": tuple(layer.axis_labels)[-2:],
    }


def mark(result: str, shows: str = "") -> dict[str, Any]:
    """Return metadata that say which result a layer is, and what it shows if that is special."""
    return {METADATA_KEY: {"result": result} | ({"shows": shows} if shows else {})}


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
    options = {**_look(name), "metadata": mark(name), **options}
    layer = add(data, name=name, **options, **placement(image))
    if hasattr(active, "brush_size") and not result_of(active):
        viewer.layers.selection.active = active
    return layer


def _look(name: str) -> dict[str, Any]:
    colours = {None: _SEGMENTATION, 0: "transparent"}
    looks: dict[str, dict[str, Any]] = {
        # hidden at first: they would lie over the cells, or under them, and their colours mix
        "segmentation": {
            "opacity": 0.4,
            "colormap": DirectLabelColormap(color_dict=colours),
            "visible": False,
        },
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
