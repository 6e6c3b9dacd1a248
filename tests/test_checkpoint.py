"""Model files that are none, damaged, of another version, or malicious."""

from __future__ import annotations

import os
import pickle
from pathlib import Path

import pytest
import torch

from napari_jnet.checkpoint import (
    MissingModelFacts,
    ModelFileError,
    describe_model,
    load_model,
    save_checkpoint,
)
from napari_jnet.config import Config
from napari_jnet.networks import build_network

CONFIG = Config().replace(
    {
        "network.name": "jnet",
        "network.structure": ((1, 2, 3), (1, 2, 3)),
        "network.resolution_levels": (-1, 0),
        "targets.dt_bound": 5.0,
    }
)


def content() -> dict[str, object]:
    return {
        "config": CONFIG.to_dict(),
        "network": build_network(CONFIG.network).state_dict(),
        "history": [],
    }


class Malicious:
    """Makes a file when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.mkdir, (str(self.path),)


def test_a_model_comes_back(tmp_path: Path) -> None:
    save_checkpoint(tmp_path / "model.pt", content())
    for path in (tmp_path, tmp_path / "model.pt"):
        model = load_model(path, device="cpu")
        assert model.config == CONFIG and not model.network.training
    words = describe_model(tmp_path)
    assert words["network"] == "jnet" and words["dt_bound"].startswith("5 px")


def test_the_original_format_asks_for_what_it_lacks(tmp_path: Path) -> None:
    network = build_network(CONFIG.network)
    state = {k: v for k, v in network.state_dict().items() if "num_batches" not in k}
    file = tmp_path / "model_last"
    torch.save(
        {"batchnorm_momentum": 0.1, "structure": [[1, 2, 3], [1, 2, 3]], "state_dict": state}, file
    )
    with pytest.raises(MissingModelFacts, match=r"resolution_levels and dt_bound") as info:
        load_model(file)
    assert info.value.missing == ("resolution_levels", "dt_bound")
    model = load_model(file, resolution_levels=[-1, 0], dt_bound=9, device="cpu")
    assert model.dt_bound == 9 and model.original
    assert "original" in describe_model(file)["file"]
    with pytest.raises(ValueError, match=r"2 segments for 3 resolution levels"):
        load_model(file, resolution_levels=[-2, -1, 0], dt_bound=9)


def test_a_missing_file(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"no model file .*model\.pt"):
        load_model(tmp_path)


@pytest.mark.parametrize("size", [0, 1, 100, 3000])
def test_a_truncated_file(tmp_path: Path, size: int) -> None:
    save_checkpoint(tmp_path / "model.pt", content())
    whole = (tmp_path / "model.pt").read_bytes()
    (tmp_path / "model.pt").write_bytes(whole[:size])
    with pytest.raises(ModelFileError, match=r"no model file, or it is damaged"):
        load_model(tmp_path)


@pytest.mark.parametrize("written", [b"not a model", b"II*\x00" + bytes(500), pickle.dumps([1])])
def test_something_else(tmp_path: Path, written: bytes) -> None:
    (tmp_path / "model.pt").write_bytes(written)
    with pytest.raises(ModelFileError):
        load_model(tmp_path)


def test_a_tensor_is_no_model(tmp_path: Path) -> None:
    torch.save(torch.zeros(3), tmp_path / "model.pt")
    with pytest.raises(ModelFileError, match=r"no model file"):
        load_model(tmp_path)


def test_a_newer_version(tmp_path: Path) -> None:
    torch.save({"format": "napari-jnet model", "version": 99}, tmp_path / "model.pt")
    with pytest.raises(ModelFileError, match=r"version 99.*reads version 1.*Update"):
        load_model(tmp_path)


def test_a_file_that_wants_to_run_code_is_refused_and_runs_nothing(tmp_path: Path) -> None:
    trap = tmp_path / "trap"
    torch.save({**content(), "extra": Malicious(trap)}, tmp_path / "model.pt")
    with pytest.raises(ModelFileError, match=r"could run code; it is refused"):
        load_model(tmp_path)
    assert not trap.exists()


def test_weights_of_another_network(tmp_path: Path) -> None:
    other = CONFIG.replace({"network.structure": ((1, 3, 3), (1, 2, 3))})
    save_checkpoint(
        tmp_path / "model.pt",
        {**content(), "network": build_network(other.network).state_dict()},
    )
    with pytest.raises(ModelFileError, match=r"weights of another network"):
        load_model(tmp_path)


def test_a_configuration_of_the_future(tmp_path: Path) -> None:
    strange = content()
    strange["config"] = {"network": {"neurons": 3}}
    save_checkpoint(tmp_path / "model.pt", strange)
    with pytest.raises(ModelFileError, match=r"does not understand.*neurons"):
        load_model(tmp_path)


def test_a_failed_write_leaves_the_old_file_and_no_litter(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    save_checkpoint(tmp_path / "model.pt", content())
    before = (tmp_path / "model.pt").read_bytes()

    def fail(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("napari_jnet.data.storing.os.fsync", fail)
    with pytest.raises(OSError, match=r"Free some space, or choose another folder"):
        save_checkpoint(tmp_path / "model.pt", content())
    assert (tmp_path / "model.pt").read_bytes() == before
    assert [path.name for path in tmp_path.iterdir()] == ["model.pt"]
