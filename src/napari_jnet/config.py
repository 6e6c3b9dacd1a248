"""Every parameter once: sections as pydantic models, presets, and settings written as text."""

from __future__ import annotations

import ast
import difflib
import json
import re
import reprlib
import warnings
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Literal, Self, get_args, get_origin

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    ValidationError,
    ValidationInfo,
    field_validator,
    model_validator,
)

SMALLEST_DIAMETER = 3.0
"""Of objects, in pixels of the full frame."""

_SHORT = reprlib.Repr()
_SHORT.maxlist, _SHORT.maxstring, _SHORT.maxother, _SHORT.maxlong = 20, 200, 200, 60


def option(
    default: Any,
    help: str,
    limits: tuple[float | None, float | None] = (None, None),
    *,
    unit: str = "",
    example: Any = None,
) -> Any:
    """Declare a field with its help and limits; limits of the numbers of a tuple stand in its type."""
    return Field(
        default,
        description=help,
        ge=limits[0],
        le=limits[1],
        examples=[default if example is None else example],
        json_schema_extra={"unit": unit},
    )


@dataclass(frozen=True)
class Option:
    """What a form or a command line needs to know of one field."""

    name: str
    default: Any
    help: str
    minimum: float | None
    maximum: float | None
    choices: tuple[Any, ...] | None
    unit: str
    kind: Any  # the type, without the None of an optional field
    optional: bool
    example: Any


def options(section: type[Section]) -> dict[str, Option]:
    """Return the fields of one section of the configuration by their names, in order."""
    return {name: _option(name, field) for name, field in section.model_fields.items()}


def _option(name: str, field: Any) -> Option:
    optional = type(None) in get_args(field.annotation)
    kind = get_args(field.annotation)[0] if optional else field.annotation
    return Option(
        name=name,
        default=field.default,
        help=field.description,
        minimum=next((limit.ge for limit in field.metadata if hasattr(limit, "ge")), None),
        maximum=next((limit.le for limit in field.metadata if hasattr(limit, "le")), None),
        choices=get_args(kind) if get_origin(kind) is Literal else None,
        unit=field.json_schema_extra["unit"],
        kind=kind,
        optional=optional,
        example=field.examples[0],
    )


def unknown_key(key: object, known: list[str], where: str) -> ValueError:
    """Return the error for a name that is not known, with the nearest one that is."""
    close = difflib.get_close_matches(str(key), known, n=1)
    hint = f"did you mean {close[0]!r}?" if close else f"known are {', '.join(known)}."
    return ValueError(f"{where} has no {_shown(key)}: {hint}")


class FieldError(ValueError):
    """A value does not fit its field; ``in_form`` says so where an empty field, not null, is none."""

    def __init__(self, text: str, in_form: str = "") -> None:
        super().__init__(text)
        self.in_form = in_form


class Section(BaseModel):
    """One group of parameters, frozen; each is checked against its type, its limits and choices.

    A list counts as a tuple, nothing else is converted.  What does not fit raises `FieldError`, in one
    sentence that begins with ``where``, by default the class and a dot, and the name of the field.
    """

    model_config = ConfigDict(frozen=True, strict=True, extra="forbid", allow_inf_nan=False)

    def __init__(self, where: str | None = None, /, **values: Any) -> None:
        where = f"{type(self).__name__}." if where is None else where
        for key in values:
            if key not in type(self).model_fields:
                raise unknown_key(key, list(type(self).model_fields), where.rstrip("."))
        values = {key: _nested(value, tuple) for key, value in values.items()}
        try:
            super().__init__(**values)
        except ValidationError as error:
            sentences = (
                where + _sentence(type(self), values, error, none)
                for none in ("null for none", "leave it empty")
            )
            raise FieldError(*sentences) from None

    @classmethod
    def from_dict(cls, values: Mapping[str, Any], where: str | None = None) -> Self:
        """Make a section of plain values; what does not fit raises `ValueError`."""
        if not isinstance(values, Mapping):
            raise ValueError(
                f"{(where or cls.__name__).rstrip('.')} is {_shown(values)}; it must hold values by "
                f"their names, such as {next(iter(cls.model_fields))!r}."
            )
        return cls(where, **{str(key): value for key, value in values.items()})

    def to_dict(self) -> dict[str, Any]:
        """Return plain values: numbers, text, lists."""
        return self.model_dump(mode="json")

    def given(self) -> dict[str, Any]:
        """Return the values that were given when this was made, also those that equal the default."""
        return {name: value for name, value in self if name in self.model_fields_set}

    def changed(self, **changes: Any) -> Self:
        """Return a checked copy with other values."""
        return type(self)(**{**self.given(), **changes})


