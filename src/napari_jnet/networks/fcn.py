"""FCN-32s, FCN-16s and FCN-8s (Long, Shelhamer, Darrell, 2015): VGG16 with an output for each pixel.

The scores of fc7 are upsampled by 32; FCN-16 adds those of the fourth pooling on the way, FCN-8 also
those of the third.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from napari_jnet.config import NetworkConfig
from napari_jnet.files import check_memory, reading
from napari_jnet.networks.base import SegmentationNetwork
from napari_jnet.safe_load import read_plain

_CONVOLUTIONS = (2, 2, 3, 3, 3)  # 3x3, between two poolings
_CHANNELS = (64, 128, 256, 512, 512)
_HIDDEN = 4096
_STRIDE = 32
_CAFFE = [
    f"conv{group}_{n + 1}" for group, many in enumerate(_CONVOLUTIONS, 1) for n in range(many)
]
_DEVIATIONS = (0.229, 0.224, 0.225)  # of red, green and blue in ImageNet, where white is 1
_UNIT = 3.0  # standard deviations of a frame in one unit of a network's input


class VGG16(nn.Module):
    """Five groups of convolutions, each pooled, then the two dense layers as convolutions.

    ``channels`` are those after each pooling and of fc7; ``radius`` counts the pixels around one that
    influence fc7 at its position.
    """

    def __init__(self, config: NetworkConfig) -> None:
        super().__init__()
        self.channels = [max(1, round(config.width * n)) for n in (*_CHANNELS, _HIDDEN)]
        *convolved, hidden = self.channels
        sides = zip(_CONVOLUTIONS, pairwise([config.in_channels, *convolved]), strict=True)
        self.groups = nn.ModuleList(_group(count, *channels, config) for count, channels in sides)
        self.fc6 = _dense(convolved[-1], hidden, 7, config.dropout)
        self.fc7 = _dense(hidden, hidden, 1, config.dropout)
        # Each convolution reaches one pixel of its level further, each pooling too, fc6 three of the last.
        reach = [(count + 1) * 2**level for level, count in enumerate(_CONVOLUTIONS)]
        self.radius = sum(reach) + 3 * 2 ** len(_CONVOLUTIONS)

    def forward(self, image: Tensor) -> tuple[list[Tensor], Tensor]:
        """Return the outputs of the five poolings, and fc7, for (N, C, H, W), H and W multiples of 32."""
        pooled = []
        for group in self.groups:
            image = F.max_pool2d(group(image), 2)
            pooled.append(image)
        return pooled, self.fc7(self.fc6(image))


def _group(count: int, inputs: int, outputs: int, config: NetworkConfig) -> nn.Sequential:
    layers: list[nn.Module] = []
    for channels in [inputs] + [outputs] * (count - 1):
        layers.append(nn.Conv2d(channels, outputs, 3, padding=1))
        if config.batch_norm:
            layers.append(nn.BatchNorm2d(outputs, momentum=config.batchnorm_momentum))
        layers.append(nn.ReLU(inplace=True))
    return _for_relu(*layers)


def _dense(inputs: int, outputs: int, kernel: int, dropout: float) -> nn.Sequential:
    convolution = nn.Conv2d(inputs, outputs, kernel, padding=kernel // 2)
    return _for_relu(convolution, nn.ReLU(inplace=True), nn.Dropout(dropout))


def _for_relu(*layers: nn.Module) -> nn.Sequential:
    """Initialize weights for ReLU: after fifteen layers, torch's defaults would let the signal vanish."""
    for layer in layers:
        if isinstance(layer, nn.Conv2d):
            nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
            assert layer.bias is not None
            nn.init.zeros_(layer.bias)
    return nn.Sequential(*layers)


