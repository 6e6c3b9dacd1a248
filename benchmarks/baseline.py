"""The baselines: the original J-Net's ways, and eager torch in float32 with scipy and scikit-image.

`rows` sets each beside ours, for `bench.py`.  The data are made: a frame with 100 cells; a speed does
not depend on what the weights have learned.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import torch
from scipy import ndimage
from skimage.measure import regionprops
from skimage.segmentation import find_boundaries, watershed
from torch import Tensor, nn
from torch.nn import functional as F

from napari_jnet.config import Config
from napari_jnet.model import Model, move
from napari_jnet.networks import build_network

STRUCTURE = ((16, 64, 3), (2, 8, 3), (2, 8, 3))
LEVELS = (-2, -1, 0)
DT_BOUND = 9
ELASTIC = (50.0, 5.0)  # pixels and sigma, those of the original's example


# The original J-Net's ways, written anew from its description


class OriginalNetwork(nn.Module):
    """The network of the original J-Net: float32, contiguous, one standardised image a level."""

    def __init__(self, structure: Sequence[Sequence[int]] = STRUCTURE) -> None:
        super().__init__()
        self.added = [part[1] for part in structure]
        self.segments = nn.ModuleList()
        channels = 0
        for index, (layers, added, kernel) in enumerate(structure):
            inputs = channels + added if index else 1
            channels += added
            blocks: list[nn.Module] = []
            for layer in range(layers):
                blocks += [
                    nn.ReflectionPad2d(kernel // 2),
                    nn.Conv2d(channels if layer else inputs, channels, kernel),
                    nn.LeakyReLU(0.01),
                    nn.BatchNorm2d(channels),
                ]
            if index == len(structure) - 1:
                blocks += [nn.ReflectionPad2d(kernel // 2), nn.Conv2d(channels, 2, kernel)]
            else:
                blocks += [
                    nn.ConvTranspose2d(channels, channels, kernel, 2, 1, output_padding=1),
                    nn.LeakyReLU(0.01),
                    nn.BatchNorm2d(channels),
                ]
            self.segments.append(nn.Sequential(*blocks))

    def forward(self, levels: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
        """Return the probability of cell and the distance in pixels."""
        out = self.segments[0](levels[0])
        for segment, added, image in zip(
            self.segments[1:], self.added[1:], levels[1:], strict=True
        ):
            rows, columns = (image.shape[axis] - out.shape[axis] for axis in (2, 3))
            out = F.pad(out, (0, columns, 0, rows))
            out = segment(torch.cat([out, image.repeat(1, added, 1, 1)], dim=1))
        return out[:, :1].sigmoid(), out[:, 1:].relu()


def original_levels(image: np.ndarray, device: torch.device) -> list[Tensor]:
    """Pool an image to each level and standardise each on its own."""
    whole = torch.from_numpy(image.astype(np.float32))[None, None].to(device)
    pooled = [F.avg_pool2d(whole, 2**-level) if level else whole for level in LEVELS]
    return [(values - values.mean()) / (3 * values.std()) for values in pooled]


def original_predict(network: OriginalNetwork, image: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Predict one image as the original's script does: gradients are recorded."""
    cell, distance = network(original_levels(image, next(network.parameters()).device))
    return cell.detach().cpu().numpy()[0, 0], distance.detach().cpu().numpy()[0, 0]


def original_targets(labels: np.ndarray, bound: float = DT_BOUND) -> tuple[np.ndarray, np.ndarray]:
    """Segmentation and the city-block distance to a pixel that differs from one of its neighbours."""
    boundary = np.zeros(labels.shape, bool)
    down, right = labels[1:] != labels[:-1], labels[:, 1:] != labels[:, :-1]
    boundary[1:] |= down
    boundary[:-1] |= down
    boundary[:, 1:] |= right
    boundary[:, :-1] |= right
    distance = ndimage.distance_transform_cdt(~boundary, metric="taxicab")
    return (labels > 0).astype(np.float32), np.minimum(distance, bound).astype(np.float32)