def _nested(value: Any, new: type[list[Any] | tuple[Any, ...]], depth: int = 3) -> Any:
    """Return lists as tuples, or tuples as lists; parameters are nested up to three deep."""
    if isinstance(value, (list, tuple)) and depth:
        return new(_nested(item, new, depth - 1) for item in value)
    return value


def _shown(value: Any) -> str:
    """Return a value for a message: tuples as lists, long ones shortened."""
    try:
        return _SHORT.repr(_nested(value, list))
    except (ValueError, RecursionError):  # a number of thousands of digits, lists within lists
        return f"a value of type {type(value).__name__} that is too long to show"


def _sentence(
    section: type[Section], values: dict[str, Any], error: ValidationError, none: str
) -> str:
    """Return the first error as value, rule and remedy, beginning with the name of the field.

    ``none`` says how to give no value to a field that can do without one.
    """
    first = error.errors(include_url=False)[0]
    if first["type"] == "value_error":
        return str(first["ctx"]["error"])
    name = str(first["loc"][0])
    rule = "it is too short" if first["type"] == "missing" else first["msg"].replace("Input", "it")
    rule = rule.replace("a valid boolean", "true or false").replace("a valid tuple", "a list")
    field = section.model_fields[name]
    if type(None) in get_args(field.annotation) and first["type"].endswith("_type"):
        rule += f", or {none}"
    if isinstance(field.default, tuple):
        rule += f": write it as {json.dumps(options(section)[name].example)}"
    return f"{name} is {_shown(values[name])}; {rule}."


def read_literal(text: str) -> Any:
    """Return what a text means as JSON or Python, without running anything; other text stays text."""
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        pass
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", SyntaxWarning)
            return ast.literal_eval(text)
    except (ValueError, TypeError, SyntaxError, MemoryError, RecursionError):
        return text


def read_settings(settings: Iterable[str]) -> dict[str, Any]:
    """Read settings of a command line, ``section.field=value``, for `Config.replace`.

    A value is as JSON or Python write it, or text as it is; what cannot be read stays text, which the
    field refuses.  A setting of another form raises `ValueError`.
    """
    found: dict[str, Any] = {}
    for setting in settings:
        name, equals, value = setting.partition("=")
        section, dot, key = name.strip().partition(".")
        if not equals or not dot:
            raise ValueError(
                f"--set is {setting!r}; it must be section.field=value, such as "
                "training.batch_size=2."
            )
        key = RENAMED.get(f"{section}.{key}", key)
        known = options(SECTIONS[section]).get(key) if section in SECTIONS else None
        is_text = known is not None and (known.kind is str or isinstance(known.default, str))
        literal = read_literal(value.strip())
        kept = isinstance(literal, str) or not is_text
        found[f"{section}.{key}"] = literal if kept else value.strip()
    return found


_Amount = Annotated[float, Field(ge=-1, le=1e6)]
_Weight = Annotated[float, Field(ge=0, le=1e6)]
_Entries = tuple[tuple[_Amount, _Amount, _Weight], ...]


