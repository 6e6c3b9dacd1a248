"""What is predicted: a frame, what is visible, a drawn region, annotated frames, all of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from napari_jnet.data.stack import Stack
from napari_jnet.plugin.layers import channel_axis, current_index, spatial_ndim, spatial_shape
from napari_jnet.plugin.predict.results import placement
from napari_jnet.plugin.session import METADATA_KEY, Session, same

__all__ = ["SCOPES", "Work", "draw_region", "region_layer", "work"]

Part = tuple[slice, slice]

SCOPES: dict[str, tuple[str, str]] = {
    "frame": ("This frame", "The frame that the viewer shows."),
    "visible": (
        "What is visible",
        "The part of this frame that the window shows: zoom in, and it is there in a moment.",
    ),
    "region": ("A drawn region", "The part of this frame around what you have drawn."),
    "annotated": ("Annotated frames", "The frames that are painted on, to compare with."),
    "all": ("All frames", "Every frame, one after the other, in the background."),
    "folder": ("A folder of stacks…", "Every stack in a folder; results go to files, not layers."),
}
"""Name -> what the user reads, and what it means."""

_REGION = "region to predict"
_EDGE = 2  # px; lines of the drawn shapes are seen on any image


@dataclass(frozen=True)
class Work:
    """What a prediction in the window is of.

    Attributes
    ----------
    numbers
        Frame numbers, or None for all.
    region
        Rows and columns, or None for whole frames.
    """

    numbers: tuple[int, ...] | None
    region: Part | None = None

    def positions(self, stack: Stack) -> tuple[int, ...]:
        """Return the positions along the stack."""
        numbers = stack.frame_numbers if self.numbers is None else self.numbers
        return tuple(stack.frame_numbers.index(number) for number in numbers)


def work(scope: str, session: Session, image: Any, stack: Stack) -> Work:
    """Say which frames and which region a scope means now.

    Parameters
    ----------
    scope
        A key of `SCOPES`, but "folder".
    session
        Of the viewer.
    image
        The layer that is predicted.
    stack
        `image_stack` of it.

    Raises
    ------
    ValueError
        If there is nothing of that kind: nothing drawn, nothing annotated, nothing visible.
    """
    if scope == "all":
        return Work(None)
    if scope == "annotated":
        return Work(_annotated(session, stack))
    index = current_index(session.viewer, image)
    number = stack.frame_numbers[index[0] if index else 0]
    if scope == "visible":
        return Work((number,), _visible(session.viewer, image))
    if scope == "region":
        return Work((number,), _drawn(session.viewer, image, index, number))
    if scope == "frame":
        return Work((number,))
    raise ValueError(f"{scope!r} is no scope; known are {', '.join(SCOPES)}.")


def _annotated(session: Session, stack: Stack) -> tuple[int, ...]:
    numbers = tuple(
        stack.frame_numbers[p] for p in session.book.annotated if p < len(stack.frame_numbers)
    )
    if not numbers:
        raise ValueError("No frame is annotated yet; paint a cell first, or predict this frame.")
    return numbers


def _visible(viewer: Any, image: Any) -> Part:
    if viewer.dims.ndisplay == 3:
        raise ValueError(
            "This is the 3-D view; change to the flat view to predict what is visible."
        )
    corners = np.asarray(image.corner_pixels, float)[:, -2:]
    if getattr(image, "multiscale", False):
        corners = corners * np.asarray(image.downsample_factors)[image.data_level][-2:]
    height, width = spatial_shape(image)[-2:]
    (top, left), (bottom, right) = np.floor(corners[0]), np.ceil(corners[1])
    rows = slice(max(int(top), 0), min(int(bottom) + 1, height))
    columns = slice(max(int(left), 0), min(int(right) + 1, width))
    if rows.stop - rows.start < 2 or columns.stop - columns.start < 2:
        raise ValueError(
            f"Nothing of {image.name!r} is visible; zoom out (the house below the layers), or show "
            "the layer."
        )
    return rows, columns


def region_layer(viewer: Any) -> Any | None:
    """Return the layer that a region is drawn in: ours, else the last one of shapes, or None."""
    from napari.layers import Shapes

    shapes = [layer for layer in viewer.layers if isinstance(layer, Shapes)]
    roles = [s.metadata.get(METADATA_KEY, {}).get("role", "") for s in shapes]
    ours = [s for s, role in zip(shapes, roles, strict=True) if role == "region"]
    others = [s for s, role in zip(shapes, roles, strict=True) if not role]
    return (ours or others or [None])[-1]


def draw_region(viewer: Any, image: Any) -> Any:
    """Make ready to draw a rectangle on an image; the layer for it is made where there is none."""
    layer = region_layer(viewer)
    if layer is None or layer.ndim > viewer.dims.ndim:
        layer = viewer.add_shapes(
            ndim=spatial_ndim(image),
            name=_REGION,
            face_color="transparent",
            edge_color="#ffd84d",
            edge_width=_EDGE,
            metadata={METADATA_KEY: {"role": "region"}},
            **placement(image),
        )
    if not any(same(layer, other) for other in list(viewer.layers)[-1:]):
        viewer.layers.move(viewer.layers.index(layer), len(viewer.layers))
    viewer.layers.selection.active = layer
    layer.mode = "add_rectangle"
    return layer


def _drawn(viewer: Any, image: Any, index: Sequence[int], number: int) -> Part:
    layer = region_layer(viewer)
    corners = [] if layer is None else [_corners(layer, shape, image) for shape in layer.data]
    here = [c[:, -2:] for c in corners if _lies_in(c, index)]
    if not here:
        elsewhere = " What is drawn lies in another frame." if corners else ""
        raise ValueError(
            f"Nothing is drawn in frame {number}; press Draw a region and drag a rectangle over "
            f"the cells.{elsewhere}"
        )
    points = np.concatenate(here)
    height, width = spatial_shape(image)[-2:]
    low, high = np.floor(points.min(axis=0) + 0.5), np.ceil(points.max(axis=0) + 0.5)
    rows = slice(int(np.clip(low[0], 0, height)), int(np.clip(high[0], 0, height)))
    columns = slice(int(np.clip(low[1], 0, width)), int(np.clip(high[1], 0, width)))
    if rows.start >= rows.stop or columns.start >= columns.stop:
        raise ValueError("What is drawn lies beside the image; drag a rectangle over the cells.")
    return rows, columns


def _corners(layer: Any, shape: Any, image: Any) -> np.ndarray:
    """Corners of a shape, (n, axes), in pixels of the image; fewer axes where the layer has fewer."""
    world = np.array([layer.data_to_world(point) for point in np.asarray(shape, float)])
    axis, ndim = channel_axis(image), image.ndim
    # a flat layer lies on every frame: its corners say nothing of time, depth and channels
    lead = np.zeros((len(world), max(ndim - world.shape[1], 0)))
    full = np.hstack([lead, world])[:, -ndim:]
    found = np.array([image.world_to_data(point) for point in full])
    said = np.arange(ndim) >= lead.shape[1]
    if axis is not None:
        said[axis] = False
    return found[:, said]


def _lies_in(corners: np.ndarray, index: Sequence[int]) -> bool:
    axes = corners.shape[1] - 2
    wanted = list(index)[len(index) - axes :] if axes else []
    return [round(float(v)) for v in corners[0, :axes]] == wanted
