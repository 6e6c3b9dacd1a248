"""Resolution levels: the frame pooled by powers of two, and maps brought back to its size."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor
from torch.nn import functional as F

__all__ = ["expand", "pool", "pyramid"]


def pool(frames: Tensor, level: int) -> Tensor:
    """Average-pool ``(N, C, H, W)`` by ``2**-level``; rows and columns left over are dropped."""
    if level > 0:
        raise ValueError(f"Resolution level {level} is above 0; levels are 0 or negative.")
    return frames if level == 0 else F.avg_pool2d(frames, 2**-level)


def pyramid(frames: Tensor, levels: Sequence[int]) -> list[Tensor]:
    """Pool full frames to each level, lowest resolution first.

    Parameters
    ----------
    frames
        (N, C, H, W).
    levels
        Ascending, at most 0.

    Returns
    -------
    list of Tensor
        (N, C, H // 2**k, W // 2**k) for level -k.
    """
    smallest = min(frames.shape[-2:]) // 2 ** -min(levels)
    if smallest < 2:
        height, width = frames.shape[-2:]
        raise ValueError(
            f"A frame of {height} x {width} pixels has {smallest} pixels left at level {min(levels)}; "
            "at least 2 are needed. Use fewer resolution levels or larger frames."
        )
    return [pool(frames, level) for level in levels]


def expand(maps: Tensor, level: int, size: tuple[int, int]) -> Tensor:
    """Bring ``(N, C, h, w)`` at a level back to the full frame, bilinearly.

    Rows and columns that pooling dropped repeat the nearest ones.
    """
    if level == 0:
        return maps
    factor = 2**-level
    full = F.interpolate(maps, scale_factor=float(factor), mode="bilinear", align_corners=False)
    below, right = size[0] - full.shape[-2], size[1] - full.shape[-1]
    return F.pad(full, (0, right, 0, below), mode="replicate") if below or right else full