class OriginalAugmentation(Section):
    """How the original J-Net changes a training image, in its order and by its names.

    Each list has one entry for each way to do it; which one is done is drawn by the weights, the last
    number of each entry.  An entry that begins with -1 does nothing; an empty list is off.
    """

    aug_crop_params: _Entries = option(
        (),
        "Random crops, a list of [height, width, weight]; one is drawn for each batch.",
        example=[[256, 256, 1]],
    )
    aug_rotation: int = option(
        0,
        "Roll by a random number of pixels, then rotate by any angle, reflected at the border.",
        (0, 1),
    )
    aug_rolling: int = option(1, "Whether aug_rotation rolls; 0 as the original.", (0, 1))
    aug_intensity_params: _Entries = option(
        (),
        "Foreground intensity i becomes i + m*i + s*(its mean): a list of [largest m, largest s, weight].",
        example=[[0.1, 0.1, 1]],
    )
    aug_elastic_params: _Entries = option(
        (),
        "Elastic deformation, a list of [alpha, sigma, weight]: noise from -1 to 1, smoothed by a "
        "Gaussian of sigma pixels, times alpha pixels.",
        example=[[50, 5, 5], [-1, -1, 1]],
    )
    aug_rotation_flip: int = option(0, "Flips and quarter turns.", (0, 1))
    aug_symmetries: Annotated[int, Field(multiple_of=2)] = option(
        8,
        "How many of them: 8, or 6 as the original, which never flips what it has turned by 90°.",
        (6, 8),
    )

    @model_validator(mode="after")
    def _check(self) -> Self:
        for name in ("aug_crop_params", "aug_intensity_params", "aug_elastic_params"):
            entries = getattr(self, name)
            if entries and not any(weight > 0 for _, _, weight in entries):
                raise ValueError(f"{name} has no weight above 0; at least one entry needs one.")
        for height, width, _ in self.aug_crop_params:
            if height != -1 and not (min(height, width) >= 1 and height % 1 == width % 1 == 0):
                raise ValueError(
                    f"aug_crop_params has {[height, width]}; height and width are integers, in pixels."
                )
        for alpha, sigma, _ in self.aug_elastic_params:
            if alpha > 0 and sigma <= 0:
                raise ValueError(f"aug_elastic_params has {[alpha, sigma]}; sigma must be above 0.")
        return self


def _consecutive(levels: tuple[int, ...]) -> tuple[int, ...]:
    if list(levels) != list(range(levels[0], levels[0] + len(levels)) if levels else ()):
        raise ValueError(
            f"resolution_levels is {list(levels)}; "
            "levels are consecutive and ascending, such as [-2, -1, 0]."
        )
    return levels


def _positive(structure: tuple[tuple[int, int, int], ...]) -> tuple[tuple[int, int, int], ...]:
    if any(min(part) < 1 or part[2] % 2 == 0 for part in structure):
        raise ValueError(
            f"structure is {[list(part) for part in structure]}; each segment is "
            "[layers, channels, kernel], all at least 1, the kernel odd."
        )
    return structure


_Size = Annotated[int, Field(le=65536)]
_Scale = Annotated[float, Field(ge=0.1, le=10)]
_Alpha = Annotated[float, Field(ge=0, le=100000)]
_Sigma = Annotated[float, Field(ge=0.5, le=10000)]
Levels = Annotated[tuple[Annotated[int, Field(ge=-12, le=0)], ...], AfterValidator(_consecutive)]
_Layers = Annotated[int, Field(le=1000)]
Structure = Annotated[tuple[tuple[_Layers, _Size, _Size], ...], AfterValidator(_positive)]


