"""Prediction: whole frames, tiles or overlapping windows, one frame of a stack after the other."""

from __future__ import annotations

import dataclasses
from collections.abc import Generator, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from napari_jnet.checkpoint import Model
from napari_jnet.config import InstanceConfig, PredictionConfig
from napari_jnet.data.stack import Stack
from napari_jnet.events import FramePrediction, Notice
from napari_jnet.inference_maps import Maps, average_maps, output_maps, probabilities
from napari_jnet.inference_symmetries import SYMMETRIES
from napari_jnet.inference_tiles import Part, at_level, tiles, windows
from napari_jnet.instances import separate
from napari_jnet.normalization import frame_tensor, is_constant, standardized_pyramid
from napari_jnet.pyramid import expand

__all__ = ["Maps", "answer", "output_maps", "predict", "predict_image", "predict_maps"]

TILED_FROM = 2048 * 2048
"""Frames with more pixels than this are predicted in tiles unless told otherwise."""
DEFAULT_TILE = 1024


def predict(
    model: Model,
    stack: Stack,
    *,
    frames: Sequence[int] | None = None,
    instances: InstanceConfig | None = None,
    tile: int | None = None,
    prediction: PredictionConfig | None = None,
) -> Generator[FramePrediction | Notice, None, None]:
    """Segment a stack, one frame at a time.

    Parameters
    ----------
    model
        From `load_model`.
    stack
        What to segment; volumes are segmented plane by plane and separated as a whole.
    frames
        Frame numbers; None takes all.
    instances
        How to separate objects; None takes what the model was trained with.
    tile
        Side of the tiles in pixels, 0 for whole frames; None takes that of ``prediction``.
    prediction
        Tiles, overlap and symmetries; None takes what the model was trained with.

    Yields
    ------
    FramePrediction
        For each frame, in order.
    Notice
        For a frame that is constant: it has nothing to segment and comes back empty.

    Raises
    ------
    ValueError
        If a frame does not fit the network, or is damaged.
    """
    numbers = tuple(stack.frame_numbers if frames is None else frames)
    separation = instances or model.config.instances
    settings = _settings(model, prediction, tile)
    for number in numbers:
        frame = stack.frame(number)
        maps, empty = _predict_planes(model, frame, stack, number, settings)
        if empty:
            yield Notice(
                f"{stack.name}, frame {number}: {empty} plane(s) have one value in every pixel; "
                "they have nothing to segment and stay empty."
            )
        yield FramePrediction(
            position=stack.frame_numbers.index(number),
            number=number,
            count=len(numbers),
            segmentation=maps.segmentation,
            distance=maps.distance,
            instances=separate(maps.segmentation, maps.distance, separation, model.dt_bound),
            classes=maps.classes,
            legend=model.config.targets.legend,
        )


def _predict_planes(
    model: Model, frame: NDArray[Any], stack: Stack, number: int, settings: PredictionConfig
) -> tuple[Maps, int]:
    """Predict the one plane of a frame, or each of a volume; also how many were constant."""
    name = f"{stack.name}, frame {number}"
    volume = "Z" in stack.axes[1:]
    planes = frame if volume else frame[None]
    made, empty = [], 0
    for plane in planes:
        if is_constant(frame_tensor(plane, name, model.frame_channels)):
            empty += 1
            made.append(_nothing(plane.shape[:2], model))
        else:
            made.append(predict_maps(model, plane, prediction=settings, name=name))
    if not volume:
        return made[0], empty
    classes = [maps.classes for maps in made if maps.classes is not None]
    together = Maps(
        np.stack([maps.segmentation for maps in made]),
        np.stack([maps.distance for maps in made]),
        np.stack(classes) if classes else None,
    )
    return together, empty


