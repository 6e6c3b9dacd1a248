"""The networks, by name."""

from __future__ import annotations

import torch

from napari_jnet.config import NetworkConfig
from napari_jnet.hardware import available_bytes, format_bytes
from napari_jnet.networks.base import SegmentationNetwork
from napari_jnet.networks.fcn import FCN8, FCN16, FCN32
from napari_jnet.networks.jnet import JNet
from napari_jnet.networks.unet import UNet

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

    Raise `ValueError` if there is none, it does not support the configuration, or its weights need more
    memory than is free.
    """
    needed, free = 4 * count_weights(config), available_bytes()
    if needed > free:
        raise ValueError(
            f"The network {config.name} has {needed // 4:,} weights as it is configured, which need "
            f"{format_bytes(needed)} of memory; {format_bytes(free)} are free. Use fewer channels or layers."
        )
    return network_class(config.name)(config)


def count_weights(config: NetworkConfig) -> int:
    """Return the number of weights of a network, without memory for them; raises as `build_network`."""
    kind = network_class(config.name)
    try:
        with torch.device("meta"):
            return kind(config).parameter_count()
    except (RuntimeError, TypeError, OverflowError) as error:  # sizes beyond torch's integers
        raise ValueError(
            f"The network {config.name} has more weights than can be counted as it is configured. Use "
            "fewer channels or layers."
        ) from error