class NetworkConfig(Section):
    """Which network, and how large.

    ``resolution_levels`` are consecutive and ascending; level -k is the frame average-pooled by 2**k.
    The top (last) level is the resolution of the network's output: -1 means half size.
    """

    name: str = option("unet", "Network architecture.")
    in_channels: int = option(1, "Channels of a frame.", (1, 65536))
    gray: bool = option(
        False,
        "Take frames of several channels as one: the luminance of red, green and blue, else the mean.",
    )
    classes: int = option(1, "Segmentation channels: 1 for binary, K for K classes.", (1, 65536))
    distance: bool = option(
        True, "Predict the truncated boundary distance beside the segmentation."
    )
    resolution_levels: Levels = option(
        (),
        "Resolution levels, lowest first; level -k is pooled by 2**k. Empty: from the size of the objects.",
        example=[-2, -1, 0],
    )
    structure: Structure = option(
        ((8, 32, 3), (4, 8, 3), (3, 8, 3)),
        "J-Net: [layers, channels, kernel] of the lowest level, then [layers, added channels, kernel].",
    )
    halve_channels: bool = option(
        True,
        "J-Net: each upsampling keeps half of the channels; off: all of them, as the original.",
    )
    deep_supervision: bool = option(
        True, "J-Net, U-Net: in training, the output of each level has a loss of its own."
    )
    channels: int = option(16, "U-Net: channels at the widest resolution.", (1, 1024))
    padding: Literal["same", "valid"] = option(
        "same",
        "U-Net: same keeps the size; valid trims borders, which are mirrored first, as in the paper.",
    )
    batch_norm: bool = option(True, "U-Net, FCN: batch normalisation after each convolution.")
    upsampling: Literal["transposed", "bilinear"] = option(
        "transposed", "U-Net: learned transposed convolution, or bilinear interpolation."
    )
    dropout: float = option(0.0, "Dropout: U-Net at the bottleneck, FCN in fc6 and fc7.", (0, 0.95))
    width: float = option(1.0, "FCN: multiplier of the channels of VGG16.", (0.01, 4))
    batchnorm_momentum: float = option(0.1, "Momentum of batch normalisation.", (0.0, 1.0))
    standardization: Literal["robust", "plain"] = option(
        "robust",
        "What the network sees: robust cuts hot pixels and leaves out padding, plain does as the original.",
    )
    distance_scale: float = option(
        1.0,
        "Set by the training. Pixels that one unit of the distance channel stands for.",
        (1e-6, 1e6),
        unit="px",
    )
    diameter: float | None = option(
        None,
        "Typical diameter of the objects in the full frame; by default from the annotation.",
        (SMALLEST_DIAMETER, 10000),
        unit="px",
    )
    scale: float = option(
        1.0,
        "Factor by which frames are rescaled before the network sees them; a training that starts from a "
        "model for cells of any size sets it.",
        (1e-3, 1e3),
    )


class TargetConfig(Section):
    """What the network learns: segmentation and truncated boundary distance."""

    dt_bound: float | None = option(
        None,
        "Truncation distance in pixels of the full frame; by default from the objects' size.",
        (1, 10000),
        unit="px",
    )
    distance_metric: Literal["cityblock", "euclidean"] = option(
        "cityblock", "Metric of the boundary distance."
    )
    relative: bool | None = option(
        None,
        "Learn how deep a pixel lies in its own object, as a fraction of the object's deepest, times "
        "dt_bound, and 0 outside. By default where the annotated objects differ much in size.",
        example=True,
    )
    classes: tuple[tuple[str, str], ...] = option(
        (),
        "Set by the training. [name, colour] of each class from 0, such as [line, #ff0000].",
        example=[["background", "#000000"], ["line", "#ff0000"]],
    )


class AugmentationConfig(Section):
    """How a training patch is changed before the network sees it."""

    warped: float = option(
        0.5,
        "Share of the patches that are rotated by any angle, scaled, sheared and deformed; the others are "
        "only flipped and turned by 90°, as sharp as the frames.",
        (0, 1),
    )
    flip: bool = option(True, "Mirror patches at random.")
    rotation: float = option(180.0, "Largest rotation to either side.", (0, 180), unit="°")
    scale: tuple[_Scale, _Scale] = option((0.8, 1.2), "Range of random scaling.")
    shear: float = option(0.0, "Largest shear to either side.", (0, 2))
    elastic_alpha: float = option(
        8.0,
        "Largest elastic displacement, in pixels of the network's resolution.",
        (0, 10000),
        unit="px",
    )
    elastic_sigma: float = option(
        12.0, "Distance of the knots of the elastic field.", (1, 10000), unit="px"
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
        (0, 10000),
        unit="px",
    )
    original: OriginalAugmentation | None = option(
        None,
        "Flags of the original J-Net's script; then its augmentations replace all others.",
        example={"aug_rotation": 1},
    )
    brightness: float = option(
        0.3, "Random offset, in standard deviations of the frame.", (0, 1000)
    )
    contrast: float = option(0.25, "Random gain: up to this much more or less.", (0, 1))
    noise: float = option(0.1, "Random noise, in standard deviations of the frame.", (0, 1000))
    blur: float = option(
        0.0,
        "Largest deviation of a Gaussian that blurs a patch; 0 is off.",
        (0, 100),
        unit="px",
    )
    gamma: tuple[_Scale, _Scale] = option(
        (1.0, 1.0), "Range of a random gamma; mean and contrast of the patch stay."
    )
    shading: float = option(
        0.0, "Uneven light: up to this much brighter or darker at places; 0 is off.", (0, 1)
    )
    inversion: float = option(
        0.0, "Probability that bright and dark change places; 0 is off.", (0, 1)
    )

    @field_validator("scale", "smooth_alpha", "smooth_sigma", "gamma")
    @classmethod
    def _range(cls, value: tuple[float, float], info: ValidationInfo) -> tuple[float, float]:
        if value[0] > value[1]:
            raise ValueError(f"{info.field_name} is {list(value)}; the lowest comes first.")
        return value

    @field_validator("original", mode="before")
    @classmethod
    def _flags(cls, flags: Any) -> Any:
        """Read flags from a dictionary, or from JSON text, as earlier versions saved them; "" is none."""
        if isinstance(flags, str):
            flags = read_literal(flags) if flags else None
        if flags is None or isinstance(flags, OriginalAugmentation):
            return flags
        return OriginalAugmentation.from_dict(flags, "original.")