def _nothing(shape: tuple[int, ...], model: Model) -> Maps:
    zeros = np.zeros(shape, np.float32)
    classes = None if model.config.network.classes <= 2 else zeros.astype(np.uint8)
    return Maps(zeros, zeros.copy(), classes)


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
) -> Maps:
    """Segment one image.

    Parameters
    ----------
    model
        From `load_model`.
    image
        (H, W) or (H, W, C), any real type, any size that has pixels at every level.
    tile
        Side of the tiles in pixels, 0 for the whole image; None takes that of ``prediction``.
    prediction
        Tiles, overlap and symmetries; None takes what the model was trained with.
    name
        For the error messages.

    Returns
    -------
    Maps
        Each (H, W).

    Raises
    ------
    ValueError
        If the image does not fit the network, is too small for its levels, or is not finite.

    Notes
    -----
    Statistics are those of the whole image.  Without overlap, tiles begin on the network's stride and
    are read with a halo that covers its receptive field: tiled equals untiled.  With overlap, the
    network sees each window alone, and probabilities and distances of all windows on a pixel are
    averaged.  So are those of the symmetries.
    """
    settings = _settings(model, prediction, tile)
    frame = frame_tensor(image, name, model.frame_channels)[None]
    turns = SYMMETRIES[: settings.symmetries]
    answers = [turn.undo(_frame_answer(model, turn.apply(frame), settings)) for turn in turns]
    return average_maps(answers, model)


def _settings(
    model: Model, prediction: PredictionConfig | None, tile: int | None
) -> PredictionConfig:
    settings = prediction or model.config.prediction
    return settings if tile is None else dataclasses.replace(settings, tile=tile)


def _frame_answer(model: Model, frame: Tensor, settings: PredictionConfig) -> Tensor:
    """Probabilities and distance of a frame (1, C, H, W), at its size: (1, outputs, H, W)."""
    size = (frame.shape[-2], frame.shape[-1])
    levels = standardized_pyramid(frame, model.network.levels)
    if settings.overlap:
        averaged = _window_answers(model, levels, size, settings)
        return expand(averaged, model.network.top_level, size)
    tile = settings.tile
    if tile is None:
        tile = DEFAULT_TILE if size[0] * size[1] > TILED_FROM else 0
    output = _tile_answers(model, levels, size, tile)
    return probabilities(expand(output, model.network.top_level, size), model)


def _tile_answers(model: Model, levels: list[Tensor], size: tuple[int, int], tile: int) -> Tensor:
    """Logits and distance at the top level, from tiles that fit together exactly."""
    network, top = model.network, model.network.top_level
    output = levels[-1].new_zeros((1, network.outputs, *levels[-1].shape[-2:]))
    for inner, outer in tiles(size, tile, network.stride, network.halo):
        result = _part_answer(model, levels, outer)
        (rows, columns), offset = at_level(inner, top), at_level(outer, top)
        output[..., rows, columns] = result[
            ...,
            rows.start - offset[0].start : rows.stop - offset[0].start,
            columns.start - offset[1].start : columns.stop - offset[1].start,
        ]
    return output


def _window_answers(
    model: Model, levels: list[Tensor], size: tuple[int, int], settings: PredictionConfig
) -> Tensor:
    """Probabilities and distance at the top level, averaged over windows that overlap."""
    network, top = model.network, levels[-1]
    total = top.new_zeros((1, network.outputs, *top.shape[-2:]))
    count = top.new_zeros(top.shape[-2:])
    tile = settings.tile or DEFAULT_TILE
    for window in windows(size, tile, settings.overlap, network.stride):
        rows, columns = at_level(window, network.top_level)
        result = _part_answer(model, levels, window)
        total[..., rows, columns] += probabilities(result, model)
        count[rows, columns] += 1
    return total / count


def _part_answer(model: Model, levels: list[Tensor], part: Part) -> Tensor:
    """Logits and distance of a part of a frame, at the top level, on the CPU."""
    cut = [
        level[(..., *at_level(part, k))]
        for level, k in zip(levels, model.network.levels, strict=True)
    ]
    return answer(model.network, [level.to(model.device) for level in cut]).cpu()


def answer(network: torch.nn.Module, levels: list[Tensor]) -> Tensor:
    """Run the network without gradients; float32, (N, outputs, h, w)."""
    with torch.inference_mode():
        levels = [level.contiguous(memory_format=torch.channels_last) for level in levels]
        output: Tensor = network(levels)
        return output.float()
