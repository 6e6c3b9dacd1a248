"""Model files: ours, written atomically, and those of the original J-Net.

Files are read with ``weights_only=True``: a file with code is refused.
"""

from __future__ import annotations

import copy
import io
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any

import torch
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, StrictInt, ValidationError

from napari_jnet.config import Config, NetworkConfig, preset
from napari_jnet.device import choose_device
from napari_jnet.files import FileError, atomic_write
from napari_jnet.io.run_folder import model_file
from napari_jnet.networks import build_network, count_weights
from napari_jnet.networks.base import SegmentationNetwork
from napari_jnet.safe_load import read_plain

FORMAT = "napari-jnet model"
VERSION = 1
_REMEDY = (
    "it is not a model, or it is damaged. Choose model.pt or last.pt of a run, or a file of the original "
    "J-Net."
)


class ModelFileError(FileError):
    """A file is not a model that can be used here."""


class IncompleteCheckpoint(ValueError):
    """A file of the original J-Net, of so many ``levels``, lacks ``missing`` arguments of `load_model`."""

    def __init__(self, path: Path, missing: tuple[str, ...], levels: int):
        self.missing, self.levels = missing, levels
        described = {
            "resolution_levels": f"its {levels} resolution levels (such as "
            f"{list(range(1 - levels, 1))})",
            "dt_bound": "the truncation distance in pixels it was trained with (such as 6)",
        }
        super().__init__(
            f"{path.name} is a network of the original J-Net; such files do not hold "
            f"{' nor '.join(described[name] for name in missing)}. Give "
            f"{' and '.join(missing)}."
        )


@dataclass(eq=False)
class Model:
    """A trained network and everything needed to predict with it."""

    network: SegmentationNetwork
    config: Config
    path: Path
    device: torch.device
    original: bool = False  # a file of the original J-Net, whose distance is not truncated
    run: Callable[[list[torch.Tensor]], torch.Tensor] | None = None  # None: not chosen
    measured: bool = False  # whether `run` was chosen by a measurement
    largest_tile: int | None = None  # pixels a side, where larger ones did not fit into the memory

    @property
    def dt_bound(self) -> float:
        """Truncation distance, in pixels of the full frame."""
        assert self.config.targets.dt_bound is not None
        return self.config.targets.dt_bound

    @property
    def scale(self) -> float:
        """Factor by which frames are rescaled before the network sees them."""
        return self.config.network.scale

    def at_diameter(self, diameter: float) -> Model:
        """Return the model for cells of another diameter, in pixels of the frame; it shares the weights.

        Raises `ValueError` as `Config.at_diameter`.
        """
        config = self.config.at_diameter(diameter)
        if config is self.config:
            return self
        network = copy.copy(self.network)
        network.config = config.network  # which has the unit of the distance
        return replace(self, network=network, config=config, run=None, measured=False)

    @property
    def frame_channels(self) -> int:
        """Channels of the frames that the network takes."""
        return self.config.network.in_channels


def save_checkpoint(path: Path, content: dict[str, Any]) -> None:
    """Write a checkpoint of ours; see `save_whole`."""
    save_whole(path, {"format": FORMAT, "version": VERSION, **content})


def save_whole(path: Path, content: dict[str, Any], *, legacy: bool = False) -> None:
    """Write plain data and tensors atomically; at `OSError` an earlier file is unchanged.

    ``legacy`` takes the format that torch wrote before version 1.6, which every version reads.
    """
    archive = io.BytesIO()  # torch would report a full disk as an error of its own
    torch.save(content, archive, _use_new_zipfile_serialization=not legacy)
    with atomic_write(path) as temporary, temporary.open("wb") as file:
        file.write(archive.getbuffer())


def _checked_weights(state: dict[str, Any]) -> dict[str, Any]:
    """Raise `ValueError` unless these are dense, real and finite weights of a network."""
    if not state:
        raise ValueError("it has no weights")
    for key, value in state.items():
        if not isinstance(value, torch.Tensor):
            raise ValueError("it holds values that are not weights")
        if value.layout is not torch.strided or value.is_complex() or value.is_quantized:
            raise ValueError("it holds weights of an unknown kind")
        if value.numel() * value.element_size() > value.untyped_storage().nbytes():
            raise ValueError(f"it has fewer elements of {key} than its shape needs")
        if not bool(value.isfinite().all()):
            raise ValueError("it has weights that are not finite numbers")
    return state


