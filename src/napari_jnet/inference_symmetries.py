"""The eight symmetries of a square grid, and the way back from each."""

from __future__ import annotations

from typing import NamedTuple

from torch import Tensor

__all__ = ["SYMMETRIES", "Symmetry"]


class Symmetry(NamedTuple):
    """Mirror rows, columns or both, and perhaps exchange the two; works on (N, C, H, W)."""

    mirrored: tuple[int, ...]  # axes
    transposed: bool

    def apply(self, images: Tensor) -> Tensor:
        """Return the images as this symmetry shows them."""
        images = images.flip(self.mirrored) if self.mirrored else images
        return images.transpose(-2, -1) if self.transposed else images

    def undo(self, maps: Tensor) -> Tensor:
        """Bring maps of the images that `apply` gave back to the images as they were."""
        maps = maps.transpose(-2, -1) if self.transposed else maps
        return maps.flip(self.mirrored) if self.mirrored else maps


SYMMETRIES: tuple[Symmetry, ...] = tuple(
    Symmetry(mirrored, transposed)
    for transposed in (False, True)
    for mirrored in ((), (-1,), (-2,), (-2, -1))
)
"""The first is the frame as it is, the first four keep its shape, all eight add the quarter turns."""
