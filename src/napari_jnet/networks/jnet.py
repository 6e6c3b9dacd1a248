"""J-Net: a multiresolution network with the expansive path only (Sixta, 2018).

The lowest resolution is segmented first.  Each further level takes the output so far, upsampled, together
with the image at that level, and adds detail.  Modules are nested so that the parameters have
the names of the original's checkpoints.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from itertools import pairwise
from typing import Any, Self

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from napari_jnet.config import NetworkConfig
from napari_jnet.networks.base import SegmentationNetwork


class _JoinedReflection(torch.autograd.Function):
    """Concatenation of channels and reflection padding in one pass.

    Type and memory layout are kept, and the gradients are dense, which batch normalisation needs to be fast.
    """

    @staticmethod
    def forward(ctx: Any, side: int, *parts: Tensor) -> Tensor:
        ctx.side, ctx.channels = side, [part.shape[1] for part in parts]
        count, _, height, width = parts[0].shape
        padded = torch.empty(
            (count, sum(ctx.channels), height + 2 * side, width + 2 * side),
            dtype=parts[0].dtype,
            device=parts[0].device,
            memory_format=torch.channels_last,
        )
        inner = slice(side, -side)
        for target, part in zip(torch.split(padded, ctx.channels, dim=1), parts, strict=True):
            target[..., inner, inner] = part
        padded[..., :side, inner] = padded[..., side + 1 : 2 * side + 1, inner].flip(-2)
        padded[..., -side:, inner] = padded[..., -2 * side - 1 : -side - 1, inner].flip(-2)
        padded[..., :side] = padded[..., side + 1 : 2 * side + 1].flip(-1)
        padded[..., -side:] = padded[..., -2 * side - 1 : -side - 1].flip(-1)
        return padded

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        side = ctx.side

        def fold_rows(part: Tensor) -> Tensor:
            folded = part[..., side:-side, :].clone(memory_format=torch.channels_last)
            folded[..., 1 : side + 1, :] += part[..., :side, :].flip(-2)
            folded[..., -side - 1 : -1, :] += part[..., -side:, :].flip(-2)
            return folded

        def folded(grad: Tensor) -> Tensor:
            inner = fold_rows(grad[..., side:-side])
            inner[..., 1 : side + 1] += fold_rows(grad[..., :side]).flip(-1)
            inner[..., -side - 1 : -1] += fold_rows(grad[..., -side:]).flip(-1)
            return inner

        parts = torch.split(grads[0], ctx.channels, dim=1)
        needed = ctx.needs_input_grad[1:]
        return None, *(
            folded(part) if need else None for part, need in zip(parts, needed, strict=True)
        )


class ReflectionPad(nn.ReflectionPad2d):
    """`torch.nn.ReflectionPad2d` of images that are joined by their channels.

    On the CPU torch's own pads in float32 under autocast, so that each activation is converted twice.
    """

    def forward(self, *parts: Tensor) -> Tensor:
        """Pad each (N, C, H, W) and return (N, sum of C, H + 2 * side, W + 2 * side)."""
        side: int = self.padding[0]
        parts = tuple(part.to(parts[0].dtype) for part in parts)
        tracing = torch.jit.is_tracing()  # type: ignore[attr-defined, no-untyped-call]
        ours = parts[0].device.type == "cpu" and not tracing
        if ours and 0 < side < min(parts[0].shape[-2:]):
            return _JoinedReflection.apply(side, *parts)  # type: ignore[no-any-return, no-untyped-call]
        return super().forward(torch.cat(parts, dim=1))


def _layer(inputs: int, outputs: int, kernel: int, momentum: float) -> nn.Sequential:
    return nn.Sequential(
        ReflectionPad(kernel // 2),
        nn.Conv2d(inputs, outputs, kernel),
        nn.LeakyReLU(0.01, inplace=True),
        nn.BatchNorm2d(outputs, momentum=momentum),
    )


def _upsampling(inputs: int, outputs: int, kernel: int, momentum: float) -> nn.Sequential:
    # Padding of half a kernel doubles the size for every odd kernel; the original's 1 does so for 3.
    return nn.Sequential(
        nn.ConvTranspose2d(
            inputs, outputs, kernel, stride=2, padding=kernel // 2, output_padding=1
        ),
        nn.LeakyReLU(0.01, inplace=True),
        nn.BatchNorm2d(outputs, momentum=momentum),
    )


def _head(channels: int, outputs: int, kernel: int) -> nn.Sequential:
    return nn.Sequential(ReflectionPad(kernel // 2), nn.Conv2d(channels, outputs, kernel))


class JNet(SegmentationNetwork):
    """J-Net.

    ``structure`` is ``[[layers, channels, kernel], [layers, added channels, kernel], ...]``, one
    entry a resolution level, lowest first.  An upsampling keeps half of the channels; all of them, as the
    original, without ``halve_channels``.

    With ``deep_supervision`` the levels below the last have outputs of their own in training.
    """

    def __init__(self, config: NetworkConfig) -> None:
        super().__init__(config)
        structure, levels = config.structure, config.resolution_levels
        if len(structure) != len(levels):
            raise ValueError(
                f"structure has {len(structure)} segments for {len(levels)} resolution levels "
                f"{list(levels)}; J-Net needs one [layers, channels, kernel] a level."
            )
        self.levels = levels
        self.stride = 2 ** -levels[0]
        segments, handed = self._segments(config)
        self.add_level_heads(handed)
        self.segments = nn.ModuleList(segments)
        self.halo = self._receptive_radius()
        # What to pad the output of a segment with: 0, but before a normalization that `folded` has moved.
        self._fill: list[Tensor | None] = [None] * len(levels)

    @classmethod
    def depth(cls, config: NetworkConfig, most: int) -> int:
        """Return one level for each part of the structure."""
        return len(config.structure)

    def _segments(self, config: NetworkConfig) -> tuple[list[nn.Sequential], list[int]]:
        """Return the layers of each level, and how many channels each hands to the next."""
        segments: list[nn.Sequential] = []
        handed: list[int] = []
        channels = 0
        momentum, last = config.batchnorm_momentum, len(config.structure) - 1
        for index, (layers, added, kernel) in enumerate(config.structure):
            inputs = channels + added * config.in_channels if index else config.in_channels
            width = inputs if index else added
            parts = [_layer(width if n else inputs, width, kernel, momentum) for n in range(layers)]
            if index == last:
                parts.append(_head(width, self.outputs, kernel))
            else:
                channels = -(-width // 2) if config.halve_channels else width
                handed.append(channels)
                parts.append(_upsampling(width, channels, kernel, momentum))
            segments.append(nn.Sequential(*parts))
        return segments, handed

    def folded(self) -> Self:
        """Return a copy to predict with, whose batch normalization is in the convolutions that follow it.

        That is exact, as these are padded by reflection; before an upsampling it would not be.
        """
        network = copy.deepcopy(self).eval()
        ends = {}
        segments: list[Any] = [*network.segments]
        parts = [part for segment in segments for part in segment]
        for part, following in pairwise(parts):
            norm, convolution = part[-1], following[1]
            if not isinstance(norm, nn.BatchNorm2d) or not isinstance(convolution, nn.Conv2d):
                continue
            assert norm.running_var is not None and norm.running_mean is not None
            assert convolution.bias is not None
            with torch.no_grad():
                scale = norm.weight * (norm.running_var + norm.eps).rsqrt()
                shift = norm.bias - norm.running_mean * scale
                end = -shift / scale
                if not end.isfinite().all():  # a channel is switched off, or nearly
                    continue
                weights = convolution.weight[:, : len(scale)]
                convolution.bias += (weights.sum((2, 3)) * shift).sum(1)
                weights *= scale[:, None, None]
            part[-1] = nn.Identity()
            ends[part] = end
        network._fill = [ends.get(segment[-1]) for segment in segments]
        return network

    def _receptive_radius(self) -> int:
        levels = zip(self.levels, self.config.structure, strict=True)
        radius = sum(
            ((layers + 1) * (kernel // 2) + 1) * 2**-level for level, (layers, _, kernel) in levels
        )
        return int(-(-radius // self.stride) * self.stride)

    def features(self, pyramid: Sequence[Tensor]) -> Tensor:
        """Segment the lowest level, then add the detail of each further one."""
        output: Tensor = self.segments[0](pyramid[0])
        lower: list[Tensor] = []
        for index in range(1, len(self.segments)):
            image = pyramid[index]
            if self.training and self.level_heads:
                lower.append(self.level_heads[index - 1](output))
            height, width = image.shape[-2:]
            below, right = height - output.shape[-2], width - output.shape[-1]
            if below or right:
                output, size = F.pad(output, (0, right, 0, below)), output.shape[-2:]
                if (fill := self._fill[index - 1]) is not None:
                    output[..., size[0] :, :] = output[..., size[1] :] = fill[:, None, None]
            copies = image.repeat(1, self.config.structure[index][1], 1, 1)
            parts = self.segments[index].children()
            pad, *layers = (layer for part in parts for layer in part.children())
            output = pad(output, copies)
            for layer in layers:
                output = layer(output)
        size = output.shape[-2:]
        enlarged = [F.interpolate(low, size=size, mode="bilinear") for low in lower]
        return torch.cat([output, *enlarged]) if enlarged else output
