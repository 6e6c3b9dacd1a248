"""Names and colours of classes, on a labels layer."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from napari.utils.colormaps import DirectLabelColormap

from napari_jnet.data.stack import UNKNOWN

__all__ = ["legend_options"]

_OTHER = "#a0a0a0"
"""Of a class that the legend does not have, such as one that the user has just begun to paint."""


def legend_options(legend: Sequence[tuple[str, str]]) -> dict[str, Any]:
    """Return options of a labels layer that show a class by its colour and its name.

    Parameters
    ----------
    legend
        (name, "#rrggbb") of each class from 0; without any, there is nothing to show.

    Returns
    -------
    dict
        ``colormap``, and ``features``, which napari shows in the status bar under the pointer.
    """
    if not legend:
        return {}
    colours: dict[int | None, Any] = {None: _OTHER, UNKNOWN: "transparent", 0: "transparent"}
    colours |= {number: colour for number, (_, colour) in enumerate(legend) if number}
    names = [name for name, _ in legend]
    return {
        "colormap": DirectLabelColormap(color_dict=colours),
        "features": {"index": list(range(len(names))), "class": names},
    }
