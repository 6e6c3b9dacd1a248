"""What Measure does in the worker thread, and its measurements as rows of a table."""

from __future__ import annotations

from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from napari_jnet.plugin.jobs.runner import JobMaker, Progress

if TYPE_CHECKING:
    from napari_jnet.measure import Measurement


@dataclass(frozen=True, eq=False)
class MeasuredFrame:
    """The objects of one frame."""

    position: int
    objects: list[Measurement]


def measuring(
    labels: Any,
    image: Any | None,
    frames: Sequence[tuple[int, int]],
    scale: tuple[float, ...],
    world: NDArray[np.float64],
    confidence: Mapping[int, NDArray[np.float32]],
) -> JobMaker:
    """Return the job that measures labels and image, None for no intensities, frame by frame.

    ``frames`` are position and number of each.  ``world``, (axes, axes + 1), takes pixels of a frame, and a 1
    after them, to where they lie, in the unit of ``scale``.  ``confidence`` is that of predicted cells, by
    position.
    """

    def job() -> Generator[MeasuredFrame | Progress, None, None]:
        from napari_jnet.measure import measure_frame

        for done, (position, number) in enumerate(frames, start=1):
            at = ... if labels.ndim == 2 else position
            shown = None if image is None else np.asarray(image[at])
            measured = measure_frame(
                np.asarray(labels[at]),
                shown,
                number=number,
                scale=scale,
                confidence=confidence.get(position),
            )
            objects = [
                replace(found, centroid=tuple(map(float, world @ (*found.centroid_px, 1))))
                for found in measured
            ]
            yield MeasuredFrame(position, objects)
            yield Progress(done, len(frames), f"frame {done} of {len(frames)}")

    return job


def measurement_row(found: Measurement, unit: str) -> dict[str, Any]:
    """Return the values of an object by their titles: in units where the layer has some, else in pixels.

    Places are in pixels as well, for whoever reads the images.
    """
    volume = len(found.centroid) == 3
    size, power, axes = ("volume", "³", "zyx") if volume else ("area", "²", "yx")
    length, area = unit or "px", found.area if unit else found.area_px
    row = {
        "frame": found.number,
        "cell": found.label,
        f"{size} ({unit}{power})" if unit else f"{size} (px)": area,
        f"diameter ({length})": found.diameter if unit else found.diameter_px,
        f"perimeter ({length})": found.perimeter if unit else found.perimeter_px,
        "mean": found.mean,
        "min": found.minimum,
        "max": found.maximum,
        "confidence": found.confidence,
        **{f"{axis} (px)": at for axis, at in zip(axes, found.centroid_px, strict=True)},
    }
    if unit:
        row |= {f"{axis} ({unit})": at for axis, at in zip(axes, found.centroid, strict=True)}
    return row
