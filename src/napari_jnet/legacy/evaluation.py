"""Scores and pictures of a trained network, as the original's modes eval and vis."""

from __future__ import annotations

from collections.abc import Generator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from napari_jnet.device import describe_device
from napari_jnet.files import atomic_write, make_folder
from napari_jnet.inference.tiling import answer
from napari_jnet.io.results import MARK
from napari_jnet.legacy.checkpoints import choose_structure
from napari_jnet.legacy.flags import Flags, NamedImage, named_images
from napari_jnet.legacy.training import (
    Finished,
    ImageDone,
    JobStart,
    OriginalEvent,
    OriginalScores,
    ScoreSum,
    compare,
)
from napari_jnet.model import Model, load_model
from napari_jnet.preprocess import frame_tensor, standardized_pyramid
from napari_jnet.training.sampler import load_full_frames


def evaluate(flags: Flags) -> Generator[OriginalEvent, None, None]:
    """Run a network over images: write its maps, and in mode eval score them.

    Parameters
    ----------
    flags
        With ``mode="eval"`` or ``mode="vis"``.

    Yields
    ------
    OriginalEvent
        `JobStart`, an `ImageDone` for each image, `Finished`.

    Raises
    ------
    ValueError, FileNotFoundError, OSError
        If the flags, an image or the folder cannot be used.

    Notes
    -----
    Loss and L1s are means over the pixels of an image; the average is over images.
    """
    choose_structure(flags)
    images = list(named_images(flags))
    model = load_model(
        flags.model_file,
        resolution_levels=flags.resolution_levels,
        dt_bound=flags.dt_bound,
        device="cuda" if flags.cuda else "cpu",
    )
    folder = Path(flags.output_dir)
    make_folder(folder)
    names = tuple(image.label for image in images)
    yield JobStart(describe_device(model.device), (), names, model.network.parameter_count())
    total = ScoreSum()
    for image in images:
        if flags.mode == "eval":
            output, values = _scored(model, image, flags.dt_bound)
            total.add(values)
            scores = OriginalScores(*values.tolist())
            yield ImageDone(image.label, scores, _draw(output, image.label, folder, flags))
        else:
            output = _answer(model, image)
            yield ImageDone(image.label, None, _draw(output, image.label, folder, flags))
    suggestions: tuple[tuple[str, str], ...] = ()
    if flags.mode == "eval":
        suggestions = (("see the maps of every frame", flags.every_frame(flags.model_file)),)
    yield Finished(total.mean() if total.count else None, suggestions)


def _scored(model: Model, image: NamedImage, bound: float) -> tuple[Tensor, Tensor]:
    """Return the answer for one image, and its loss and L1s."""
    frame = load_full_frames([image.annotated()], model.network.levels, bound, model.device)
    levels, targets = frame.plain(0)
    output = answer(model.network, levels)
    return output, compare(output, targets, bound)[1]


def _answer(model: Model, image: NamedImage) -> Tensor:
    pixels = frame_tensor(
        image.stack.frame(image.number),
        image.label,
        model.frame_channels,
        standardization=model.config.network.standardization,
    )
    levels = standardized_pyramid(
        pixels[None],
        model.network.levels,
        standardization=model.config.network.standardization,
    )
    return answer(model.network, [level.to(model.device) for level in levels])


def _draw(output: Tensor, label: str, folder: Path, flags: Flags) -> tuple[Path, ...]:
    """Write ``seg_<label>.png`` and ``dist_<label>.png``, 8-bit, at the network's resolution."""
    maps = {
        "seg": (output[0, 0].sigmoid(), 1.0),
        "dist": (output[0, 1].relu(), flags.dt_bound),
    }
    files = []
    for name, (values, top) in maps.items():
        path = folder / f"{name}_{label}.png"
        with atomic_write(path) as partial:
            _write_png(partial, _grey(values, top, flags.png_scaling))
        files.append(path)
    return tuple(files)


def _grey(values: Tensor, top: float, scaling: str) -> NDArray[np.uint8]:
    """Scale a map to 0..255: from 0 to ``top``, or from its own smallest to its largest value."""
    bottom = 0.0
    if scaling == "image":
        bottom, top = float(values.min()), float(values.max())
    scaled = (values - bottom) / max(top - bottom, 1e-12) * 255
    grey: NDArray[np.uint8] = scaled.clamp(0, 255).round().to(torch.uint8).cpu().numpy()
    return grey


def _write_png(path: Path, grey: NDArray[Any]) -> None:
    from PIL import Image
    from PIL.PngImagePlugin import PngInfo

    mark = PngInfo()
    mark.add_text(MARK, "a map")  # so that it is not taken for an image of a folder
    Image.fromarray(grey).save(path, format="PNG", pnginfo=mark)
