"""Every parameter once, in the groups that a form, a command line and a checkpoint show."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Annotated, Any, Literal, Self

from pydantic import (
    AfterValidator,
    Field,
    ValidationInfo,
    ValidatorFunctionWrapHandler,
    field_validator,
    model_validator,
)

from napari_jnet.config.options import Section, option, options, unknown_key
from napari_jnet.config.original import OriginalAugmentation

__all__ = [
    "SECTIONS",
    "AugmentationConfig",
    "Config",
    "InstanceConfig",
    "Levels",
    "NetworkConfig",
    "PredictionConfig",
    "Structure",
    "TargetConfig",
    "TrainingConfig",
]


def _consecutive(levels: tuple[int, ...]) -> tuple[int, ...]:
    if list(levels) != list(range(levels[0], levels[0] + len(levels)) if levels else ()):
        raise ValueError(
            f"resolution_levels is {list(levels)}; "
            "levels are consecutive and ascending, such as [-2, -1, 0]."
        )
    return levels


def _positive(structure: tuple[tuple[int, int, int], ...]) -> tuple[tuple[int, int, int], ...]:
    if any(min(part) < 1 for part in structure):
        raise ValueError(
            f"structure is {[list(part) for part in structure]}; each segment is "
            "[layers, channels, kernel], all at least 1."
        )
    return structure


_Size = Annotated[int, Field(le=65536)]
Levels = Annotated[tuple[Annotated[int, Field(ge=-12, le=0)], ...], AfterValidator(_consecutive)]
Structure = Annotated[tuple[tuple[_Size, _Size, _Size], ...], AfterValidator(_positive)]
_Scale = Annotated[float, Field(ge=0.1, le=10)]
_Alpha = Annotated[float, Field(ge=0, le=100000)]
_Sigma = Annotated[float, Field(ge=0.5, le=10000)]


class NetworkConfig(Section):
    """Which network, and how large.

    ``resolution_levels`` are consecutive and ascending; level -k is the frame average-pooled by 2**k.
    The top (last) level is the resolution at which the network answers: -1 means half size.
    """

    name: str = option("unet", "Network architecture.")
    in_channels: int = option(1, "Channels of a frame.", minimum=1, maximum=65536)
    classes: int = option(
        1, "Segmentation channels: 1 for binary, K for K classes.", minimum=1, maximum=65536
    )
    distance: bool = option(
        True, "Predict the truncated boundary distance beside the segmentation."
    )
    resolution_levels: Levels = option(
        (),
        "Resolution levels, lowest first; level -k is pooled by 2**k. Empty: from the size of the objects.",
        example=[-2, -1, 0],
    )
    structure: Structure = option(
        ((12, 48, 3), (2, 8, 3), (2, 8, 3)),
        "J-Net: [layers, channels, kernel] of the lowest level, then [layers, added channels, kernel].",
    )
    channels: int = option(16, "U-Net: channels at the widest resolution.", minimum=1, maximum=1024)
    padding: Literal["same", "valid"] = option(
        "same",
        "U-Net: same keeps the size; valid trims borders, which are mirrored first, as in the paper.",
    )
    batch_norm: bool = option(True, "U-Net, FCN: batch normalisation after each convolution.")
    upsampling: Literal["transposed", "bilinear"] = option(
        "transposed", "U-Net: learned transposed convolution, or bilinear interpolation."
    )
    dropout: float = option(
        0.0, "Dropout: U-Net at the bottleneck, FCN in fc6 and fc7.", minimum=0, maximum=0.95
    )
    width: float = option(1.0, "FCN: multiplier of the channels of VGG16.", minimum=0.01, maximum=4)
    batchnorm_momentum: float = option(
        0.1, "Momentum of batch normalisation.", minimum=0.0, maximum=1.0
    )
    standardization: Literal["robust", "plain"] = option(
        "robust",
        "What the network sees: robust cuts hot pixels and leaves out padding, plain does as the original.",
    )
    distance_scale: float = option(
        1.0,
        "Set by the training. Pixels that one unit of the distance channel stands for.",
        minimum=1e-6,
        maximum=1e6,
        unit="px",
    )


class TargetConfig(Section):
    """What the network learns: segmentation and boundary distance cut at a bound."""

    dt_bound: float | None = option(
        None,
        "Bound of the boundary distance in pixels of the full frame; by default from the objects' size.",
        minimum=1,
        maximum=10000,
        unit="px",
    )
    distance_metric: Literal["cityblock", "euclidean"] = option(
        "cityblock", "Metric of the boundary distance."
    )
    legend: tuple[tuple[str, str], ...] = option(
        (),
        "Set by the training. [name, colour] of each class from 0, such as [line, #ff0000].",
        example=[["background", "#000000"], ["line", "#ff0000"]],
    )


class AugmentationConfig(Section):
    """How a training patch is changed before the network sees it."""

    flip: bool = option(True, "Mirror patches at random.")
    rotation: float = option(
        180.0, "Largest rotation to either side.", minimum=0, maximum=180, unit="°"
    )
    scale: tuple[_Scale, _Scale] = option((0.8, 1.2), "Range of random scaling.")
    shear: float = option(0.0, "Largest shear to either side.", minimum=0, maximum=2)
    elastic_alpha: float = option(
        8.0,
        "Largest elastic displacement, in pixels of the network's resolution.",
        minimum=0,
        maximum=10000,
        unit="px",
    )
    elastic_sigma: float = option(
        12.0, "Distance of the knots of the elastic field.", minimum=1, maximum=10000, unit="px"
    )
    smooth_alpha: tuple[_Alpha, _Alpha] = option(
        (0.0, 0.0),
        "Range of the factor of a field of smoothed noise (Simard et al., 2003); 0 is off.",
        unit="px",
    )
    smooth_sigma: tuple[_Sigma, _Sigma] = option(
        (10.0, 15.0), "Range of the Gaussian that smooths that noise.", unit="px"
    )
    spline_sigma: float = option(
        0.0,
        "Deviation of 3 x 3 displacements joined by splines (U-Net's paper: 10); 0 is off.",
        minimum=0,
        maximum=10000,
        unit="px",
    )
    original: str = option(
        "",
        "Flags of the original J-Net's script as JSON; then its augmentations replace all others.",
    )
    brightness: float = option(
        0.3, "Random offset, in standard deviations of the frame.", minimum=0, maximum=1000
    )
    contrast: float = option(
        0.25, "Random gain: up to this much more or less.", minimum=0, maximum=1
    )
    noise: float = option(
        0.1, "Random noise, in standard deviations of the frame.", minimum=0, maximum=1000
    )

    @field_validator("scale", "smooth_alpha", "smooth_sigma", mode="wrap")
    @classmethod
    def _range(cls, value: Any, check: ValidatorFunctionWrapHandler, info: ValidationInfo) -> Any:
        two = not isinstance(value, tuple) or len(value) == 2
        value = check(value) if two else value
        if not two or value[0] > value[1]:
            raise ValueError(
                f"{info.field_name} is {list(value)}; a range is two numbers, lowest first."
            )
        return value

    @field_validator("original", mode="before")
    @classmethod
    def _flags(cls, flags: Any) -> Any:
        """Check the flags of the original; they may be a dict."""
        if isinstance(flags, dict):
            OriginalAugmentation.from_dict(flags, "original.")
            return json.dumps(flags)
        if isinstance(flags, str) and flags:
            OriginalAugmentation.from_json(flags, "original.")
        return flags


class TrainingConfig(Section):
    """How the network is trained.  One of ``minutes`` and ``epochs`` ends the training."""

    minutes: float | None = option(
        None,
        "Time budget; the schedule is stretched over it.",
        minimum=0.01,
        maximum=10**7,
        unit="min",
    )
    epochs: int | None = option(None, "Number of epochs.", minimum=1, maximum=10**9)
    batches_per_epoch: int = option(
        24, "Batches between two validations.", minimum=1, maximum=10**9
    )
    batch_size: int = option(4, "Patches in a batch.", minimum=1, maximum=65536)
    patch_size: int = option(
        256,
        "Side of a training patch, in pixels of the network's resolution.",
        minimum=16,
        maximum=65536,
        unit="px",
    )
    loss: str = option("bce+smooth_l1", "Loss of segmentation and distance.")
    class_balance: bool = option(
        False, "Weigh classes in the segmentation loss by how rare they are in the training frames."
    )
    border_weight: float = option(
        0.0,
        "Extra weight w0 of the borders between two near objects (U-Net's paper: 10); 0 is off.",
        minimum=0,
        maximum=10000,
    )
    border_sigma: float = option(
        5.0, "How fast that weight falls with the distance.", minimum=0.1, maximum=10000, unit="px"
    )
    pretrained: str = option(
        "",
        "FCN: file of VGG16 weights to begin with, of torchvision (names features.0.weight) or of Caffe "
        "(names conv1_1.weight; .npz or torch).",
    )
    optimizer: Literal["adam", "adamw", "sgd"] = option("adamw", "Optimiser.")
    momentum: float = option(0.9, "Momentum of SGD.", minimum=0, maximum=0.9999)
    learning_rate: float = option(2e-3, "Learning rate.", minimum=1e-8, maximum=1)
    weight_decay: float = option(
        1e-4, "Weight decay: decoupled in AdamW, L2 in Adam and SGD.", minimum=0, maximum=1
    )
    schedule: Literal["cosine", "plateau", "step", "constant"] = option(
        "cosine", "Learning rate schedule."
    )
    step_epochs: int = option(
        30, "Epochs between two steps of the step schedule.", minimum=1, maximum=10**9
    )
    step_factor: float = option(0.1, "Factor of each step.", minimum=0, maximum=1)
    patience: int = option(
        0,
        "Stop after so many epochs without a better validation; 0 never stops early.",
        minimum=0,
        maximum=10**9,
    )
    best_by: str = option(
        "loss",
        "What makes an epoch the best: loss, iou (of cell), mean_iou (of all classes), seg, "
        "or the IoU of one class, as class:2.",
    )
    average_weights: bool = option(
        True, "Validate and keep a moving average of the weights, not those of the last step."
    )
    tensorboard: bool = option(
        False, "Also write the history for TensorBoard (needs the tensorboard package)."
    )
    validation_fraction: float = option(
        0.12,
        "Part of the annotated frames kept for validation (at least one of two or more).",
        minimum=0,
        maximum=0.9,
    )
    seed: int = option(0, "Seed of every random choice.", minimum=0, maximum=2**63 - 1)
    device: Literal["auto", "cpu", "cuda", "mps"] = option("auto", "Where to compute.")
    precision: Literal["auto", "float32", "bfloat16"] = option(
        "auto",
        "Arithmetic of the forward pass in training; auto takes bfloat16 where the hardware has it.",
    )
    threads: int = option(
        0, "Threads of the CPU; 0 takes the cores it may use.", minimum=0, maximum=1024
    )

    @field_validator("best_by")
    @classmethod
    def _known_score(cls, best_by: str) -> str:
        if not re.fullmatch(r"loss|iou|mean_iou|seg|class:[0-9]{1,5}", best_by):
            raise ValueError(
                f"best_by is {best_by[:200]!r}; it is loss, iou, mean_iou, seg or the number of a "
                "class, such as class:2."
            )
        return best_by


class InstanceConfig(Section):
    """How segmentation and distance become separate objects."""

    segmentation_threshold: float = option(
        0.5, "Probability above which a pixel is cell.", minimum=0, maximum=1
    )
    seed_threshold: float = option(
        0.4,
        "Distance above which a cell's core becomes a seed, as a part of dt_bound.",
        minimum=0,
        maximum=1,
    )
    smoothing: float = option(
        0.1,
        "Gaussian that smooths the distance before seeds are looked for, as a part of dt_bound.",
        minimum=0,
        maximum=1,
    )
    min_size: int = option(
        0,
        "Smallest object kept, in pixels of the full frame; in voxels of a volume.",
        minimum=0,
        maximum=10**9,
        unit="px",
    )
    fill_holes: bool = option(True, "Fill the holes of each object.")


class PredictionConfig(Section):
    """How the network is applied to frames."""

    tile: int | None = option(
        None,
        "Side of the tiles; 0 takes whole frames. By default only large frames are tiled.",
        minimum=0,
        maximum=10**6,
        unit="px",
    )
    overlap: float = option(
        0.0,
        "Overlap of tiles whose answers are averaged; 0 cuts tiles exactly, with a halo.",
        minimum=0,
        maximum=0.9,
    )
    symmetries: int = option(
        1,
        "Average over so many mirrored frames: 1, 4 (flips) or 8 (flips and quarter turns).",
        minimum=1,
        maximum=8,
    )

    @model_validator(mode="after")
    def _can_be(self) -> Self:
        if self.symmetries not in (1, 4, 8):
            raise ValueError(
                f"symmetries is {self.symmetries}; a frame has 8 symmetries, 4 of them "
                "flips. Choose 1, 4 or 8."
            )
        if self.overlap and self.tile == 0:
            raise ValueError(
                f"overlap is {self.overlap} and tile is 0; whole frames do not "
                "overlap. Give the side of the tiles, or an overlap of 0."
            )
        return self


class Config(Section):
    """The whole configuration of a run; saved as ``config.json`` and in every checkpoint."""

    network: NetworkConfig = Field(default_factory=NetworkConfig, examples=["NetworkConfig()"])
    targets: TargetConfig = Field(default_factory=TargetConfig, examples=["TargetConfig()"])
    augmentation: AugmentationConfig = Field(
        default_factory=AugmentationConfig, examples=["AugmentationConfig()"]
    )
    training: TrainingConfig = Field(default_factory=TrainingConfig, examples=["TrainingConfig()"])
    instances: InstanceConfig = Field(default_factory=InstanceConfig, examples=["InstanceConfig()"])
    prediction: PredictionConfig = Field(
        default_factory=PredictionConfig, examples=["PredictionConfig()"]
    )

    @model_validator(mode="after")
    def _can_be(self) -> Self:
        training = self.training
        weighted = training.class_balance or training.border_weight
        maps = self.network.classes == 1 and training.loss.startswith("bce") and not weighted
        if self.augmentation.original and not maps:
            raise ValueError(
                "augmentation.original warps maps of cell and distance, so it knows neither classes nor "
                "weights of pixels. Use it with network.classes=1, a loss that begins with bce, "
                "training.class_balance=false and training.border_weight=0, or leave it empty."
            )
        return self

    @classmethod
    def from_dict(cls, values: Mapping[str, Any], where: str | None = "") -> Self:
        """Make a configuration of nested plain values.

        Parameters
        ----------
        values
            Sections, each with its fields by their names; what is left out has its default.
        where
            What to write before an error, such as the name of a file and a colon.

        Raises
        ------
        ValueError
            If a section or a field is unknown, or a value does not fit.
        """
        if not isinstance(values, Mapping):
            raise ValueError(
                f"{where}A configuration holds sections such as 'training', each with its fields; "
                f"this is of type {type(values).__name__}."
            )
        made = {}
        for name, part in values.items():
            if name not in SECTIONS:
                raise unknown_key(name, list(SECTIONS), f"{where}Config")
            made[name] = SECTIONS[name].from_dict(part, f"{where}{name}.")
        return super().from_dict(made, where)

    @classmethod
    def from_saved(cls, values: Any) -> Self:
        """Make the configuration that a model file holds, also one that was saved before types were checked.

        Then a truth value could be any text or number, and a whole number one with a fraction: they
        mean what they did.  A file that names no standardisation is from before there was a choice.
        """
        if not isinstance(values, Mapping):
            return cls.from_dict(values)
        if isinstance(values.get("network"), Mapping):
            values = {**values, "network": {"standardization": "plain", **values["network"]}}
        return cls.from_dict(
            {
                name: {
                    key: _as_it_counted(SECTIONS[name], key, value) for key, value in part.items()
                }
                if name in SECTIONS and isinstance(part, Mapping)
                else part
                for name, part in values.items()
            }
        )

    def given_settings(self) -> dict[str, Any]:
        """Return what was given, as ``section.field``, also where it equals the default."""
        return {
            f"{name}.{key}": value
            for name in SECTIONS
            for key, value in getattr(self, name).given().items()
        }

    def replace(self, changes: Mapping[str, Any] | None = None, **more: Any) -> Self:
        """Return a copy with changed fields, each named ``section.field``.

        Examples
        --------
        >>> Config().replace({"training.epochs": 3}).training.epochs
        3
        """
        values = {name: getattr(self, name).given() for name in SECTIONS}
        for name, value in {**(changes or {}), **more}.items():
            section, _, key = str(name).partition(".")
            if section not in values:
                raise unknown_key(section, list(values), "Config")
            values[section][key] = value
        return self.from_dict(values)


SECTIONS: dict[str, type[Section]] = {
    name: field.annotation  # type: ignore[misc]
    for name, field in Config.model_fields.items()
}
"""The sections of a configuration by their names, in order."""


def _as_it_counted(section: type[Section], key: str, value: Any) -> Any:
    known = options(section).get(key)
    if known is not None and known.kind is bool and isinstance(value, (str, int, float)):
        return bool(value)
    if known is not None and known.kind is int and isinstance(value, float):
        return int(value)
    return value
