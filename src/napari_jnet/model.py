"""Model files: ours, written atomically, and those of the original J-Net.

Files are read with ``weights_only=True``: a file with code is refused.
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from types import NoneType
from typing import Any

import torch

from napari_jnet.config import Config, NetworkConfig
from napari_jnet.device import choose_device
from napari_jnet.files import FileError, atomic_write
from napari_jnet.networks import build_network, count_weights
from napari_jnet.networks.base import SegmentationNetwork
from napari_jnet.safe_load import read_plain

FORMAT = "napari-jnet model"
VERSION = 1


class ModelFileError(FileError):
    """A file is not a model that can be used here."""


class IncompleteCheckpoint(ValueError):
    """A file of the original J-Net lacks parameters, which have to be given.

    Attributes
    ----------
    missing
        Names of the arguments of `load_model` that are required.
    structure
        Of the network in the file.
    """

    def __init__(self, path: Path, missing: tuple[str, ...], structure: Sequence[Sequence[int]]):
        self.missing = missing
        self.structure = tuple(tuple(part) for part in structure)
        described = {
            "resolution_levels": f"its {len(structure)} resolution levels (such as "
            f"{list(range(1 - len(structure), 1))})",
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

    @property
    def dt_bound(self) -> float:
        """Truncation distance, in pixels of the full frame."""
        assert self.config.targets.dt_bound is not None
        return self.config.targets.dt_bound

    @property
    def frame_channels(self) -> int:
        """Channels of the frames that the network takes."""
        return self.config.network.in_channels


def save_checkpoint(path: Path, content: dict[str, Any]) -> None:
    """Write a checkpoint of ours; see `save_whole`."""
    save_whole(path, {"format": FORMAT, "version": VERSION, **content})


def save_whole(path: Path, content: dict[str, Any], *, legacy: bool = False) -> None:
    """Write plain data and tensors atomically.

    Parameters
    ----------
    path
        Of the file.
    content
        Of the file.
    legacy
        In the format that torch wrote before version 1.6, which every version reads.

    Raises
    ------
    OSError
        If the folder cannot be written or the disk is full; an earlier file is unchanged.
    """
    archive = io.BytesIO()  # torch would report a full disk as an error of its own
    torch.save(content, archive, _use_new_zipfile_serialization=not legacy)
    with atomic_write(path) as temporary, temporary.open("wb") as file:
        file.write(archive.getbuffer())


def read_checkpoint(path: Path) -> dict[str, Any]:
    """Read a model file of ours or of the original J-Net, without running code from it.

    Raises
    ------
    FileNotFoundError
        If the file does not exist.
    ModelFileError
        If it is not a model, damaged, of a newer version, or holds more than plain data and tensors.
    """
    if not path.exists():
        raise FileNotFoundError(f"The model file {path} does not exist. Choose model.pt of a run.")
    content = read_plain(path, "a model", _REMEDY, ModelFileError)
    if not isinstance(content, dict) or not (
        content.get("format") == FORMAT or {"structure", "state_dict"} <= content.keys()
    ):
        raise ModelFileError(f"{path} cannot be read as a model; {_REMEDY}")
    if content.get("format") == FORMAT and content.get("version") != VERSION:
        raise ModelFileError(
            f"{path} is of version {content.get('version')}, this program reads version {VERSION}. "
            "Update napari-jnet."
        )
    wrong = _wrong_part(content)
    if wrong:
        raise ModelFileError(f"{path} cannot be read as a model (its {wrong}); {_REMEDY}")
    return content


_REMEDY = (
    "it is not a model, or it is damaged. Choose model.pt or last.pt of a run, or a file of the original "
    "J-Net."
)


def _wrong_part(content: dict[str, Any]) -> str:
    """Return what is wrong with the content of a model file; "" if nothing is."""
    if content.get("format") != FORMAT:
        if not _is_structure(content["structure"]):
            return "structure is not a list of [layers, channels, kernel]"
        if not isinstance(content.get("batchnorm_momentum", 0.1), (int, float)):
            return "batchnorm_momentum is not a number"
        return _wrong_weights(content["state_dict"], "state_dict")
    if not isinstance(content.get("config"), dict):
        return "config is missing"
    if not _is_history(content.get("history", [])):
        return "history is not a list of epochs"
    if "training" in content:
        split, training = content.get("split"), content["training"]
        if not isinstance(split, dict) or split.keys() != {"training", "validation"}:
            return "split is missing"
        if not all(
            isinstance(names, list) and all(isinstance(name, str) for name in names)
            for names in split.values()
        ):
            return "split is not a list of frames"
        if not isinstance(training, dict):
            return "state of the training is missing"
        if not _is_history(training.get("history")):
            return "history is not a list of epochs"
        wrong = _wrong_weights(training.get("network"), "state of the training")
        if wrong:
            return wrong
    return _wrong_weights(content.get("network"), "network")


def _is_history(history: Any) -> bool:
    return isinstance(history, list) and all(
        isinstance(row, dict)
        and all(isinstance(row.get(name), (int, float)) for name in ("epoch", "elapsed_s"))
        and isinstance(row.get("seg"), (int, float, NoneType))
        for row in history
    )


def _is_structure(values: Any) -> bool:
    return isinstance(values, (list, tuple)) and all(
        isinstance(part, (list, tuple)) and len(part) == 3 and all(type(n) is int for n in part)
        for part in values
    )


def _wrong_weights(state: Any, name: str) -> str:
    """Return why these are not dense, real and finite weights of a network; "" if they are."""
    if not isinstance(state, dict) or not state:
        return f"{name} has no weights"
    for key, value in state.items():
        if not isinstance(key, str) or not isinstance(value, torch.Tensor):
            return f"{name} holds values that are not weights"
        if value.layout is not torch.strided or value.is_complex() or value.is_quantized:
            return f"{name} holds weights of an unknown kind"
        if value.numel() * value.element_size() > value.untyped_storage().nbytes():
            return f"{name} has fewer elements of {key} than its shape needs"
        if not bool(value.isfinite().all()):
            return f"{name} has weights that are not finite numbers"
    return ""


def read_split(path: Path) -> dict[str, list[str]]:
    """Return the names of the frames for "training" and "validation" of a run.

    Parameters
    ----------
    path
        ``last.pt`` of the run; errors as of `read_checkpoint`.
    """
    content = read_checkpoint(path)
    if "split" not in content:
        raise ModelFileError(
            f"{path} holds a model but no state of a training; resume from last.pt, or start a new "
            "training from this model."
        )
    return {part: [str(name) for name in names] for part, names in content["split"].items()}


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
        A run folder, its ``model.pt`` or ``last.pt``, or a file of the original J-Net.
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
        If other parameters are given than the file holds.
    """
    file = model_file(Path(path))
    content = read_checkpoint(file)
    if content.get("format") == FORMAT:
        config = _read_config(file, content)
        _check_parameters(file, config, resolution_levels, dt_bound)
        state = content["network"]
    else:
        config = _original_config(file, content, resolution_levels, dt_bound)
        state = content["state_dict"]
    place = choose_device(device)
    _check_size(config, state, file)
    network = build_network(config.network)
    load_state(network, state, file)
    move(network, place).eval()
    return Model(network, config, file, place, original=content.get("format") != FORMAT)


