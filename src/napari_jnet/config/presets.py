"""Named starting points: what each changes of the default configuration."""

from __future__ import annotations

from typing import Any

from napari_jnet.config.options import unknown_key
from napari_jnet.config.sections import Config

__all__ = ["PRESETS", "preset"]

PRESETS: dict[str, dict[str, Any]] = {
    "unet": {},
    "jnet": {
        "network.name": "jnet",
        "network.structure": ((12, 48, 3), (2, 8, 3), (2, 8, 3)),
    },
}
"""Changes to the default configuration, by the name of the preset."""


def preset(name: str) -> Config:
    """Return the configuration of a preset; an unknown name raises `ValueError`."""
    if name not in PRESETS:
        raise unknown_key(name, list(PRESETS), "The list of presets")
    return Config().replace(PRESETS[name])
