"""The networks, by name."""

from __future__ import annotations

from napari_jnet.config import NetworkConfig
from napari_jnet.networks.base import SegmentationNetwork
from napari_jnet.networks.fcn import FCN8, FCN16, FCN32
from napari_jnet.networks.jnet import JNet
from napari_jnet.networks.unet import UNet

__all__ = ["NETWORKS", "SegmentationNetwork", "build_network", "network_class"]

NETWORKS: dict[str, type[SegmentationNetwork]] = {
    "jnet": JNet,
    "unet": UNet,
    "fcn32": FCN32,
    "fcn16": FCN16,
    "fcn8": FCN8,
}


def network_class(name: str) -> type[SegmentationNetwork]:
    """Return the network of this name; an unknown name raises `ValueError`."""
    if name not in NETWORKS:
        raise ValueError(f"There is no network {name!r}; there are {', '.join(NETWORKS)}.")
    return NETWORKS[name]


def build_network(config: NetworkConfig) -> SegmentationNetwork:
    """Make the network that a configuration names.

    Raises
    ------
    ValueError
        If there is no such network, or it cannot be as the configuration wants it.
    """
    return network_class(config.name)(config)
