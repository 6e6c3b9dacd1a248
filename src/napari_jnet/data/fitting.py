"""Whether a trained network can go on learning from other frames: asked before anything starts."""

from __future__ import annotations

from napari_jnet.config import NetworkConfig
from napari_jnet.data.stack import LabelKind

__all__ = ["misfit"]


def misfit(
    network: NetworkConfig, name: str, *, kind: LabelKind, largest: int, channels: int
) -> str:
    """Say why a trained network cannot learn from such frames; "" where it can.

    Parameters
    ----------
    network
        That of the model, as it was trained.
    name
        What the model is called in the sentence.
    kind
        What the labels mean; scribbles count as classes.
    largest
        Largest class in the labels, 0 = background; of no account for instances.
    channels
        Of the images; 1 where they are grey.

    Returns
    -------
    str
        Both numbers, and what can be done instead.
    """
    instead = "or train from scratch"
    if channels != network.in_channels:
        return (
            f"The images have {_count(channels, 'channel')}, {name} was trained on "
            f"{network.in_channels}. Start from a model of such images, {instead}."
        )
    if kind is LabelKind.INSTANCES and network.classes > 2:
        return (
            f"The labels are cells, each with its own number, {name} was trained with "
            f"{network.classes} classes. Start from a model of cells, {instead}."
        )
    if kind is not LabelKind.INSTANCES and largest > 1 and largest >= network.classes:
        return (
            f"The labels hold {largest + 1} classes, {name} was trained with "
            f"{_count(network.classes, 'class', 'classes')}. Start from a model of the same classes, "
            f"{instead}."
        )
    return ""


def _count(number: int, one: str, many: str = "") -> str:
    return f"{number} {one if number == 1 else many or one + 's'}"