def original_sample(
    image: np.ndarray, labels: np.ndarray, random: np.random.Generator, device: torch.device
) -> Any:
    """Make the targets, then warp image and targets three times: rotation, elastic, flip and turn."""
    planes = np.stack([image.astype(np.float32), *original_targets(labels)])
    shift = random.integers(0, planes.shape[1:])
    planes = np.roll(planes, tuple(shift), axis=(1, 2))
    planes = ndimage.rotate(
        planes, random.uniform(0, 360), axes=(1, 2), reshape=False, order=1, mode="reflect"
    )
    alpha, sigma = ELASTIC
    moved = [
        alpha * ndimage.gaussian_filter(random.uniform(-1, 1, planes.shape[1:]), sigma)
        for _ in range(2)
    ]
    where = np.indices(planes.shape[1:]) + np.stack(moved)
    planes = np.stack(
        [ndimage.map_coordinates(plane, where, order=1, mode="reflect") for plane in planes]
    )
    planes = np.rot90(planes, int(random.integers(4)), axes=(1, 2))
    image, cells, distance = planes[:, ::-1].copy()
    maps = (torch.from_numpy(part).to(device) for part in (cells, distance))
    return original_levels(image, device), *maps


def original_step(network: nn.Module, optimizer: torch.optim.Optimizer, sample: Any) -> float:
    """One step at batch 1; reading the three losses waits for the device."""
    levels, cells, distance = sample
    found, depth = network(levels)
    segmentation = F.binary_cross_entropy(found[0, 0], (cells > 0.5).float())
    regression = F.mse_loss(depth[0, 0], distance)
    loss = segmentation + regression
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    return loss.item() + 0 * (segmentation.item() + regression.item())


# The plain ways


