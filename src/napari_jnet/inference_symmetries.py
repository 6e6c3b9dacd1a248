"""The eight symmetries of a square grid, and the way back from each."""

from __future__ import annotations

from typing import NamedTuple

from torch import Tensor

from napari_jnet.inference_tiles import Part

__all__ = ["SYMMETRIES", "Symmetry"]


class Symmetry(NamedTuple):
    """Mirror rows, columns or both, and perhaps exchange the two; works on (N, C, H, W)."""

    mirrored: tuple[int, ...]  # axes
    transposed: bool

    def apply(self, images: Tensor) -> Tensor:
        """Return the images as this symmetry shows them."""
        images = images.flip(self.mirrored) if self.mirrored else images
        return images.transpose(-2, -1) if self.transposed else images

    def part(self, part: Part, size: tuple[int, int]) -> Part:
        """Return where rows and columns of an image of (height, width) lie after `apply`."""
        sides = [
            slice(side - cut.stop, side - cut.start) if axis in self.mirrored else cut
            for axis, cut, side in zip((-2, -1), part, size, strict=True)
        ]
        return (sides[1], sides[0]) if self.transposed else (sides[0], sides[1])

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