def missing_parameters(path: Path | str) -> tuple[tuple[str, ...], int]:
    """Return the parameters that `load_model` requires to open a model file.

    Parameters
    ----------
    path
        As for `load_model`; errors as of `read_checkpoint`.

    Returns
    -------
    names : tuple of str
        Arguments of `load_model`; none where the file holds all.
    levels : int
        Number of resolution levels of the network; 0 where nothing is missing.
    """
    content = read_checkpoint(model_file(Path(path)))
    if content.get("format") == FORMAT:
        return (), 0
    return ("resolution_levels", "dt_bound"), len(content["structure"])


def move(network: SegmentationNetwork, device: torch.device) -> SegmentationNetwork:
    """Move a network to a device, its weights channels-last, which is faster for convolutions."""
    return network.to(device).to(memory_format=torch.channels_last)  # type: ignore[call-overload,no-any-return]


def model_file(path: Path) -> Path:
    """Return the model file of a path: of a run folder, its ``model.pt``."""
    return path / "model.pt" if path.is_dir() else path


def read_model_config(path: Path) -> Config:
    """Return the configuration of a model that a training starts from.

    Parameters
    ----------
    path
        A run folder or a model file.

    Raises
    ------
    FileNotFoundError, ModelFileError
        As `read_checkpoint`, and for a file of the original J-Net, which has no configuration.
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


def _check_size(config: Config, state: dict[str, Any], path: Path) -> None:
    """Raise for a configuration of a larger network than the weights, before it is built in memory."""
    expected, found = count_weights(config.network), sum(value.numel() for value in state.values())
    if expected > found:
        raise ModelFileError(
            f"The weights in {path} do not fit its configuration: {found:,} of {expected:,}; {_REMEDY}"
        )


def _check_parameters(
    path: Path, config: Config, levels: Sequence[int] | None, dt_bound: float | None
) -> None:
    own = {
        "resolution levels": list(config.network.resolution_levels or ()),
        "dt_bound": config.targets.dt_bound,
    }
    given = {"resolution levels": None if levels is None else list(levels), "dt_bound": dt_bound}
    for name, value in given.items():
        if value is not None and value != own[name]:
            raise ValueError(
                f"{path} was trained with {name} {own[name]}, not {value}; only files of the original "
                "J-Net lack this. Omit it."
            )


def load_state(network: SegmentationNetwork, state: dict[str, Any], path: Path) -> None:
    """Load weights into a network; raises `ModelFileError` for weights of another network."""
    try:
        # Files of 2018 have no batch counters, which prediction does not use.
        missing, unexpected = network.load_state_dict(state, strict=False)
    except (RuntimeError, AttributeError, TypeError) as error:
        raise ModelFileError(
            f"The weights in {path} do not fit its configuration: {error}"
        ) from error
    missing = [name for name in missing if not name.endswith("num_batches_tracked")]
    if missing or unexpected:
        raise ModelFileError(
            f"{path} does not fit its network: {len(missing)} weights are missing "
            f"({', '.join(missing[:2])}), {len(unexpected)} are unknown ({', '.join(unexpected[:2])})."
        )


def _original_config(
    path: Path,
    content: dict[str, Any],
    levels: Sequence[int] | None,
    dt_bound: float | None,
) -> Config:
    structure = content["structure"]
    given = {"resolution_levels": levels, "dt_bound": dt_bound}
    missing = tuple(name for name, value in given.items() if value is None)
    if missing:
        raise IncompleteCheckpoint(path, missing, structure)
    return Config().replace(
        {
            "network.name": "jnet",
            "network.structure": structure,
            "network.resolution_levels": tuple(levels or ()),
            "network.batchnorm_momentum": content.get("batchnorm_momentum", 0.1),
            "network.standardization": "plain",
            "targets.dt_bound": dt_bound,
            "training.loss": "bce+mse",
        }
    )


def describe_model(path: Path | str) -> dict[str, str]:
    """Describe a model file, without building its network.

    Returns
    -------
    dict
        Property -> description, in the order to show.
    """
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
        "parameters": f"{sum(value.numel() for value in content['network'].values()):,}",
    }
    history = content.get("history") or []
    if history:
        described["trained"] = (
            f"{history[-1]['epoch']} epochs, {history[-1]['elapsed_s'] / 60:.1f} min"
        )
        if history[-1].get("seg") is not None:
            described["SEG on validation"] = f"{history[-1]['seg']:.3f} in the last epoch"
    if network.name == "jnet":
        described["structure"] = str([list(part) for part in network.structure])
    return described
