"""Every parameter once: frozen dataclasses that feed the command line, the forms and the checkpoints.

A field carries its help, range and choices in ``metadata``; `options` lists them, so that a form or a
command line shows the same words, limits and defaults.  A `Config` is checked when it is made: a value
out of range never reaches the training loop.
"""

from __future__ import annotations

import dataclasses
import difflib
from dataclasses import dataclass, field
from typing import Any, Self

__all__ = [
    "PRESETS",
    "AugmentationConfig",
    "Config",
    "InstanceConfig",
    "NetworkConfig",
    "Option",
    "TargetConfig",
    "TrainingConfig",
    "options",
    "preset",
]


def _option(
    default: Any,
    help: str,
    *,
    minimum: float | None = None,
    maximum: float | None = None,
    choices: tuple[str, ...] | None = None,
    unit: str = "",
) -> Any:
    metadata = {
        "help": help,
        "minimum": minimum,
        "maximum": maximum,
        "choices": choices,
        "unit": unit,
    }
    return field(default=default, metadata=metadata)


@dataclass(frozen=True)
class Option:
    """What a form or a command line needs to know of one field."""

    name: str
    default: Any
    help: str
    minimum: float | None
    maximum: float | None
    choices: tuple[str, ...] | None
    unit: str


def options(section: type[_Section]) -> dict[str, Option]:
    """List the fields of one section of the configuration, in order."""
    return {f.name: Option(f.name, f.default, **f.metadata) for f in dataclasses.fields(section)}


def _unknown_key(key: str, known: list[str], where: str) -> ValueError:
    close = difflib.get_close_matches(key, known, n=1)
    hint = f"did you mean {close[0]!r}?" if close else f"known are {', '.join(known)}."
    return ValueError(f"{where} has no {key!r}: {hint}")


@dataclass(frozen=True, kw_only=True)
class _Section:
    """One group of parameters; checks ranges and choices as declared in the metadata."""

    def __post_init__(self) -> None:
        for option in options(type(self)).values():
            _check_option(type(self).__name__, option, getattr(self, option.name))

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> Self:
        known = [f.name for f in dataclasses.fields(cls)]
        for key in values:
            if key not in known:
                raise _unknown_key(key, known, cls.__name__)
        return cls(**{key: _tupled(value) for key, value in values.items()})

    def to_dict(self) -> dict[str, Any]:
        return {f.name: _listed(getattr(self, f.name)) for f in dataclasses.fields(self)}


def _tupled(value: Any) -> Any:
    return tuple(_tupled(item) for item in value) if isinstance(value, (list, tuple)) else value


def _listed(value: Any) -> Any:
    return [_listed(item) for item in value] if isinstance(value, tuple) else value


def _check_option(section: str, option: Option, value: Any) -> None:
    name = f"{section}.{option.name}"
    if value is None:
        if option.default is not None:
            raise ValueError(f"{name} is None; it needs a value such as {option.default!r}.")
        return
    if option.choices is not None and value not in option.choices:
        raise ValueError(f"{name} is {value!r}; it must be one of {', '.join(option.choices)}.")
    if option.minimum is None and option.maximum is None:
        return
    for number in value if isinstance(value, tuple) else (value,):
        if isinstance(number, bool) or not isinstance(number, (int, float)):
            raise ValueError(f"{name} is {value!r}; it must be a number.")
        if option.minimum is not None and not number >= option.minimum:
            raise ValueError(f"{name} is {number}; the smallest is {option.minimum}.")
        if option.maximum is not None and not number <= option.maximum:
            raise ValueError(f"{name} is {number}; the largest is {option.maximum}.")