class TrainingConfig(Section):
    """How the network is trained.  One of ``minutes`` and ``epochs`` ends the training."""

    minutes: float | None = option(
        None, "Time budget; the schedule is stretched over it.", (0.01, 10**7), unit="min"
    )
    epochs: int | None = option(None, "Number of epochs.", (1, 10**9))
    batches_per_epoch: int = option(24, "Batches between two validations.", (1, 10**9))
    batch_size: int = option(4, "Patches in a batch.", (1, 65536))
    patch_size: int = option(
        128,
        "Side of a training patch, in pixels of the network's resolution.",
        (16, 65536),
        unit="px",
    )
    loss: str = option("bce+smooth_l1", "Loss of segmentation and distance.")
    class_balance: bool = option(
        False,
        "Weight classes in the segmentation loss by how rare they are in the training frames.",
    )
    border_weight: float = option(
        0.0,
        "Extra weight w0 of the borders between two near objects (U-Net's paper: 10); 0 is off.",
        (0, 10000),
    )
    border_sigma: float = option(
        5.0, "Distance over which that weight decays.", (0.1, 10000), unit="px"
    )
    pretrained: str = option(
        "",
        "FCN: file of VGG16 weights to begin with, of torchvision (names features.0.weight) or of Caffe "
        "(names conv1_1.weight; .npz or torch).",
    )
    optimizer: Literal["adam", "adamw", "sgd"] = option("adamw", "Optimiser.")
    momentum: float = option(0.9, "Momentum of SGD.", (0, 0.9999))
    learning_rate: float = option(2e-3, "Learning rate.", (1e-8, 1))
    weight_decay: float = option(
        1e-4, "Weight decay: decoupled in AdamW, L2 in Adam and SGD.", (0, 1)
    )
    schedule: Literal["cosine", "plateau", "step", "constant"] = option(
        "cosine", "Learning rate schedule."
    )
    step_epochs: int = option(30, "Epochs between two steps of the step schedule.", (1, 10**9))
    step_factor: float = option(0.1, "Factor of each step.", (0, 1))
    patience: int = option(
        0, "Early stopping: epochs without a better validation; 0 never stops early.", (0, 10**9)
    )
    best_by: str = option(
        "auto",
        "Metric for model selection: loss, iou (of cell), mean_iou (of all classes), seg or the IoU of one "
        "class, as class:2. auto keeps the last epoch, or, with early stopping, the best by seg where labels "
        "are objects, else by mean_iou.",
    )
    average_weights: bool = option(
        True, "Validate and keep a moving average of the weights, not those of the last step."
    )
    tensorboard: bool = option(
        False, "Also write the history for TensorBoard (needs the tensorboard package)."
    )
    validation_fraction: float = option(
        0.12,
        "Fraction of the annotated frames kept for validation (at least one of two or more).",
        (0, 0.9),
    )
    seed: int = option(0, "Seed of every random choice.", (0, 2**63 - 1))
    device: Literal["auto", "cpu", "cuda", "mps"] = option("auto", "Where to compute.")
    precision: Literal["auto", "float32", "bfloat16"] = option(
        "auto",
        "Arithmetic of the forward pass in training; auto measures which is faster on this computer.",
    )
    threads: int = option(0, "Threads of the CPU; 0 takes the cores it may use.", (0, 1024))

    @field_validator("best_by")
    @classmethod
    def _known_score(cls, best_by: str) -> str:
        if not re.fullmatch(r"auto|loss|iou|mean_iou|seg|class:[0-9]{1,5}", best_by):
            raise ValueError(
                f"best_by is {best_by[:200]!r}; it is auto, loss, iou, mean_iou, seg or the number of a "
                "class, such as class:2."
            )
        return best_by


