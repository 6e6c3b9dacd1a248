"""The tools that correct cells: their names, and what one does with the mouse."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["TOOLS", "Tool"]


@dataclass(frozen=True)
class Tool:
    """One way to correct cells."""

    name: str
    title: str
    drag: bool  # wants a stroke rather than a point
    hint: str  # what to do with the mouse
    help: str


TOOLS: dict[str, Tool] = {
    tool.name: tool
    for tool in (
        Tool(
            "delete",
            "Delete",
            False,
            "Click a cell to delete it",
            "Take the cell away; its pixels become background.",
        ),
        Tool(
            "merge",
            "Merge",
            True,
            "Drag from one cell over those that belong to it",
            "Make one cell of those that the stroke passes; a gap of a few pixels is closed.",
        ),
        Tool(
            "split",
            "Split",
            True,
            "Drag across the cell from outside to outside",
            "Cut the cell along a stroke; the larger part keeps its number.",
        ),
        Tool(
            "fill",
            "Fill holes",
            False,
            "Click a cell to fill its holes",
            "Fill the holes of the cell; what other cells have there stays.",
        ),
        Tool(
            "smooth",
            "Smooth",
            False,
            "Click a cell to smooth its outline",
            "Smooth the outline of the cell; pixels of its neighbours are not touched.",
        ),
    )
}