_Weights = Annotated[dict[str, Any], AfterValidator(_checked_weights)]


class _Content(BaseModel):
    """What is checked of a part of a checkpoint; there may be more."""

    model_config = ConfigDict(strict=True)


class _Epoch(_Content):
    epoch: float
    elapsed_s: float
    seg: float | None = None


class _ModelContent(_Content):
    config: dict[str, Any]
    network: _Weights
    history: list[_Epoch] = Field(default_factory=list)


class _Split(_Content):
    training: list[str]
    validation: list[str]


class _TrainingContent(_Content):
    network: _Weights
    history: list[_Epoch]
    best: _Weights | None = None  # where the best epoch is not the present one, nor in model.pt yet


class _LastContent(_ModelContent):
    split: _Split
    training: _TrainingContent


class _OriginalContent(BaseModel):
    structure: tuple[tuple[StrictInt, StrictInt, StrictInt], ...]
    batchnorm_momentum: float = 0.1
    state_dict: _Weights


def read_checkpoint(path: Path) -> dict[str, Any]:
    """Read a model file of ours or of the original J-Net, without running code from it.

    Raise `FileNotFoundError`; `ModelFileError` if it is not a model, damaged, of a newer version, or
    holds more than plain data and tensors.
    """
    if not path.exists():
        raise FileNotFoundError(f"The model file {path} does not exist. Choose model.pt of a run.")
    content = read_plain(path, "a model", _REMEDY, ModelFileError)
    if not isinstance(content, dict) or not (
        content.get("format") == FORMAT or {"structure", "state_dict"} <= content.keys()
    ):
        raise ModelFileError(f"{path} cannot be read as a model; {_REMEDY}")
    ours = content.get("format") == FORMAT
    if ours and content.get("version") != VERSION:
        raise ModelFileError(
            f"{path} is of version {content.get('version')}, this program reads version {VERSION}. "
            "Update napari-jnet."
        )
    last = _LastContent if "training" in content else _ModelContent
    try:
        (last if ours else _OriginalContent).model_validate(content)
    except ValidationError as error:
        raise ModelFileError(
            f"{path} cannot be read as a model ({first_error(error)}); {_REMEDY}"
        ) from None
    if ours and not any(name.startswith("level_heads.") for name in content["network"]):
        # Networks without these layers were once saved with the option on, which they did not have.
        network = content["config"].get("network")
        if isinstance(network, dict):
            network["deep_supervision"] = False
    return content


def first_error(error: ValidationError) -> str:
    """Return the first of the errors in a content: where it is, and the rule."""
    first = error.errors(include_url=False, include_input=False)[0]
    return f"{'.'.join(map(str, first['loc']))}: {first['msg'].removeprefix('Value error, ')}"


def read_training(path: Path) -> dict[str, Any]:
    """Read ``last.pt`` of a run as `read_checkpoint`; it also holds "split" and "training"."""
    content = read_checkpoint(path)
    if "training" not in content:
        raise ModelFileError(
            f"{path} has a model but no training state; resume from last.pt, or start a new training "
            "from this model."
        )
    return content


def load_model(
    path: Path | str,
    *,
    resolution_levels: Sequence[int] | None = None,
    dt_bound: float | None = None,
    device: str = "auto",
) -> Model:
    """Open a trained network.

    Parameters
    ----------
    path
        A run folder, its ``model.pt`` or ``last.pt``, a file of the original J-Net, or "starter", the model
        for cells of any size that comes with the package.  A folder of that name needs a longer path.
    resolution_levels, dt_bound
        Only for files of the original J-Net, which lack them.
    device
        "auto", "cpu", "cuda" or "mps".

    Returns
    -------
    Model

    Raises
    ------
    FileNotFoundError
        If the file does not exist.
    ModelFileError
        If the file is not a model.
    IncompleteCheckpoint
        If a file of the original J-Net is opened without the parameters that it lacks.
    ValueError
        If parameters are given that the file holds.
    """
    file = model_file(Path(path))
    content = read_checkpoint(file)
    original = content.get("format") != FORMAT
    if original:
        config = _original_config(file, content, resolution_levels, dt_bound)
    else:
        config = _read_config(file, content)
        if resolution_levels is not None or dt_bound is not None:
            raise ValueError(
                f"{path} holds its own resolution levels, {list(config.network.resolution_levels)}, and "
                f"dt_bound, {config.targets.dt_bound:g}; only files of the original J-Net lack these. "
                "Leave both out."
            )
    state = content["state_dict" if original else "network"]
    place = choose_device(device)
    expected, found = count_weights(config.network), sum(value.numel() for value in state.values())
    if expected > found:  # before a larger network than the file is built in memory
        raise ModelFileError(
            f"The weights in {file} do not fit its configuration: {found:,} of {expected:,}; {_REMEDY}"
        )
    network = build_network(config.network)
    load_state(network, state, file)
    move(network, place).eval()
    return Model(network, config, file, place, original)


