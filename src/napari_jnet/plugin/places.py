"""Where things lie in a stack: the numbers of its frames, and leading the viewer to a place."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from napari_jnet.plugin.layers import image_stack, pixels, spatial_shape
from napari_jnet.plugin.session import METADATA_KEY, Session

__all__ = ["frame_numbers", "show_place"]

_CANVAS = 600.0  # pixels of the screen, about: the smaller side of the canvas
_FARTHEST, _NEAREST = 8.0, 1.5  # how many times the object fits into the canvas


def show_place(viewer: Any, layer: Any, at: Sequence[float], size: float) -> None:
    """Show a place of a layer.

    Parameters
    ----------
    viewer
        Its sliders and its camera are moved; where the zoom shows the object well, it is kept.
    layer
        Whose pixels `at` counts.
    at
        Data coordinates, one for each axis of the layer.
    size
        Of the object there, in pixels across.
    """
    world = np.asarray(layer.data_to_world(tuple(at)), float)
    displayed = viewer.dims.ndisplay
    first = viewer.dims.ndim - layer.ndim
    for axis in range(layer.ndim - displayed):
        viewer.dims.set_point(first + axis, float(world[axis]))
    shown = min(displayed, layer.ndim)
    camera = viewer.scene.camera
    centre = list(camera.center)
    centre[-shown:] = (float(w) for w in world[-shown:])
    camera.center = tuple(centre)
    across = max(size, 1.0) * float(np.mean(np.abs(layer.scale[-2:])))
    nearest, farthest = _CANVAS / (_NEAREST * across), _CANVAS / (_FARTHEST * across)
    camera.zoom = float(np.clip(camera.zoom, farthest, nearest))


def frame_numbers(session: Session, layer: Any) -> tuple[tuple[int, ...], str]:
    """Return the frame numbers of a labels layer, by position, and its axes.

    Those of the image where it has as many pixels, else what the layer itself knows.
    """
    shape, image = tuple(pixels(layer).shape), session.image
    if image is not None and spatial_shape(image) == shape:
        stack = image_stack(image)
        return stack.frame_numbers, stack.axes.removesuffix("C")
    count = 1 if len(shape) == 2 else shape[0]
    told = layer.metadata.get(METADATA_KEY, {}).get("frame_numbers") or ()
    return tuple(map(int, told)) if len(told) == count else tuple(range(count)), "TYX"