def load_vgg16(vgg: VGG16, path: Path) -> None:
    """Copy the weights of a file into a network of width 1, for 3 channels (red, green, blue) or 1.

    The file, of torch or NumPy (.npz), maps names to arrays: ``features.0.weight``, ``classifier.0.weight``,
    ... (torchvision) or ``conv1_1.weight``, ``fc6.weight``, ... (Caffe).  Raise `FileNotFoundError`;
    `ValueError` if it is damaged, has more than plain arrays, or is not a VGG16 that fits.

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
    for name, layer in _named_layers(vgg, caffe):
        for key, kept in layer.state_dict(keep_vars=True).items():
            if key == "num_batches_tracked":
                continue
            if f"{name}.{key}" not in stored:
                raise ValueError(
                    f"{path} has no {name}.{key}. Choose a complete VGG16 of torchvision or Caffe, and set "
                    "network.batch_norm as it has it: true for vgg16_bn, false for vgg16."
                )
            found = stored[f"{name}.{key}"]
            if name in ("features.0", "conv1_1") and key == "weight":
                if caffe:
                    found = found.flip(1) * (255 * torch.tensor(_DEVIATIONS)).view(-1, 1, 1)
                found = _UNIT * (found.sum(dim=1, keepdim=True) if kept.shape[1] == 1 else found)
            if found.ndim == 2 and found.numel() == kept.numel():  # a dense layer
                found = found.reshape(kept.shape)
            if found.shape != kept.shape:
                raise ValueError(
                    f"{path} is not a VGG16 that fits: {name} has shape {tuple(found.shape)}, the network "
                    f"needs {tuple(kept.shape)}. VGG16 needs network.width=1 and frames of 1 or 3 channels."
                )
            with torch.no_grad():
                kept.copy_(found)


def _named_layers(vgg: VGG16, caffe: bool) -> Iterator[tuple[str, nn.Module]]:
    """Yield the layers that have weights, with the names that Caffe or torchvision gives them."""
    names, number = iter(_CAFFE), 0
    for group in vgg.groups:
        for layer in group.children():
            if isinstance(layer, nn.Conv2d) and caffe:
                yield next(names), layer
            elif isinstance(layer, nn.Conv2d | nn.BatchNorm2d):
                yield f"features.{number}", layer
            number += 1
        number += 1  # the pooling
    yield "fc6" if caffe else "classifier.0", vgg.fc6[0]
    yield "fc7" if caffe else "classifier.3", vgg.fc7[0]


def _read(path: Path) -> dict[str, Tensor]:
    if not path.is_file():
        raise FileNotFoundError(
            f"There is no file {path} of pretrained weights. Choose a VGG16 file of torchvision or Caffe."
        )
    damaged = "it is damaged, or has more than names and arrays. Choose a file of plain weights."
    if path.suffix == ".npz":
        with reading(path, "weights", damaged), np.load(path, allow_pickle=False) as archive:
            check_memory(path, sum(member.file_size for member in archive.zip.infolist()))
            return {name: torch.from_numpy(archive[name]) for name in archive.files}
    content = read_plain(path, "weights", damaged)
    if not isinstance(content, Mapping) or not all(
        isinstance(value, Tensor) for value in content.values()
    ):
        raise ValueError(f"{path} does not map names to arrays. Choose the state_dict of a VGG16.")
    return dict(content)


class FCN32(SegmentationNetwork):
    """FCN-32s: one upsampling by 32, no skips.

    Notes
    -----
    The authors' network takes images of any size by a border of 100 zeros.  Here the image is padded
    to a multiple of 32 and fc6 keeps the size, which needs no border and no cropping to an offset; and
    the last upsampling is trained like the others.
    """

    takes = frozenset({"batch_norm", "dropout", "width"})
    skips: ClassVar[tuple[int, ...]] = ()  # poolings whose scores are added, deepest first

    def __init__(self, config: NetworkConfig) -> None:
        super().__init__(config)
        self.levels = (config.resolution_levels[-1],)
        unit = 2**-self.top_level
        self.stride = _STRIDE * unit
        self.vgg = VGG16(config)
        self.score = nn.Conv2d(self.vgg.channels[-1], self.outputs, 1)
        self.skip_scores = nn.ModuleList(
            nn.Conv2d(self.vgg.channels[pooling - 1], self.outputs, 1) for pooling in self.skips
        )
        strides = [_STRIDE, *(2**pooling for pooling in self.skips)]
        steps = [low // high for low, high in pairwise([*strides, 1])]
        self.up = nn.ModuleList(bilinear_upsampling(self.outputs, step) for step in steps)
        # An upsampling reaches one pixel further in its input.
        radius = (self.vgg.radius + sum(strides)) * unit
        self.halo = -(-radius // self.stride) * self.stride

    def features(self, pyramid: Sequence[Tensor]) -> Tensor:
        """Score fc7, upsample, and add the scores of each skip where its resolution is reached."""
        image = pyramid[-1]
        height, width = image.shape[-2:]
        below, right = -height % _STRIDE, -width % _STRIDE
        if below or right:
            image = F.pad(image, (0, right, 0, below), mode="replicate")
        pooled, deepest = self.vgg(image)
        output: Tensor = self.score(deepest)
        for pooling, score, up in zip(self.skips, self.skip_scores, self.up, strict=False):
            output = up(output) + score(pooled[pooling - 1])
        output = self.up[-1](output)
        return output[..., :height, :width]

    def load_pretrained(self, path: Path) -> None:
        """Load the weights of a VGG16 trained on ImageNet from a local file; see `load_vgg16`."""
        load_vgg16(self.vgg, path)


class FCN16(FCN32):
    """FCN-16s: also the scores of the fourth pooling."""

    skips = (4,)


class FCN8(FCN32):
    """FCN-8s: also the scores of the fourth and the third pooling."""

    skips = (4, 3)


def bilinear_upsampling(channels: int, factor: int) -> nn.ConvTranspose2d:
    """Return a transposed convolution by a factor, initialized as bilinear interpolation of each channel."""
    layer = nn.ConvTranspose2d(
        channels, channels, 2 * factor, stride=factor, padding=factor // 2, bias=False
    )
    profile = 1 - (torch.arange(2 * factor) - (factor - 0.5)).abs() / factor
    kernels = torch.eye(channels)[:, :, None, None] * torch.outer(profile, profile)
    with torch.no_grad():
        layer.weight.copy_(kernels)
    return layer
