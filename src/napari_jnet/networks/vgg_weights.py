"""Weights of VGG16 from a local file, as torchvision or as Caffe names them."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from napari_jnet.checkpoint_file import read_plain
from napari_jnet.data.readable import check_room, reading
from napari_jnet.networks.vgg import VGG16

__all__ = ["load_vgg16"]

_CAFFE = (
    *(f"conv{group}_{n}" for group, count in enumerate((2, 2, 3, 3, 3), 1) for n in range(1, count + 1)),
    "fc6",
    "fc7",
)  # fmt: skip
_DENSE = ("classifier.0", "classifier.3")  # of torchvision; the third gives the classes of ImageNet
_DEVIATIONS = (0.229, 0.224, 0.225)
"""Of red, green and blue in ImageNet, where white is 1."""
_UNIT = 3.0
"""Standard deviations of a frame that one unit stands for in what our networks see."""


def load_vgg16(vgg: VGG16, path: Path) -> None:
    """Put the weights of a file into a network.

    Parameters
    ----------
    vgg
        Of width 1, for 3 channels (red, green, blue) or 1.
    path
        A torch file, or a NumPy archive (.npz), that maps names to arrays: ``features.0.weight``,
        ``classifier.0.weight``, ... (torchvision) or ``conv1_1.weight``, ``fc6.weight``, ... (Caffe).

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ValueError
        If it is damaged, holds more than plain arrays, or no VGG16 that fits.

    Notes
    -----
    Dense layers become convolutions of the same numbers.  The first layer is changed so that it sees
    what it was trained on: torchvision's takes red, green, blue in standard deviations; Caffe's takes
    blue, green, red from 0 to 255 less their means; our frames come in units of three standard
    deviations.  For frames of one channel, the weights of the three are summed, as if the frame were
    grey.
    """
    stored = _read(path)
    caffe = "conv1_1.weight" in stored
    names = list(_CAFFE) if caffe else _torchvision_names(stored)
    learned = vgg.learned()
    if len(names) != len(learned):
        raise ValueError(
            f"{path} holds no VGG16: there are {max(len(names) - 2, 0)} convolutions named features.N of 13, "
            "and none is named conv1_1. Give a file of VGG16 from torchvision or Caffe."
        )
    normalised = any(name.endswith("running_mean") for name in stored)
    if normalised != (learned[0][1] is not None):
        have = ("without", "with") if normalised else ("with", "without")
        raise ValueError(
            f"The network is {have[0]} batch normalisation, {path} is of a VGG16 {have[1]}. "
            f"Set network.batch_norm to {str(normalised).lower()}."
        )
    for place, (name, (convolution, normalisation)) in enumerate(zip(names, learned, strict=True)):
        weight = _named(stored, f"{name}.weight", path)
        if place == 0:
            weight = _first_weight(weight, convolution.in_channels, caffe)
        assert convolution.bias is not None
        _put(convolution.weight, weight, name, path)
        _put(convolution.bias, _named(stored, f"{name}.bias", path), name, path)
        if normalisation is not None:
            following = f"features.{int(name.split('.')[1]) + 1}"
            for key, kept in normalisation.state_dict(keep_vars=True).items():
                if key != "num_batches_tracked":
                    _put(kept, _named(stored, f"{following}.{key}", path), following, path)


def _read(path: Path) -> dict[str, Tensor]:
    if not path.is_file():
        raise FileNotFoundError(
            f"There is no file {path} of pretrained weights. Give a VGG16 of torchvision or Caffe."
        )
    damaged = (
        "it is damaged, or holds more than names and arrays; it is not read any further. Give a file of "
        "plain weights."
    )
    if path.suffix == ".npz":
        with reading(path, "weights", damaged), np.load(path, allow_pickle=False) as archive:
            check_room(path, sum(member.file_size for member in archive.zip.infolist()))
            return {name: torch.from_numpy(archive[name]) for name in archive.files}
    content = read_plain(path, "weights", damaged)
    if not isinstance(content, Mapping) or not all(
        isinstance(value, Tensor) for value in content.values()
    ):
        raise ValueError(f"{path} does not map names to arrays. Give the state_dict of a VGG16.")
    return dict(content)


def _torchvision_names(stored: Mapping[str, Tensor]) -> list[str]:
    numbers = [
        int(found[1])
        for name, value in stored.items()
        if (found := re.fullmatch(r"features\.(\d+)\.weight", name)) and value.ndim == 4
    ]
    return [*(f"features.{number}" for number in sorted(numbers)), *_DENSE]


def _named(stored: Mapping[str, Tensor], name: str, path: Path) -> Tensor:
    if name not in stored:
        raise ValueError(f"{path} has no {name}. Give a whole VGG16, with its dense layers.")
    return stored[name]


def _first_weight(weight: Tensor, channels: int, caffe: bool) -> Tensor:
    """Turn the weights for three colours into those for a standardised frame of 1 or 3 channels."""
    if caffe:
        weight = weight.flip(1) * (255 * torch.tensor(_DEVIATIONS)).view(-1, 1, 1)
    return _UNIT * (weight if channels == 3 else weight.sum(dim=1, keepdim=True))


def _put(kept: Tensor, found: Tensor, name: str, path: Path) -> None:
    """Copy; a dense layer gets the shape of the convolution that it is."""
    shape: Sequence[int] = kept.shape
    if found.ndim == 2 and len(shape) == 4 and found.numel() == kept.numel():
        found = found.reshape(shape)
    if found.shape != kept.shape:
        raise ValueError(
            f"{path} holds no VGG16 that fits: {name} has shape {tuple(found.shape)}, the network needs "
            f"{tuple(shape)}."
        )
    with torch.no_grad():
        kept.copy_(found)