def move(network: SegmentationNetwork, device: torch.device) -> SegmentationNetwork:
    """Move a network to a device, its weights channels-last, which is faster for convolutions."""
    return network.to(device).to(memory_format=torch.channels_last)  # type: ignore[call-overload,no-any-return]


def read_model_config(path: Path) -> Config:
    """Return the configuration of a model file, which training can start from.

    Raise `ModelFileError` as `load_model`, and for a file of the original J-Net, which has none.
    """
    content = read_checkpoint(model_file(path))
    if "config" not in content:
        raise ModelFileError(
            f"{path} is a file of the original J-Net; training can only start from a model of "
            "napari-jnet. Train from scratch, or choose another model."
        )
    return _read_config(path, content)


def _read_config(path: Path, content: dict[str, Any]) -> Config:
    try:
        config = Config.from_saved(content["config"])
    except (KeyError, TypeError, ValueError, ArithmeticError) as error:
        raise ModelFileError(
            f"{path} has a configuration that this program does not understand: {error}"
        ) from error
    if config.targets.dt_bound is None:
        raise ModelFileError(f"{path} has no targets.dt_bound, its truncation distance; {_REMEDY}")
    return config


def _original_config(
    path: Path, content: dict[str, Any], levels: Sequence[int] | None, dt_bound: float | None
) -> Config:
    given = {"resolution_levels": levels, "dt_bound": dt_bound}
    missing = tuple(name for name, value in given.items() if value is None)
    if missing:
        raise IncompleteCheckpoint(path, missing, len(content["structure"]))
    return preset("original").replace(
        {
            "network.structure": content["structure"],
            "network.resolution_levels": levels,
            "network.batchnorm_momentum": content.get("batchnorm_momentum", 0.1),
            "targets.dt_bound": dt_bound,
        }
    )


def load_state(network: SegmentationNetwork, state: dict[str, Any], path: Path) -> None:
    """Load weights into a network; raises `ModelFileError` for weights of another network."""
    # Files of 2018 have no batch counters, which prediction does not use.
    own = network.state_dict()
    counters = {name: own[name] for name in own if name.endswith("num_batches_tracked")}
    try:
        network.load_state_dict({**counters, **state})
    except (RuntimeError, AttributeError, TypeError) as error:
        why = " ".join(str(error).split())[:400]
        raise ModelFileError(
            f"The weights in {path} do not fit its configuration: {why}"
        ) from error


def describe_model(path: Path | str) -> dict[str, str]:
    """Describe a model file without building its network: property -> description, in order."""
    file = model_file(Path(path))
    content = read_checkpoint(file)
    if content.get("format") != FORMAT:
        structure = content["structure"]
        return {
            "file": f"network of the original J-Net ({file})",
            "structure": str(structure),
            "resolution levels": f"not in the file; {len(structure)} levels are needed",
            "dt_bound": "not in the file",
        }
    config = _read_config(file, content)
    network: NetworkConfig = config.network
    described = {
        "file": f"napari-jnet model ({file})",
        "network": network.name,
        "resolution levels": str(list(network.resolution_levels)),
        "channels of a frame": str(network.in_channels),
        "classes": "cell and background" if network.classes == 1 else str(network.classes),
        "dt_bound": f"{config.targets.dt_bound:g} px ({config.targets.distance_metric})",
        "parameters": f"{count_weights(network):,}",
    }
    if network.diameter is not None:
        described["diameter"] = f"{network.diameter:g} px, typical of its objects"
    if network.scale != 1:
        described["scale"] = f"{network.scale:.3g}, by which frames are rescaled"
    history = content.get("history") or []
    if history:
        last = history[-1]
        described["trained"] = f"{last['epoch']} epochs, {last['elapsed_s'] / 60:.1f} min"
        if last.get("seg") is not None:
            described["SEG on validation"] = f"{last['seg']:.3f} in the last epoch"
    if network.name == "jnet":
        described["structure"] = str([list(part) for part in network.structure])
    return described
