"""Prediction of one image, and the diameter of its cells."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from napari_jnet.config import SMALLEST_DIAMETER, PredictionConfig
from napari_jnet.inference.instances import separate
from napari_jnet.inference.tiling import (
    TRANSFORMS,
    Cut,
    Maps,
    Region,
    Transform,
    checked_region,
    cut_whole,
    predict_region,
    split_maps,
)
from napari_jnet.model import Model
from napari_jnet.preprocess import fit_channels, frame_tensor, rescaled_region, restore

# Diameters in pixels that are tried to estimate that of the cells, evenly spaced by their logarithm.
_TRIED = np.geomspace(8, 128, 9)
_SEEN = 320  # pixels a side, as the network sees them, of the part of a frame that is tried
_NOT_BACKGROUND = 0.05  # probability of cell from which on a pixel says how sure the network is


def predict_image(
    model: Model, image: NDArray[Any], *, tile: int | None = None, name: str = "The image"
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Segment one image; `predict_maps` without the classes.

    Returns
    -------
    segmentation, distance
        Each (H, W) float32, as in `Maps`.
    """
    maps = predict_maps(model, image, tile=tile, name=name)
    return maps.segmentation, maps.distance


def predict_maps(
    model: Model,
    image: NDArray[Any],
    *,
    tile: int | None = None,
    prediction: PredictionConfig | None = None,
    name: str = "The image",
    region: Region | None = None,
) -> Maps:
    """Segment one image, (H, W) or (H, W, C), or a region of it; raises `ValueError` if it does not fit.

    Statistics are those of the whole image, also for a region, whose maps are the same part of the
    maps of the whole.  Without overlap, tiles begin on the network's stride and
    are read with a halo that covers its receptive field: tiled equals untiled.  With overlap, the
    network sees each window alone, and probabilities and distances of all windows on a pixel are
    averaged.  So are those of the transforms of test-time augmentation.
    """
    settings = settings_of(model, prediction, tile)
    image = fit_channels(image, model.config.network.gray and image.ndim == 3)
    if settings.diameter is not None:
        diameter = settings.diameter or estimate_diameter(model, [image])
        model = model if diameter is None else model.at_diameter(diameter)
    how = model.config.network.standardization
    frame = frame_tensor(image, name, model.frame_channels, standardization=how, scale=model.scale)[
        None
    ]
    size = (frame.shape[-2], frame.shape[-1])
    _check_diameter(model, name, image.shape[:2], size)

    def cut(transform: Transform) -> Cut:
        return cut_whole(model, transform.apply(frame))

    full_size = image.shape[:2]
    area = checked_region(region, full_size)
    return average_transforms(model, cut, size, settings, area, full_size, name)


def _check_diameter(model: Model, name: str, size: Sequence[int], seen: tuple[int, int]) -> None:
    """Raise `ValueError` where a frame, made smaller for large cells, is too small for the network."""
    needed = 2 * 2 ** -min(model.network.levels)
    if model.scale >= 1 or min(seen) >= needed:
        return
    diameter = model.config.network.diameter
    largest = math.floor(10 * min(size) * model.scale * (diameter or 0) / needed) / 10
    if diameter is not None and largest >= SMALLEST_DIAMETER:
        raise ValueError(
            f"{name} has {size[0]} x {size[1]} pixels, too few for cells of {diameter:g} px: the network "
            f"would see {seen[0]} x {seen[1]} and needs {needed}. Give a diameter of at most {largest:g} px, "
            "or larger frames."
        )


def average_transforms(
    model: Model,
    cut: Callable[[Transform], Cut],
    size: tuple[int, int],
    settings: PredictionConfig,
    area: Region,
    full_size: Sequence[int],
    name: str,
) -> Maps:
    """Average the maps of an area of the full frame over the transforms of test-time augmentation.

    ``size`` is that of the frame as the network sees it.
    """
    total: Tensor | None = None
    seen = area if model.scale == 1 else rescaled_region(area, model.scale, full_size)
    for transform in TRANSFORMS[: settings.tta]:
        shape = (size[1], size[0]) if transform.transposed else size
        part = transform.region(seen, size)
        changed = predict_region(model, cut(transform), shape, settings, part)
        one = transform.invert(changed)[0]
        total = one if total is None else total.add_(one)
    assert total is not None
    mean = total / settings.tta if settings.tta > 1 else total
    if model.scale != 1:
        mean = restore(mean, area, model.scale, full_size)
    maps = split_maps(mean, model)
    if not (np.isfinite(maps.segmentation).all() and np.isfinite(maps.distance).all()):
        raise ValueError(
            f"{name}: {model.path.name} predicts values that are NaN or infinite. Its weights are "
            "damaged or its training failed: choose another model."
        )
    return maps


def settings_of(
    model: Model, prediction: PredictionConfig | None, tile: int | None
) -> PredictionConfig:
    """Return the settings of a prediction: those given, else the model's; with this side of the tiles."""
    settings = prediction or model.config.prediction
    return settings if tile is None else settings.changed(tile=tile)


def estimate_diameter(model: Model, images: Sequence[NDArray[Any]]) -> float | None:
    """Estimate the median diameter of the cells in images, in pixels.

    The network predicts the middle of each image at nine sizes.  Where it is surest, cells have the size that
    it knows; the median of those that it finds there, and once more at that size, is the estimate.

    Parameters
    ----------
    model
        With a known diameter of its own cells.
    images
        (H, W) or (H, W, C) each.

    Returns
    -------
    float or None
        None where the network finds no cell at any size.

    Raises
    ------
    ValueError
        If the model does not know the diameter of its cells, or an image does not fit it.
    """
    found = [_median_cell(model, images, diameter) for diameter in _TRIED.tolist()]
    surest, median = max(found)
    if not surest:
        return None
    _, closer = _median_cell(model, images, max(median, _TRIED[0] / 2))
    return max(float(f"{closer or median:.3g}"), SMALLEST_DIAMETER)


def _median_cell(
    model: Model, images: Sequence[NDArray[Any]], diameter: float
) -> tuple[float, float]:
    """Return how sure a network is of images with cells of this diameter, 0 to 1, and the median found.

    It is the mean of |2p - 1| over the pixels whose probability p is not near 0: nearly 1 where all outlines
    are sharp.  Both are 0 where no cell is found.
    """
    scaled = model.at_diameter(diameter)
    sure, pixels, diameters = 0.0, 0, [np.zeros(0)]
    for image in images:
        part = _middle(image, _SEEN / scaled.scale)
        if min(part.shape[:2]) * scaled.scale < model.network.stride:
            continue
        maps = predict_maps(scaled, part, prediction=PredictionConfig(tta=1))
        cells = separate(maps.segmentation, maps.distance, scaled.config.instances, scaled.dt_bound)
        diameters.append(np.sqrt(4 / math.pi * np.bincount(cells.ravel())[1:]))
        maybe = maps.segmentation[maps.segmentation > _NOT_BACKGROUND]
        sure += float(np.abs(2 * maybe - 1).sum())
        pixels += maybe.size
    every = np.concatenate(diameters)
    return (sure / pixels, float(np.median(every))) if every.size else (0.0, 0.0)


def _middle(image: NDArray[Any], side: float) -> NDArray[Any]:
    top, left = (max(int((length - side) / 2), 0) for length in image.shape[:2])
    return image[top : top + math.ceil(side), left : left + math.ceil(side)]
