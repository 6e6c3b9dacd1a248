"""What Measure does in the worker thread, and its measurements as rows of a table."""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from napari_jnet.plugin.jobs.runner import JobMaker, Progress

if TYPE_CHECKING:
    from napari_jnet.measure import Measurement


@dataclass(frozen=True, eq=False)
class MeasureRequest:
    """What is measured."""

    labels: Any  # array as large as the layer
    image: Any | None  # likewise; None = no intensities
    frames: tuple[tuple[int, int], ...]  # position and number of each
    scale: tuple[float, ...]  # of the axes of one frame
    # (axes, axes + 1): pixels of a frame, and a 1 after them -> where they lie, in the unit
    world: NDArray[np.float64]
    unit: str  # "" for pixels


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


def measurement_row(found: Measurement, unit: str) -> dict[str, Any]:
    """Return the values of an object by their titles: in units where the layer has some, else in pixels.

    Places are in pixels as well, for whoever reads the images.
    """
    volume = len(found.centroid) == 3
    size, power, axes = ("volume", "³", "zyx") if volume else ("area", "²", "yx")
    length = unit or "px"
    row = {
        "frame": found.number,
        "cell": found.label,
        f"{size} ({unit}{power})" if unit else f"{size} (px)": found.area
        if unit
        else found.area_px,
        f"diameter ({length})": found.diameter if unit else found.diameter_px,
        f"perimeter ({length})": found.perimeter if unit else found.perimeter_px,
        "mean": found.mean,
        "min": found.minimum,
        "max": found.maximum,
        **{f"{axis} (px)": at for axis, at in zip(axes, found.centroid_px, strict=True)},
    }
    if unit:
        row |= {f"{axis} ({unit})": at for axis, at in zip(axes, found.centroid, strict=True)}
    return row
