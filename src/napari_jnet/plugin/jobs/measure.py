"""What Measure does in the worker thread, and its measurements as rows of tables."""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from napari_jnet.plugin.jobs.runner import JobMaker
from napari_jnet.plugin.ui.table import Column

if TYPE_CHECKING:
    from napari_jnet.measure import Measurement


@dataclass(frozen=True, eq=False)
class Request:
    """What is measured.

    Attributes
    ----------
    labels, image
        Arrays as large as the layers; no image = no intensities.
    frames
        Position and number of each frame.
    scale, unit
        Of the axes of one frame; the unit is "" for pixels.
    world
        (axes, axes + 1): pixels of a frame, and a 1 after them -> where they lie, in the unit.
    """

    labels: Any
    image: Any | None
    frames: tuple[tuple[int, int], ...]
    scale: tuple[float, ...]
    world: NDArray[np.float64]
    unit: str

    @property
    def volume(self) -> bool:
        """Whether a frame is a volume."""
        return len(self.scale) == 3


@dataclass(frozen=True, eq=False)
class MeasuredFrame:
    """The objects of one frame."""

    position: int
    objects: list[Measurement]
    done: int
    count: int


def measuring(request: Request) -> JobMaker:
    """Make the job that measures frame by frame."""

    def job() -> Generator[MeasuredFrame, None, None]:
        from napari_jnet.measure import measure_frame

        for done, (position, number) in enumerate(request.frames, start=1):
            labels = _frame(request.labels, request.labels.ndim, position)
            image = None
            if request.image is not None:
                image = _frame(request.image, request.labels.ndim, position)
            objects = [
                replace(found, centroid=tuple(map(float, request.world @ (*found.centroid_px, 1))))
                for found in measure_frame(labels, image, number=number, scale=request.scale)
            ]
            yield MeasuredFrame(position, objects, done, len(request.frames))

    return job


def _frame(data: Any, ndim: int, position: int) -> NDArray[Any]:
    return np.asarray(data if ndim == 2 else data[position])


def columns(request: Request) -> list[Column]:
    """Return the columns of the window: in units where the layer has some, else in pixels."""
    unit = request.unit or "px"
    size, power = ("volume", "³") if request.volume else ("area", "²")
    area = f"{unit}{power}" if request.unit else "px"
    axes = ("z", "y", "x")[-len(request.scale) :]
    digits = 2 if request.unit else 1
    outline = "Length of the outline; – where pixels are not square, and in volumes."
    return [
        Column("frame", "The number of the frame; a click goes to the cell."),
        Column("cell", "The number of the cell in the layer."),
        Column(f"{size} ({area})", f"Size of the cell, in {area}.", digits if request.unit else 0),
        Column(f"diameter ({unit})", "Of the disc (or ball) that is as large.", digits),
        Column(f"perimeter ({unit})", outline, digits),
        Column("mean", "Mean of the image inside the cell.", 2),
        Column("min", "Smallest value of the image inside the cell.", 2),
        Column("max", "Largest value of the image inside the cell.", 2),
        *(Column(f"{axis} ({unit})", "Where the middle of the cell is.", digits) for axis in axes),
    ]


def row(request: Request, found: Measurement) -> tuple[Any, ...]:
    """Return an object as a row of `columns`."""
    if request.unit:
        sizes = (found.area, found.diameter, found.perimeter)
        centroid = found.centroid
    else:
        sizes = (found.area_px, found.diameter_px, found.perimeter_px)
        centroid = found.centroid_px
    values = (found.mean, found.minimum, found.maximum)
    return (found.number, found.label, *sizes, *values, *centroid)


def file_columns(request: Request) -> list[Column]:
    """Return the columns of a file: in pixels, and in units where the layer has some."""
    size, power = ("volume", "3") if request.volume else ("area", "2")
    axes = ("z", "y", "x")[-len(request.scale) :]
    titles = ["frame", "label", f"{size} (px)", "diameter (px)", "perimeter (px)"]
    titles += [f"{axis} (px)" for axis in axes]
    titles += ["mean intensity", "min intensity", "max intensity"]
    if unit := request.unit:
        titles += [f"{size} ({unit}^{power})", f"diameter ({unit})", f"perimeter ({unit})"]
        titles += [f"{axis} ({unit})" for axis in axes]
    return [Column(title) for title in titles]


def file_row(request: Request, found: Measurement) -> tuple[Any, ...]:
    """Return an object as a row of `file_columns`."""
    pixels = (found.area_px, found.diameter_px, found.perimeter_px, *found.centroid_px)
    values = (found.mean, found.minimum, found.maximum)
    world = (found.area, found.diameter, found.perimeter, *found.centroid) if request.unit else ()
    return (found.number, found.label, *pixels, *values, *world)
