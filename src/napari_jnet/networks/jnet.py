"""J-Net: a multiresolution network with the expansive path only (Sixta, 2018).

The lowest resolution is segmented first.  Each further level takes the output so far, upsampled, together
with the image at that level, and adds detail.  Modules are nested so that the parameters have
the names of the original's checkpoints.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from napari_jnet.config import NetworkConfig
from napari_jnet.networks.base import SegmentationNetwork


class _Reflection(torch.autograd.Function):
    """Reflection padding that keeps type and memory layout, and so does its gradient."""

    @staticmethod
    def forward(ctx: Any, image: Tensor, side: int) -> Tensor:
        ctx.side = side
        count, channels, height, width = image.shape
        shape = (count, channels, height + 2 * side, width + 2 * side)
        padded = torch.empty(
            shape, dtype=image.dtype, device=image.device, memory_format=torch.channels_last
        )
        inner = slice(side, -side)
        padded[..., inner, inner] = image
        padded[..., :side, inner] = image[..., 1 : side + 1, :].flip(-2)
        padded[..., -side:, inner] = image[..., -side - 1 : -1, :].flip(-2)
        padded[..., :side] = padded[..., side + 1 : 2 * side + 1].flip(-1)
        padded[..., -side:] = padded[..., -2 * side - 1 : -side - 1].flip(-1)
        return padded

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None]:
        (grad,), side = grads, ctx.side

        def fold_rows(part: Tensor) -> Tensor:
            folded = part[..., side:-side, :].clone(memory_format=torch.channels_last)
            folded[..., 1 : side + 1, :] += part[..., :side, :].flip(-2)
            folded[..., -side - 1 : -1, :] += part[..., -side:, :].flip(-2)
            return folded

        inner = fold_rows(grad[..., side:-side])
        inner[..., 1 : side + 1] += fold_rows(grad[..., :side]).flip(-1)
        inner[..., -side - 1 : -1] += fold_rows(grad[..., -side:]).flip(-1)
        return inner, None


def _dense(grad: Tensor) -> Tensor:
    return grad.contiguous(memory_format=torch.channels_last)


class ReflectionPad(nn.ReflectionPad2d):
    """`torch.nn.ReflectionPad2d` that is as fast in bfloat16 and channels-last on the CPU.

    Under autocast, torch pads on the CPU in float32, so that each activation is converted twice.
    """

    def forward(self, image: Tensor) -> Tensor:
        """Pad (N, C, H, W)."""
        side = self.padding[0]
        if (
            side
            and image.requires_grad
            and image.device.type == "cpu"
            and side < min(image.shape[-2:])
        ):
            return _Reflection.apply(image, side)  # type: ignore[no-any-return, no-untyped-call]
        return super().forward(image)


def _layer(inputs: int, outputs: int, kernel: int, momentum: float) -> nn.Sequential:
    return nn.Sequential(
        ReflectionPad(kernel // 2),
        nn.Conv2d(inputs, outputs, kernel),
        nn.LeakyReLU(0.01, inplace=True),
        nn.BatchNorm2d(outputs, momentum=momentum),
    )


def _upsampling(channels: int, kernel: int, momentum: float) -> nn.Sequential:
    # Padding of half a kernel doubles the size for every odd kernel; the original's 1 does so for 3.
    return nn.Sequential(
        nn.ConvTranspose2d(
            channels, channels, kernel, stride=2, padding=kernel // 2, output_padding=1
        ),
        nn.LeakyReLU(0.01, inplace=True),
        nn.BatchNorm2d(channels, momentum=momentum),
    )


def _head(channels: int, outputs: int, kernel: int) -> nn.Sequential:
    return nn.Sequential(ReflectionPad(kernel // 2), nn.Conv2d(channels, outputs, kernel))


class JNet(SegmentationNetwork):
    """J-Net.

    ``structure`` is ``[[layers, channels, kernel], [layers, added channels, kernel], ...]``, one
    entry a resolution level, lowest first; channels add up.
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
        self.segments = nn.ModuleList(self._segments(config))
        self.halo = self._receptive_radius()

    @classmethod
    def depth(cls, config: NetworkConfig, most: int) -> int:
        """Return one level for each part of the structure."""
        return len(config.structure)

    def _segments(self, config: NetworkConfig) -> list[nn.Sequential]:
        segments, channels = [], 0
        momentum, last = config.batchnorm_momentum, len(config.structure) - 1
        for index, (layers, added, kernel) in enumerate(config.structure):
            inputs = channels + added * config.in_channels if index else config.in_channels
            channels = inputs if index else added
            parts = [
                _layer(channels if n else inputs, channels, kernel, momentum) for n in range(layers)
            ]
            parts.append(
                _head(channels, self.outputs, kernel)
                if index == last
                else _upsampling(channels, kernel, momentum)
            )
            segments.append(nn.Sequential(*parts))
        return segments

    def _receptive_radius(self) -> int:
        levels = zip(self.levels, self.config.structure, strict=True)
        radius = sum(
            ((layers + 1) * (kernel // 2) + 1) * 2**-level for level, (layers, _, kernel) in levels
        )
        return int(-(-radius // self.stride) * self.stride)

    def features(self, pyramid: Sequence[Tensor]) -> Tensor:
        """Segment the lowest level, then add the detail of each further one."""
        output: Tensor = self.segments[0](pyramid[0])
        for index in range(1, len(self.segments)):
            image = pyramid[index]
            height, width = image.shape[-2:]
            below, right = height - output.shape[-2], width - output.shape[-1]
            if below or right:
                output = F.pad(output, (0, right, 0, below))
            if output.requires_grad:  # the gradient of a part of the channels is not dense: slow
                output.register_hook(_dense)  # type: ignore[no-untyped-call]
            copies = image.to(output.dtype).repeat(1, self.config.structure[index][1], 1, 1)
            output = self.segments[index](torch.cat([output, copies], dim=1))
        return output