class PlainUNet(nn.Module):
    """A U-Net of the default's widths as tutorials write it: eager, float32, contiguous."""

    def __init__(self, channels: int, depth: int = 5) -> None:
        super().__init__()
        widths = [channels * 2**level for level in range(depth)]
        self.down = nn.ModuleList(map(self._pair, [1, *widths[:-1]], widths))
        self.up = nn.ModuleList(
            nn.ConvTranspose2d(low, high, 2, 2) for high, low in pairwise(widths)
        )
        self.merge = nn.ModuleList(self._pair(2 * width, width) for width in widths[:-1])
        self.head = nn.Conv2d(channels, 2, 1)

    @staticmethod
    def _pair(inputs: int, outputs: int) -> nn.Sequential:
        layers: list[nn.Module] = []
        for channels in (inputs, outputs):
            layers += [
                nn.Conv2d(channels, outputs, 3, padding=1),
                nn.BatchNorm2d(outputs),
                nn.ReLU(),
            ]
        return nn.Sequential(*layers)

    def forward(self, levels: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
        """Return the probability of cell and the distance in pixels, of the last level."""
        image, skips = levels[-1], []
        for level, block in enumerate(self.down):
            image = block(F.max_pool2d(image, 2) if level else image)
            skips.append(image)
        for level in reversed(range(len(self.up))):
            image = self.merge[level](torch.cat([skips[level], self.up[level](image)], dim=1))
        out = self.head(image)
        return out[:, :1].sigmoid(), out[:, 1:].relu()


def plain_predict(network: PlainUNet, image: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Predict one image, without gradients."""
    with torch.no_grad():
        cell, distance = network(original_levels(image, next(network.parameters()).device))
    return cell.cpu().numpy()[0, 0], distance.cpu().numpy()[0, 0]


def plain_targets(labels: np.ndarray, bound: float = DT_BOUND) -> tuple[np.ndarray, np.ndarray]:
    """The targets by scikit-image and scipy, for labels that are warped already."""
    boundary = find_boundaries(labels, connectivity=1, mode="thick")
    distance = ndimage.distance_transform_cdt(~boundary, metric="taxicab")
    return (labels > 0).astype(np.float32), np.minimum(distance, bound).astype(np.float32)


def plain_sample(
    image: np.ndarray, labels: np.ndarray, random: np.random.Generator, device: torch.device
) -> Any:
    """Warp image and labels once, then make the targets; all by scipy and scikit-image."""
    alpha, sigma = ELASTIC
    angle = random.uniform(0, 2 * np.pi)
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    middle = (np.array(labels.shape) - 1) / 2
    offsets = np.indices(labels.shape) - middle[:, None, None]
    where = np.einsum("ij,jhw->ihw", turn, offsets) + middle[:, None, None]
    for axis in range(2):
        noise = random.uniform(-1, 1, labels.shape)
        where[axis] += alpha * ndimage.gaussian_filter(noise, sigma)
    image = ndimage.map_coordinates(image.astype(np.float32), where, order=1, mode="reflect")
    labels = ndimage.map_coordinates(labels, where, order=0, mode="reflect")
    cells, distance = plain_targets(labels)
    maps = (torch.from_numpy(part).to(device) for part in (cells, distance))
    return original_levels(image, device), *maps


def plain_instances(cells: np.ndarray, distance: np.ndarray, bound: float) -> np.ndarray:
    """Separate objects by a watershed from the deep parts, and drop small ones in a loop over objects."""
    mask = cells > 0.5
    relief = ndimage.gaussian_filter(distance, 0.1 * bound)
    seeds, _ = ndimage.label(mask & (relief > 0.5 * bound))
    objects = watershed(-relief, seeds, mask=mask)
    kept = np.zeros_like(objects)
    for number, region in enumerate(regionprops(objects), start=1):
        if region.area >= 10:
            part = ndimage.binary_fill_holes(region.image)
            kept[region.slice][part] = number
    return kept


def one_map_an_object(labels: np.ndarray, w0: float, sigma: float) -> np.ndarray:
    """Border weights as they are usually made: every object's distance map, then the two least."""
    nearest = np.full(labels.shape, np.inf)
    second = nearest.copy()
    for number in np.unique(labels[labels > 0]):
        distance = ndimage.distance_transform_edt(labels != number)
        second = np.minimum(second, np.maximum(nearest, distance))
        nearest = np.minimum(nearest, distance)
    return np.where(labels == 0, w0 * np.exp(-((nearest + second) ** 2) / (2 * sigma**2)), 0)


# Data and our configurations


def frame(size: int, cells: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Return an 8-bit frame of blurred cells and its labels: about round cells that touch."""
    random = np.random.default_rng(seed)
    points = np.zeros((size, size), bool)
    side = int(np.ceil(np.sqrt(cells)))
    step = size / side
    rows, columns = np.divmod(np.arange(cells), side)
    centres = (np.stack([rows, columns]) + 0.5) * step + random.uniform(
        -0.2, 0.2, (2, cells)
    ) * step
    rows, columns = centres.astype(int)
    points[rows, columns] = True
    numbers = np.zeros((size, size), np.int32)
    numbers[rows, columns] = np.arange(1, cells + 1)
    apart, nearest = ndimage.distance_transform_edt(~points, return_indices=True)
    labels = np.where(apart < 0.55 * step, numbers[tuple(nearest)], 0)
    light = ndimage.gaussian_filter((labels > 0) * 120.0, 2) + random.normal(60, 8, labels.shape)
    return light.clip(0, 255).astype(np.uint8), labels


def model_of(config: Config, device: torch.device) -> Model:
    """Return an untrained model, in evaluation mode."""
    torch.manual_seed(0)
    network = move(build_network(config.network), device).eval()
    return Model(network, config, Path("untrained"), device)


def jnet_config() -> Config:
    """Return the configuration of the original's network."""
    return Config().replace(
        {
            "network.name": "jnet",
            "network.halve_channels": False,
            "network.deep_supervision": False,
            "network.structure": STRUCTURE,
            "network.resolution_levels": LEVELS,
            "targets.dt_bound": float(DT_BOUND),
            "training.batch_size": 1,
            "training.patch_size": 512,
            "training.epochs": 1,
        }
    )


def unet_config() -> Config:
    """Return the configuration of the default U-Net at full resolution."""
    return Config().replace(
        {
            "network.resolution_levels": (-4, -3, -2, -1, 0),
            "targets.dt_bound": float(DT_BOUND),
            "training.batch_size": 1,
            "training.patch_size": 512,
            "training.epochs": 1,
        }
    )


def tiny_config() -> Config:
    """Return a U-Net of about a thousand weights."""
    levels = {"network.channels": 3, "network.resolution_levels": (-1, 0)}
    return unet_config().replace(levels)
