"""Names and colours of classes, on a labels layer."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from napari.utils.colormaps import DirectLabelColormap

from napari_jnet.data.stack import UNKNOWN, LabelKind

__all__ = ["class_legend", "layer_legend", "legend_options"]

_OTHER = "#a0a0a0"
"""Of a class that the legend does not have, such as one that the user has just begun to paint."""


def legend_options(
    legend: Sequence[tuple[str, str]], *, unknown: str = "transparent"
) -> dict[str, Any]:
    """Return options of a labels layer that show a class by its colour and its name.

    Parameters
    ----------
    legend
        (name, "#rrggbb") of each class from 0; without any, there is nothing to show.
    unknown
        The colour of `UNKNOWN` pixels.

    Returns
    -------
    dict
        ``colormap``, and ``features``, which napari shows in the status bar under the pointer.
    """
    if not legend:
        return {}
    colours: dict[int | None, Any] = {None: _OTHER, UNKNOWN: unknown, 0: "transparent"}
    colours |= {number: colour for number, (_, colour) in enumerate(legend) if number}
    names = [name for name, _ in legend]
    return {
        "colormap": DirectLabelColormap(color_dict=colours),
        "features": {"index": list(range(len(names))), "class": names},
    }


def layer_legend(layer: Any) -> tuple[tuple[str, str], ...]:
    """Return (name, "#rrggbb") of each class of a labels layer; nothing where it has no names.

    What `legend_options` put on a layer comes back, with the colours that it has now.
    """
    features = layer.features
    if "class" not in features or "index" not in features:
        return ()
    known = {int(i): str(n) for i, n in zip(features["index"], features["class"], strict=True)}
    numbers = range(max(known, default=-1) + 1)
    return tuple((known.get(n, f"class {n}"), _hex(layer.get_color(n))) for n in numbers)


def class_legend(layer: Any, kind: LabelKind) -> tuple[tuple[str, str], ...]:
    """Return (name, "#rrggbb") of each class from 0 = background, as networks count them.

    Scribbles count one further, from 0 = not painted; cells have no classes.
    """
    if kind is LabelKind.INSTANCES:
        return ()
    return layer_legend(layer)[1 if kind is LabelKind.SCRIBBLES else 0 :]


def _hex(colour: Any) -> str:
    """Write a colour of a layer (RGBA, 0 to 1; None for background) as "#rrggbb"."""
    parts = np.zeros(3) if colour is None else np.asarray(colour)[:3]
    return "#" + "".join(f"{round(255 * float(part)):02x}" for part in parts)
