"""One warp a batch: the image is sampled once, bilinearly, its label ids once, by nearest neighbour."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

__all__ = ["sample_grid", "sample_images", "sample_labels"]


def sample_grid(
    centres: Tensor, matrix: Tensor, field: Tensor | None, size: int, sizes: Tensor
) -> Tensor:
    """Positions in the frame of every pixel of a batch of patches.

    Parameters
    ----------
    centres
        (N, 2), (y, x) of the patch centres in pixels of the frame.
    matrix
        (N, 2, 2), from offsets in the patch to offsets in the frame.
    field
        (N, 2, size, size) displacements in pixels, or None.
    size
        Side of the patch.
    sizes
        (N, 2), height and width of each frame.

    Returns
    -------
    Tensor
        (N, size, size, 2), (y, x) in pixels; positions beyond the frame are reflected back into it.
    """
    offsets = torch.arange(size, dtype=torch.float32, device=centres.device) - (size - 1) / 2
    patch = torch.stack(torch.meshgrid(offsets, offsets, indexing="ij"))  # (2, size, size)
    grid = torch.einsum("nij,jhw->nihw", matrix, patch) + centres[:, :, None, None]
    if field is not None:
        grid = grid + field
    return _reflect(grid, sizes[:, :, None, None]).permute(0, 2, 3, 1)


def _reflect(positions: Tensor, sizes: Tensor) -> Tensor:
    """Mirror positions at the outer edges of the frame, as often as needed."""
    folded = torch.remainder(positions + 0.5, 2 * sizes)
    return torch.minimum(folded, 2 * sizes - folded) - 0.5


def _normalized(grid: Tensor, height: int, width: int) -> Tensor:
    """Pixels to the -1..1 of `grid_sample` (x first, ``align_corners=False``)."""
    scale = torch.tensor([2 / width, 2 / height], device=grid.device)
    return (grid.flip(-1) + 0.5) * scale - 1


def sample_images(frames: Tensor, grid: Tensor) -> Tensor:
    """Sample (N, C, H, W) bilinearly at a grid of pixel positions; float32, (N, C, size, size)."""
    positions = _normalized(grid, *frames.shape[-2:])
    return F.grid_sample(frames, positions, padding_mode="border", align_corners=False)


def sample_labels(labels: Tensor, grid: Tensor) -> Tensor:
    """Take the label ids, or what else goes with them, of the nearest pixels.

    Parameters
    ----------
    labels
        (N, H, W), such as int32; ``H`` and ``W`` may be a multiple of the size that the grid is for.
    grid
        (N, size, size, 2), pixel positions in those labels.

    Returns
    -------
    Tensor
        (N, size, size), of the same type; ids are copied, never interpolated.
    """
    height, width = labels.shape[-2:]
    rows = grid[..., 0].round().long().clamp_(0, height - 1)
    columns = grid[..., 1].round().long().clamp_(0, width - 1)
    return labels[torch.arange(len(labels), device=labels.device)[:, None, None], rows, columns]