@dataclass(frozen=True, kw_only=True)
class NetworkConfig(_Section):
    """Which network, and how large.

    ``resolution_levels`` are consecutive and ascending; level -k is the frame average-pooled by 2**k.
    The top (last) level is the resolution at which the network answers: -1 means half size.
    """

    name: str = _option("unet", "Network architecture.")
    in_channels: int = _option(1, "Channels of a frame.", minimum=1)
    classes: int = _option(1, "Segmentation channels: 1 for binary, K for K classes.", minimum=1)
    distance: bool = _option(
        True, "Predict the truncated boundary distance beside the segmentation."
    )
    resolution_levels: tuple[int, ...] = _option(
        (),
        "Resolution levels, lowest first; level -k is pooled by 2**k. Empty: from the size of the objects.",
        minimum=-12,
        maximum=0,
    )
    structure: tuple[tuple[int, int, int], ...] = _option(
        ((12, 48, 3), (2, 8, 3), (2, 8, 3)),
        "J-Net: [layers, channels, kernel] of the lowest level, then [layers, added channels, kernel].",
    )
    channels: int = _option(
        16, "U-Net: channels at the widest resolution.", minimum=1, maximum=1024
    )
    batchnorm_momentum: float = _option(
        0.1, "Momentum of batch normalisation.", minimum=0.0, maximum=1.0
    )
    distance_scale: float = _option(
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
class TargetConfig(_Section):
    """What the network learns: segmentation and boundary distance cut at a bound."""

    dt_bound: float | None = _option(
        None,
        "Bound of the boundary distance in pixels of the full frame; by default from the objects' size.",
        minimum=1,
        unit="px",
    )
    distance_metric: str = _option(
        "cityblock",
        "Metric of the boundary distance.",
        choices=("cityblock", "euclidean"),
    )


@dataclass(frozen=True, kw_only=True)
class AugmentationConfig(_Section):
    """How a training patch is changed before the network sees it."""

    flip: bool = _option(True, "Mirror patches at random.")
    rotation: float = _option(
        180.0, "Largest rotation to either side.", minimum=0, maximum=180, unit="°"
    )
    scale: tuple[float, float] = _option(
        (0.8, 1.2), "Range of random scaling.", minimum=0.1, maximum=10
    )
    elastic_alpha: float = _option(
        8.0,
        "Largest elastic displacement, in pixels of the network's resolution.",
        minimum=0,
        unit="px",
    )
    elastic_sigma: float = _option(12.0, "Smoothness of the elastic field.", minimum=1, unit="px")
    brightness: float = _option(
        0.3, "Random offset, in standard deviations of the frame.", minimum=0
    )
    contrast: float = _option(
        0.25, "Random gain: up to this much more or less.", minimum=0, maximum=1
    )
    noise: float = _option(0.1, "Random noise, in standard deviations of the frame.", minimum=0)


@dataclass(frozen=True, kw_only=True)
class TrainingConfig(_Section):
    """How the network is trained.  One of ``minutes`` and ``epochs`` ends the training."""

    minutes: float | None = _option(
        None, "Time budget; the schedule is stretched over it.", minimum=0.01, unit="min"
    )
    epochs: int | None = _option(None, "Number of epochs.", minimum=1)
    batches_per_epoch: int = _option(24, "Batches between two validations.", minimum=1)
    batch_size: int = _option(4, "Patches in a batch.", minimum=1)
    patch_size: int = _option(
        256,
        "Side of a training patch, in pixels of the network's resolution.",
        minimum=16,
        unit="px",
    )
    loss: str = _option("bce+smooth_l1", "Loss of segmentation and distance.")
    optimizer: str = _option("adamw", "Optimiser.", choices=("adam", "adamw"))
    learning_rate: float = _option(2e-3, "Learning rate.", minimum=1e-8, maximum=1)
    weight_decay: float = _option(1e-4, "Decoupled weight decay of AdamW.", minimum=0, maximum=1)
    schedule: str = _option(
        "cosine", "Learning rate schedule.", choices=("cosine", "plateau", "constant")
    )
    validation_fraction: float = _option(
        0.12,
        "Part of the annotated frames kept for validation (at least one of two or more).",
        minimum=0,
        maximum=0.9,
    )
    seed: int = _option(0, "Seed of every random choice.", minimum=0)
    device: str = _option("auto", "Where to compute.", choices=("auto", "cpu", "cuda", "mps"))
    precision: str = _option(
        "auto",
        "Arithmetic of the forward pass in training; auto takes bfloat16 where the hardware has it.",
        choices=("auto", "float32", "bfloat16"),
    )
    threads: int = _option(0, "Threads of the CPU; 0 takes all cores.", minimum=0, maximum=1024)


@dataclass(frozen=True, kw_only=True)
class InstanceConfig(_Section):
    """How segmentation and distance become separate objects."""

    segmentation_threshold: float = _option(
        0.5, "Probability above which a pixel is cell.", minimum=0, maximum=1
    )
    seed_threshold: float = _option(
        0.4,
        "Distance above which a cell's core becomes a seed, as a part of dt_bound.",
        minimum=0,
        maximum=1,
    )
    min_size: int = _option(
        0, "Smallest object kept, in pixels of the full frame.", minimum=0, unit="px"
    )
    fill_holes: bool = _option(True, "Fill the holes of each object.")


@dataclass(frozen=True, kw_only=True)
class Config:
    """The whole configuration of a run; saved as ``config.json`` and in every checkpoint."""

    network: NetworkConfig = field(default_factory=NetworkConfig)
    targets: TargetConfig = field(default_factory=TargetConfig)
    augmentation: AugmentationConfig = field(default_factory=AugmentationConfig)
    training: TrainingConfig = field(default_factory=TrainingConfig)
    instances: InstanceConfig = field(default_factory=InstanceConfig)

    def to_dict(self) -> dict[str, dict[str, Any]]:
        """Return nested plain values (for JSON and checkpoints)."""
        return {f.name: getattr(self, f.name).to_dict() for f in dataclasses.fields(self)}

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> Config:
        """Make a configuration of nested plain values; unknown keys raise `ValueError`."""
        sections = {f.name: f.default_factory for f in dataclasses.fields(cls)}
        for key in values:
            if key not in sections:
                raise _unknown_key(key, list(sections), "Config")
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
                raise _unknown_key(section, list(values), "Config")
            values[section][key] = value
        return Config.from_dict(values)


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
        raise _unknown_key(name, list(PRESETS), "The list of presets")
    return Config().replace(PRESETS[name])