class InstanceConfig(Section):
    """How segmentation and distance become separate objects."""

    segmentation_threshold: float = option(0.5, "Probability above which a pixel is cell.", (0, 1))
    seed_threshold: float = option(
        0.5,
        "Distance above which a pixel belongs to a seed, as a fraction of the truncation distance.",
        (0, 1),
    )
    smoothing: float = option(
        0.1,
        "Gaussian that smooths the distance before seeds are found, as a fraction of the truncation "
        "distance.",
        (0, 1),
    )
    min_size: int = option(
        0,
        "Smallest object kept, in pixels of the full frame; in voxels of a volume.",
        (0, 10**9),
        unit="px",
    )
    fill_holes: bool = option(True, "Fill the holes of each object.")
    min_confidence: float = option(
        0.0,
        "Lowest confidence of an object that is kept: how sure its probability and distance are, 0 to 1.",
        (0, 1),
    )
    relative: bool = option(
        False,
        "Set by the training. Whether the distance is in each object's own unit (targets.relative).",
    )


class PredictionConfig(Section):
    """How the network is applied to frames."""

    tile: int | None = option(
        None,
        "Side of the tiles; 0 takes whole frames. By default only large frames are tiled.",
        (0, 10**6),
        unit="px",
    )
    overlap: float = option(
        0.0,
        "Overlap of tiles whose outputs are averaged; 0 predicts exact tiles, with a halo.",
        (0, 0.9),
    )
    tta: Literal[1, 4, 8] = option(
        8,
        "Test-time augmentation: average over 1, 4 (flips) or 8 (flips and quarter turns) frames; previews "
        "of a training take 1.",
    )

    diameter: float | None = option(
        None,
        "Diameter of the cells in these frames, which are rescaled for the network; 0 estimates it from "
        "the frames. By default frames stay as they are.",
        (0, 10000),
        unit="px",
    )
    backend: Literal["auto", "torch", "torch-bfloat16", "openvino", "openvino-bfloat16"] = option(
        "auto",
        "How the network runs: torch is float32; auto measures on the first frame of a long prediction which "
        "of the installed ways is the fastest with the same cells.",
    )

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.overlap and self.tile == 0:
            raise ValueError(
                f"overlap is {self.overlap} and tile is 0; whole frames do not "
                "overlap. Give the side of the tiles, or an overlap of 0."
            )
        return self


