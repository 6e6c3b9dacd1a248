"""Sizes, intensities and positions of objects, one row an object."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import skimage
from numpy.typing import NDArray


@dataclass(frozen=True)
class Measurement:
    """One object of one frame.

    Attributes
    ----------
    number, label
        Frame number and label of the object.
    area_px, area
        Pixels, and units squared; voxels and units cubed in a volume.
    diameter_px, diameter
        Of the disc (ball) of the same area (volume).
    perimeter_px, perimeter
        Length of the outline of a plane object; ``perimeter`` is None where pixels are not square,
        both in a volume.
    mean, minimum, maximum
        Of the image's values inside; None without an image.
    centroid_px, centroid
        (row, column), or (plane, row, column); in pixels, and in units from the middle of the first one.
    confidence
        How sure the prediction is of it, 0 to 1; None where that is not known.
    """

    number: int
    label: int
    area_px: float
    area: float
    diameter_px: float
    diameter: float
    perimeter_px: float | None
    perimeter: float | None
    mean: float | None
    minimum: float | None
    maximum: float | None
    centroid_px: tuple[float, ...]
    centroid: tuple[float, ...]
    confidence: float | None = None


def measure_frame(
    labels: NDArray[np.integer],
    image: NDArray[Any] | None = None,
    *,
    number: int = 0,
    scale: Sequence[float] = (),
    confidence: NDArray[np.floating] | None = None,
) -> list[Measurement]:
    """Measure the objects of one frame.

    Parameters
    ----------
    labels
        Integers (H, W) or (Z, H, W); 0 = background, objects from 1, negative = unknown.
    image
        The frame, of the same pixels; (H, W, C) is measured as the mean of its channels.
    number
        Of the frame.
    scale
        Units a pixel for each axis of `labels`; 1 where not given.
    confidence
        Of the objects 1, 2 ..., as `FramePrediction` has it; NaN, and objects beyond, are not known.

    Returns
    -------
    list of Measurement
        In the order of the labels.

    Raises
    ------
    ValueError
        If the image and the labels have different pixels, or the axes of the scale do not fit; if
        labels are not integers, the image does not hold real numbers, or a scale is 0 or not finite.

    Notes
    -----
    Perimeters are those of `skimage.measure.perimeter` (4-connected, after Benkrid and Crookes).
    An object that touches the border of the frame is measured as far as it is seen.
    """
    ndim = labels.ndim
    scale = tuple(float(s) for s in scale) or (1.0,) * ndim
    if len(scale) != ndim:
        raise ValueError(
            f"The scale has {len(scale)} numbers, the labels have {ndim} axes; give one number an axis."
        )
    if not all(np.isfinite(step) and step for step in scale):
        raise ValueError(f"The scale is {scale}; a pixel has a size that is finite and not 0.")
    if labels.dtype != bool and not np.issubdtype(labels.dtype, np.integer):
        raise ValueError(f"Labels are of type {labels.dtype}; labels are integers. Convert them.")
    intensity = None if image is None else _grey(image, labels)
    names = ["label", "area", "equivalent_diameter_area", "centroid"]
    names += ["perimeter"] if ndim == 2 else []
    names += [] if intensity is None else ["intensity_mean", "intensity_min", "intensity_max"]
    # renumbered, or the memory would grow with the largest number
    known, _, originals = skimage.segmentation.relabel_sequential(np.maximum(labels, 0))  # type: ignore[no-untyped-call]
    table = skimage.measure.regionprops_table(known, intensity, properties=names)  # type: ignore[no-untyped-call]
    table["label"] = originals[table["label"]]
    square = len({round(s, 9) for s in scale}) == 1
    volume = float(np.prod(np.abs(scale)))
    found = []
    sure = {n: float(c) for n, c in enumerate(() if confidence is None else confidence, start=1)}
    for values in zip(*table.values(), strict=True):
        row = {name: float(value) for name, value in zip(table, values, strict=True)}
        centroid = tuple(row[f"centroid-{axis}"] for axis in range(ndim))
        diameter, perimeter = row["equivalent_diameter_area"], row.get("perimeter")
        found.append(
            Measurement(
                number=number,
                label=int(values[0]),
                area_px=row["area"],
                area=row["area"] * volume,
                diameter_px=diameter,
                diameter=diameter * volume ** (1 / ndim),
                perimeter_px=perimeter,
                perimeter=perimeter * abs(scale[-1]) if perimeter is not None and square else None,
                mean=row.get("intensity_mean"),
                minimum=row.get("intensity_min"),
                maximum=row.get("intensity_max"),
                centroid_px=centroid,
                centroid=tuple(s * c for s, c in zip(scale, centroid, strict=True)),
                confidence=None if math.isnan(c := sure.get(int(values[0]), math.nan)) else c,
            )
        )
    return found


def _grey(image: NDArray[Any], labels: NDArray[np.integer]) -> NDArray[Any]:
    """Return the image, or the mean of its channels; it must fit the labels."""
    if image.dtype.kind not in "biuf":
        raise ValueError(
            f"The image holds values of type {image.dtype}; an image holds real numbers. Convert it "
            "(for example to its magnitude)."
        )
    if image.shape == labels.shape:
        return image
    if image.ndim == labels.ndim + 1 and image.shape[:-1] == labels.shape:
        return np.asarray(image[..., :3].mean(axis=-1))
    raise ValueError(
        f"The image has {image.shape} pixels, the labels {labels.shape}; both must cover the same "
        "pixels. Choose the image that the labels belong to."
    )
