"""Every parameter once: frozen pydantic models that feed the command line, the forms and the checkpoints.

A field carries its type, help, range and choices; `options` lists them, so that a form or a command line
shows the same words, limits and defaults.  A `Config` is checked when it is made: a value of another type
or out of range never reaches the training loop.
"""

from __future__ import annotations

from napari_jnet.config.options import Option, options
from napari_jnet.config.presets import PRESETS, preset
from napari_jnet.config.sections import (
    AugmentationConfig,
    Config,
    InstanceConfig,
    NetworkConfig,
    PredictionConfig,
    TargetConfig,
    TrainingConfig,
)

__all__ = [
    "PRESETS",
    "AugmentationConfig",
    "Config",
    "InstanceConfig",
    "NetworkConfig",
    "Option",
    "PredictionConfig",
    "TargetConfig",
    "TrainingConfig",
    "options",
    "preset",
]