class Config(Section):
    """The whole configuration of a run; saved as ``config.json`` and in every checkpoint."""

    network: NetworkConfig = NetworkConfig()
    targets: TargetConfig = TargetConfig()
    augmentation: AugmentationConfig = AugmentationConfig()
    training: TrainingConfig = TrainingConfig()
    instances: InstanceConfig = InstanceConfig()
    prediction: PredictionConfig = PredictionConfig()

    @model_validator(mode="after")
    def _check(self) -> Self:
        training = self.training
        weighted = training.class_balance or training.border_weight
        maps = self.network.classes == 1 and training.loss.startswith("bce") and not weighted
        if self.augmentation.original and not maps:
            raise ValueError(
                "augmentation.original warps maps of cell and distance, so it knows neither classes nor "
                "weights of pixels. Use it with network.classes=1, a loss that begins with bce, "
                "training.class_balance=false and training.border_weight=0, or leave it empty."
            )
        if self.augmentation.original and self.targets.relative:
            raise ValueError(
                "targets.relative is true, but augmentation.original warps distances in pixels. Leave one of "
                "them out."
            )
        if self.augmentation.original and self.network.scale != 1:
            raise ValueError(
                f"network.scale is {self.network.scale:g}, but augmentation.original warps maps of the full "
                "frame. Leave one of them out."
            )
        return self

    @classmethod
    def from_dict(cls, values: Mapping[str, Any], where: str | None = "") -> Self:
        """Make a configuration of nested plain values.

        Parameters
        ----------
        values
            Sections, each with its fields by their names, also earlier ones; defaults for the others.
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
        sections = {}
        for name, part in values.items():
            if name not in SECTIONS:
                raise unknown_key(name, list(SECTIONS), f"{where}Config")
            if isinstance(part, Mapping):
                part = {RENAMED.get(f"{name}.{key}", key): value for key, value in part.items()}
            sections[name] = SECTIONS[name].from_dict(part, f"{where}{name}.")
        return super().from_dict(sections, where)

    @classmethod
    def from_saved(cls, values: Any) -> Self:
        """Make the configuration that a model file holds.

        A setting that it does not name has the value from before there was a choice.
        """
        if isinstance(values, Mapping):
            for section, before in _BEFORE_A_CHOICE.items():
                if isinstance(values.get(section), Mapping):
                    values = {**values, section: {**before, **values[section]}}
        return cls.from_dict(values)

    def at_diameter(self, diameter: float) -> Self:
        """Return the configuration of the same network for objects of another diameter in pixels.

        Frames are rescaled, so that the network sees objects as large as in its training.  Raises
        `ValueError` if the diameter of its objects is not known, or if this one is out of range.
        """
        if self.network.diameter is None:
            raise ValueError(
                f"The diameter is {diameter:g} px, but the model does not know that of the objects it was "
                "trained on, so that frames cannot be rescaled for it. Leave the diameter out, or train "
                "the model again."
            )
        if diameter == self.network.diameter:
            return self
        NetworkConfig(diameter=diameter)  # checks it
        zoom = self.network.diameter / diameter
        assert self.targets.dt_bound is not None
        return self.replace(
            {
                "network.diameter": diameter,
                "network.scale": self.network.scale * zoom,
                "network.distance_scale": self.network.distance_scale / zoom,
                "targets.dt_bound": max(self.targets.dt_bound / zoom, 1.0),
                "instances.min_size": round(self.instances.min_size / zoom**2),
            }
        )

    def describe_distance(self) -> str:
        """Say in a few words what distance the network learns."""
        if not self.network.distance:
            return "no distance"
        if self.targets.relative:
            return "distance relative to each object"
        return f"distance truncated at {self.targets.dt_bound:g} px"

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
            values[section][RENAMED.get(name, key)] = value
        return self.from_dict(values)


SECTIONS: dict[str, type[Section]] = {
    name: field.annotation  # type: ignore[misc]
    for name, field in Config.model_fields.items()
}
"""The sections of a configuration by their names, in order."""
_BEFORE_A_CHOICE: dict[str, dict[str, Any]] = {
    "network": {"standardization": "plain", "halve_channels": False, "deep_supervision": False},
    "targets": {"relative": False},
    "augmentation": {"warped": 1.0},
}
RENAMED: dict[str, str] = {"prediction.symmetries": "tta", "targets.legend": "classes"}
"""Earlier ``section.field`` -> name of the field today, in files, presets and settings alike."""


_SOFTMAX: dict[str, Any] = {
    "network.classes": 2,
    "network.distance": False,
    "network.deep_supervision": False,
}

_ONLY_FLIPS: dict[str, Any] = {
    "augmentation.warped": 1.0,
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
        "augmentation.warped": 1.0,
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
    # Multi-class by patches, as in unet-multiclass-pytorch.
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
        "network.halve_channels": False,
        "network.deep_supervision": False,
        "network.standardization": "plain",
        "targets.dt_bound": 9.0,
        "augmentation.original": {
            "aug_rotation": 1,
            "aug_rotation_flip": 1,
            "aug_elastic_params": ((50.0, 5.0, 5.0), (-1.0, -1.0, 1.0)),
        },
        "training.loss": "bce+mse",
        "training.optimizer": "adam",
        "training.learning_rate": 1e-4,
        "training.weight_decay": 0.0,
        "training.schedule": "plateau",
        "training.batch_size": 8,
        "training.best_by": "loss",
        "training.average_weights": False,
        "training.precision": "float32",
        "prediction.tta": 1,
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
