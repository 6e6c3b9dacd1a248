"""Named starting points: what each changes of the default configuration."""

from __future__ import annotations

from typing import Any

from napari_jnet.config.options import unknown_key
from napari_jnet.config.sections import Config

__all__ = ["PRESETS", "preset"]

_SOFTMAX: dict[str, Any] = {"network.classes": 2, "network.distance": False}
_ONLY_FLIPS: dict[str, Any] = {
    "augmentation.rotation": 0.0,
    "augmentation.scale": (1.0, 1.0),
    "augmentation.elastic_alpha": 0.0,
    "augmentation.brightness": 0.0,
    "augmentation.contrast": 0.0,
    "augmentation.noise": 0.0,
}

# FCN-8 as in the Theano/Lasagne tutorial on polyps; random crops, whole frames for validation.
_FCN: dict[str, Any] = {
    **_SOFTMAX,
    **_ONLY_FLIPS,
    "network.resolution_levels": (0,),
    "network.dropout": 0.5,
    "training.optimizer": "adam",
    "training.learning_rate": 1e-4,
    "training.weight_decay": 1e-4,
    "training.schedule": "constant",
    "training.patch_size": 224,
    "training.patience": 50,
    "training.best_by": "mean_iou",
}

PRESETS: dict[str, dict[str, Any]] = {
    "unet": {},
    "jnet": {
        "network.name": "jnet",
        "network.structure": ((8, 32, 3), (4, 8, 3), (3, 8, 3)),
        "training.learning_rate": 4e-3,
    },
    # Ronneberger et al., 2015, as UNet-PyTorch has it.
    "unet-paper": {
        **_SOFTMAX,
        "network.resolution_levels": (-4, -3, -2, -1, 0),
        "network.channels": 64,
        "network.padding": "valid",
        "network.dropout": 0.5,
        "training.class_balance": True,
        "training.border_weight": 10.0,
        "training.border_sigma": 5.0,
        "training.patch_size": 388,
        "training.batch_size": 2,
        "training.best_by": "mean_iou",
        "augmentation.rotation": 30.0,
        "augmentation.scale": (0.9, 1.1),
        "augmentation.shear": 0.1,
        "augmentation.smooth_alpha": (100.0, 300.0),
        "augmentation.smooth_sigma": (10.0, 15.0),
        "augmentation.elastic_alpha": 0.0,
    },
    # U-Net as in the Theano/Lasagne tutorial on ISBI-2012.
    "unet-theano": {
        **_SOFTMAX,
        **_ONLY_FLIPS,
        "network.resolution_levels": (-4, -3, -2, -1, 0),
        "network.channels": 64,
        "training.optimizer": "adam",
        "training.learning_rate": 1e-3,
        "training.weight_decay": 1e-4,
        "training.schedule": "constant",
        "training.patch_size": 224,
        "training.patience": 50,
        "training.best_by": "mean_iou",
        "augmentation.rotation": 25.0,
        "augmentation.shear": 0.41,
        "augmentation.spline_sigma": 10.0,
    },
    # Multi-class by patches, as unet-multiclass-pytorch.
    "patches": {
        **_SOFTMAX,
        **_ONLY_FLIPS,
        "network.resolution_levels": (-4, -3, -2, -1, 0),
        "network.channels": 64,
        "training.optimizer": "sgd",
        "training.momentum": 0.9,
        "training.learning_rate": 0.1,
        "training.weight_decay": 5e-4,
        "training.schedule": "step",
        "training.step_epochs": 30,
        "training.patch_size": 96,
        "training.batch_size": 16,
        "training.best_by": "mean_iou",
        "prediction.tile": 96,
        "prediction.overlap": 0.5,
    },
    "fcn8": {**_FCN, "network.name": "fcn8"},
    "fcn16": {**_FCN, "network.name": "fcn16"},
    "fcn32": {**_FCN, "network.name": "fcn32"},
    # Sixta, 2018: the published structure, schedule and loss; `napari-jnet jnet` has all its flags.
    "original": {
        "network.name": "jnet",
        "network.resolution_levels": (-2, -1, 0),
        "network.structure": ((16, 64, 3), (2, 8, 3), (2, 8, 3)),
        "network.standardization": "plain",
        "targets.dt_bound": 9.0,
        "augmentation.original": '{"aug_rotation": 1, "aug_rotation_flip": 1, '
        '"aug_elastic_params": [[50, 5, 5], [-1, -1, 1]]}',
        "training.loss": "bce+mse",
        "training.optimizer": "adam",
        "training.learning_rate": 1e-4,
        "training.weight_decay": 0.0,
        "training.schedule": "plateau",
        "training.batch_size": 8,
        "training.average_weights": False,
        "training.precision": "float32",
    },
}
"""Changes to the default configuration, by the name of the preset.

Two classes by softmax become as many as the labels have; channels are those of the frames.
"""


def preset(name: str) -> Config:
    """Return the configuration of a preset; an unknown name raises `ValueError`."""
    if name not in PRESETS:
        raise unknown_key(name, list(PRESETS), "The list of presets")
    return Config().replace({"network.name": "unet", **PRESETS[name]})
