"""What is known of one frame."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["FrameFacts"]

_SPARSE = 0.08  # part of a frame that is cell; with less, some cells may not be painted yet


@dataclass(frozen=True)
class FrameFacts:
    """What is known of one frame.

    Attributes
    ----------
    position, number
        Index along the stack; frame number of the file names.
    annotated
        Whether it can be learned from.
    objects
        Painted cells; 0 for classes and scribbles.
    in_pieces
        (cell, count of its pieces) of cells that are in two or more; none for classes and scribbles.
    pixels
        Known pixels of each class from 0; of background and cells where cells are numbered.
    unknown
        Pixels of which nobody knows what they are.
    size
        Pixels of the frame.
    role
        "training", "validation", "unused" or "" (the split decides).
    empty
        Whether it is annotated by saying that nothing is in it: all is background.
    score, score_name
        The last score and what it is, such as SEG; None where there is none.
    uncertainty
        Mean entropy of the last prediction in bits a pixel; None where there is none.
    counted
        False while the frame is still being counted.
    """

    position: int
    number: int
    annotated: bool = False
    objects: int = 0
    in_pieces: tuple[tuple[int, int], ...] = ()
    pixels: tuple[int, ...] = ()
    unknown: int = 0
    size: int = 0
    role: str = ""
    empty: bool = False
    score: float | None = None
    score_name: str = ""
    uncertainty: float | None = None
    counted: bool = True

    @property
    def sparse(self) -> bool:
        """Whether so few cells are painted that some may be missing: they would count as background."""
        background, cells = (*self.pixels, 0, 0)[:2]
        return bool(self.objects and background and cells < _SPARSE * (background + cells))
