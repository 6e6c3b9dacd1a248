"""Every parameter once, in the groups that a form, a command line and a checkpoint show."""

from __future__ import annotations

import dataclasses
import json
import re
from dataclasses import dataclass, field
from typing import Any, Self

from napari_jnet.config.options import Section, option, unknown_key
from napari_jnet.config.original import OriginalAugmentation

__all__ = [
    "AugmentationConfig",
    "Config",
    "InstanceConfig",
    "NetworkConfig",
    "PredictionConfig",
    "TargetConfig",
    "TrainingConfig",
]


@dataclass(frozen=True, kw_only=True)
class NetworkConfig(Section):
    """Which network, and how large.

    ``resolution_levels`` are consecutive and ascending; level -k is the frame average-pooled by 2**k.
    The top (last) level is the resolution at which the network answers: -1 means half size.
    """

    name: str = option("unet", "Network architecture.")
    in_channels: int = option(1, "Channels of a frame.", minimum=1)
    classes: int = option(1, "Segmentation channels: 1 for binary, K for K classes.", minimum=1)
    distance: bool = option(
        True, "Predict the truncated boundary distance beside the segmentation."
    )
    resolution_levels: tuple[int, ...] = option(
        (),
        "Resolution levels, lowest first; level -k is pooled by 2**k. Empty: from the size of the objects.",
        minimum=-12,
        maximum=0,
    )
    structure: tuple[tuple[int, int, int], ...] = option(
        ((12, 48, 3), (2, 8, 3), (2, 8, 3)),
        "J-Net: [layers, channels, kernel] of the lowest level, then [layers, added channels, kernel].",
    )
    channels: int = option(16, "U-Net: channels at the widest resolution.", minimum=1, maximum=1024)
    padding: str = option(
        "same",
        "U-Net: same keeps the size; valid trims borders, which are mirrored first, as in the paper.",
        choices=("same", "valid"),
    )
    batch_norm: bool = option(True, "U-Net, FCN: batch normalisation after each convolution.")
    upsampling: str = option(
        "transposed",
        "U-Net: learned transposed convolution, or bilinear interpolation.",
        choices=("transposed", "bilinear"),
    )
    dropout: float = option(
        0.0, "Dropout: U-Net at the bottleneck, FCN in fc6 and fc7.", minimum=0, maximum=0.95
    )
    width: float = option(1.0, "FCN: multiplier of the channels of VGG16.", minimum=0.01, maximum=4)
    batchnorm_momentum: float = option(
        0.1, "Momentum of batch normalisation.", minimum=0.0, maximum=1.0
    )
    distance_scale: float = option(
        1.0,
        "Set by the training. Pixels that one unit of the distance channel stands for.",
        minimum=1e-6,
        unit="px",
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        levels = self.resolution_levels
        if list(levels) != list(range(levels[0], levels[0] + len(levels)) if levels else ()):
            raise ValueError(
                f"NetworkConfig.resolution_levels is {list(levels)}; "
                "levels are consecutive and ascending, such as [-2, -1, 0]."
            )


@dataclass(frozen=True, kw_only=True)
class TargetConfig(Section):
    """What the network learns: segmentation and boundary distance cut at a bound."""

    dt_bound: float | None = option(
        None,
        "Bound of the boundary distance in pixels of the full frame; by default from the objects' size.",
        minimum=1,
        unit="px",
    )
    distance_metric: str = option(
        "cityblock",
        "Metric of the boundary distance.",
        choices=("cityblock", "euclidean"),
    )
    legend: tuple[tuple[str, str], ...] = option(
        (),
        "Set by the training. [name, colour] of each class from 0, such as [line, #ff0000].",
    )


@dataclass(frozen=True, kw_only=True)
class AugmentationConfig(Section):
    """How a training patch is changed before the network sees it."""

    flip: bool = option(True, "Mirror patches at random.")
    rotation: float = option(
        180.0, "Largest rotation to either side.", minimum=0, maximum=180, unit="°"
    )
    scale: tuple[float, float] = option(
        (0.8, 1.2), "Range of random scaling.", minimum=0.1, maximum=10
    )
    shear: float = option(0.0, "Largest shear to either side.", minimum=0, maximum=2)
    elastic_alpha: float = option(
        8.0,
        "Largest elastic displacement, in pixels of the network's resolution.",
        minimum=0,
        unit="px",
    )
    elastic_sigma: float = option(
        12.0, "Distance of the knots of the elastic field.", minimum=1, unit="px"
    )
    smooth_alpha: tuple[float, float] = option(
        (0.0, 0.0),
        "Range of the factor of a field of smoothed noise (Simard et al., 2003); 0 is off.",
        minimum=0,
        unit="px",
    )
    smooth_sigma: tuple[float, float] = option(
        (10.0, 15.0), "Range of the Gaussian that smooths that noise.", minimum=0.5, unit="px"
    )
    spline_sigma: float = option(
        0.0,
        "Deviation of 3 x 3 displacements joined by splines (U-Net's paper: 10); 0 is off.",
        minimum=0,
        unit="px",
    )
    original: str = option(
        "",
        "Flags of the original J-Net's script as JSON; then its augmentations replace all others.",
    )
    brightness: float = option(
        0.3, "Random offset, in standard deviations of the frame.", minimum=0
    )
    contrast: float = option(
        0.25, "Random gain: up to this much more or less.", minimum=0, maximum=1
    )
    noise: float = option(0.1, "Random noise, in standard deviations of the frame.", minimum=0)

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("scale", "smooth_alpha", "smooth_sigma"):
            value = getattr(self, name)
            if len(value) != 2 or value[0] > value[1]:
                raise ValueError(
                    f"AugmentationConfig.{name} is {list(value)}; a range is two numbers, lowest first."
                )
        if self.original:
            OriginalAugmentation.from_json(self.original)

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> Self:
        """Make the section of plain values; the flags of the original may be a dict."""
        if isinstance(values.get("original"), dict):
            values = {**values, "original": json.dumps(values["original"])}
        return super().from_dict(values)


@dataclass(frozen=True, kw_only=True)
class TrainingConfig(Section):
    """How the network is trained.  One of ``minutes`` and ``epochs`` ends the training."""

    minutes: float | None = option(
        None, "Time budget; the schedule is stretched over it.", minimum=0.01, unit="min"
    )
    epochs: int | None = option(None, "Number of epochs.", minimum=1)
    batches_per_epoch: int = option(24, "Batches between two validations.", minimum=1)
    batch_size: int = option(4, "Patches in a batch.", minimum=1)
    patch_size: int = option(
        256,
        "Side of a training patch, in pixels of the network's resolution.",
        minimum=16,
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
    )
    border_sigma: float = option(
        5.0, "How fast that weight falls with the distance.", minimum=0.1, unit="px"
    )
    pretrained: str = option(
        "",
        "FCN: file of VGG16 weights to begin with, of torchvision (names features.0.weight) or of Caffe "
        "(names conv1_1.weight; .npz or torch).",
    )
    optimizer: str = option("adamw", "Optimiser.", choices=("adam", "adamw", "sgd"))
    momentum: float = option(0.9, "Momentum of SGD.", minimum=0, maximum=0.9999)
    learning_rate: float = option(2e-3, "Learning rate.", minimum=1e-8, maximum=1)
    weight_decay: float = option(
        1e-4, "Weight decay: decoupled in AdamW, L2 in Adam and SGD.", minimum=0, maximum=1
    )
    schedule: str = option(
        "cosine", "Learning rate schedule.", choices=("cosine", "plateau", "step", "constant")
    )
    step_epochs: int = option(30, "Epochs between two steps of the step schedule.", minimum=1)
    step_factor: float = option(0.1, "Factor of each step.", minimum=0, maximum=1)
    patience: int = option(
        0, "Stop after so many epochs without a better validation; 0 never stops early.", minimum=0
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
    seed: int = option(0, "Seed of every random choice.", minimum=0)
    device: str = option("auto", "Where to compute.", choices=("auto", "cpu", "cuda", "mps"))
    precision: str = option(
        "auto",
        "Arithmetic of the forward pass in training; auto takes bfloat16 where the hardware has it.",
        choices=("auto", "float32", "bfloat16"),
    )
    threads: int = option(0, "Threads of the CPU; 0 takes all cores.", minimum=0, maximum=1024)

    def __post_init__(self) -> None:
        super().__post_init__()
        if not re.fullmatch(r"loss|iou|mean_iou|seg|class:\d+", str(self.best_by)):
            raise ValueError(
                f"TrainingConfig.best_by is {self.best_by!r}; it is loss, iou, mean_iou, seg or the "
                "number of a class, such as class:2."
            )


@dataclass(frozen=True, kw_only=True)
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
        0, "Smallest object kept, in pixels of the full frame.", minimum=0, unit="px"
    )
    fill_holes: bool = option(True, "Fill the holes of each object.")


@dataclass(frozen=True, kw_only=True)
class PredictionConfig(Section):
    """How the network is applied to frames."""

    tile: int | None = option(
        None,
        "Side of the tiles; 0 takes whole frames. By default only large frames are tiled.",
        minimum=0,
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

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.symmetries not in (1, 4, 8):
            raise ValueError(
                f"PredictionConfig.symmetries is {self.symmetries}; a frame has 8 symmetries, 4 of them "
                "flips. Choose 1, 4 or 8."
            )
        if self.overlap and self.tile == 0:
            raise ValueError(
                f"PredictionConfig.overlap is {self.overlap} and tile is 0; whole frames do not "
                "overlap. Give the side of the tiles, or an overlap of 0."
            )


@dataclass(frozen=True, kw_only=True)
class Config:
    """The whole configuration of a run; saved as ``config.json`` and in every checkpoint."""

    network: NetworkConfig = field(default_factory=NetworkConfig)
    targets: TargetConfig = field(default_factory=TargetConfig)
    augmentation: AugmentationConfig = field(default_factory=AugmentationConfig)
    training: TrainingConfig = field(default_factory=TrainingConfig)
    instances: InstanceConfig = field(default_factory=InstanceConfig)
    prediction: PredictionConfig = field(default_factory=PredictionConfig)

    def __post_init__(self) -> None:
        training = self.training
        weighted = training.class_balance or training.border_weight
        maps = self.network.classes == 1 and training.loss.startswith("bce") and not weighted
        if self.augmentation.original and not maps:
            raise ValueError(
                "augmentation.original warps maps of cell and distance, so it knows neither classes nor "
                "weights of pixels. Use it with network.classes=1, a loss that begins with bce, "
                "training.class_balance=false and training.border_weight=0, or leave it empty."
            )

    def to_dict(self) -> dict[str, dict[str, Any]]:
        """Return nested plain values (for JSON and checkpoints)."""
        return {f.name: getattr(self, f.name).to_dict() for f in dataclasses.fields(self)}

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> Config:
        """Make a configuration of nested plain values; unknown keys raise `ValueError`."""
        sections = {f.name: f.default_factory for f in dataclasses.fields(cls)}
        for key in values:
            if key not in sections:
                raise unknown_key(key, list(sections), "Config")
        made = {key: sections[key].from_dict(part) for key, part in values.items()}  # type: ignore[union-attr]
        return cls(**made)

    def replace(self, changes: dict[str, Any] | None = None, **more: Any) -> Config:
        """Return a copy with changed fields, each named ``section.field``.

        Examples
        --------
        >>> Config().replace({"training.epochs": 3}).training.epochs
        3
        """
        values = self.to_dict()
        for name, value in {**(changes or {}), **more}.items():
            section, _, key = name.partition(".")
            if section not in values:
                raise unknown_key(section, list(values), "Config")
            values[section][key] = value
        return Config.from_dict(values)
