"""What Measure does in the worker thread, and its measurements as rows of tables."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from napari_jnet.plugin.jobs.runner import JobMaker, Progress

if TYPE_CHECKING:
    from napari_jnet.measure import Measurement


@dataclass(frozen=True, eq=False)
class MeasureRequest:
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


@dataclass(frozen=True, eq=False)
class MeasuredFrame:
    """The objects of one frame."""

    position: int
    objects: list[Measurement]


def measuring(request: MeasureRequest) -> JobMaker:
    """Return the job that measures frame by frame."""
    single = request.labels.ndim == 2

    def job() -> Generator[MeasuredFrame | Progress, None, None]:
        from napari_jnet.measure import measure_frame

        for done, (position, number) in enumerate(request.frames, start=1):
            labels, image = (
                None if data is None else np.asarray(data if single else data[position])
                for data in (request.labels, request.image)
            )
            assert labels is not None
            objects = [
                replace(found, centroid=tuple(map(float, request.world @ (*found.centroid_px, 1))))
                for found in measure_frame(labels, image, number=number, scale=request.scale)
            ]
            yield MeasuredFrame(position, objects)
            yield Progress(done, len(request.frames), f"frame {done} of {len(request.frames)}")

    return job


Values = dict[str, Any]  # by the title of the column


def table_values(found: Measurement, unit: str) -> Values:
    """Return an object as a row of the table: in units where the layer has some, else in pixels."""
    size, power, axes = _geometry(found.centroid)
    area = f"{unit}{'³' if power == '3' else '²'}" if unit else "px"
    in_units = (found.area, found.diameter, found.perimeter, found.centroid)
    in_pixels = (found.area_px, found.diameter_px, found.perimeter_px, found.centroid_px)
    measured, diameter, perimeter, centroid = in_units if unit else in_pixels
    return {
        "frame": found.number,
        "cell": found.label,
        f"{size} ({area})": measured,
        f"diameter ({unit or 'px'})": diameter,
        f"perimeter ({unit or 'px'})": perimeter,
        "mean": found.mean,
        "min": found.minimum,
        "max": found.maximum,
        **{f"{axis} ({unit or 'px'})": at for axis, at in zip(axes, centroid, strict=True)},
    }


def file_values(found: Measurement, unit: str) -> Values:
    """Return an object as a line of a file: in pixels, and in units where the layer has some."""
    size, power, axes = _geometry(found.centroid)
    values = {
        "frame": found.number,
        "label": found.label,
        f"{size} (px)": found.area_px,
        "diameter (px)": found.diameter_px,
        "perimeter (px)": found.perimeter_px,
        **{f"{axis} (px)": at for axis, at in zip(axes, found.centroid_px, strict=True)},
        "mean intensity": found.mean,
        "min intensity": found.minimum,
        "max intensity": found.maximum,
    }
    if unit:
        values |= {
            f"{size} ({unit}^{power})": found.area,
            f"diameter ({unit})": found.diameter,
            f"perimeter ({unit})": found.perimeter,
            **{f"{axis} ({unit})": at for axis, at in zip(axes, found.centroid, strict=True)},
        }
    return values


def _geometry(place: Sequence[float]) -> tuple[str, str, str]:
    """Return what a size is called, its power and the axes, of a plane or a volume."""
    return ("volume", "3", "zyx") if len(place) == 3 else ("area", "2", "yx")
