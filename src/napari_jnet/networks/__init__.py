"""The networks, by name."""

from __future__ import annotations

from napari_jnet.config import NetworkConfig
from napari_jnet.networks.base import SegmentationNetwork
from napari_jnet.networks.jnet import JNet
from napari_jnet.networks.unet import UNet

__all__ = ["NETWORKS", "SegmentationNetwork", "build_network"]

NETWORKS: dict[str, type[SegmentationNetwork]] = {
    "jnet": JNet,
    "unet": UNet,
}


def build_network(config: NetworkConfig) -> SegmentationNetwork:
    """Make the network that a configuration names; an unknown name raises `ValueError`."""
    if config.name not in NETWORKS:
        raise ValueError(f"There is no network {config.name!r}; there are {', '.join(NETWORKS)}.")
    return NETWORKS[config.name](config)
