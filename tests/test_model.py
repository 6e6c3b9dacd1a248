"""Model files that are none, damaged, of another version, or malicious."""

from __future__ import annotations

import os
import pickle
import zipfile
from pathlib import Path

import pytest
import torch

from napari_jnet.config import Config
from napari_jnet.model import (
    IncompleteCheckpoint,
    ModelFileError,
    describe_model,
    load_model,
    save_checkpoint,
)
from napari_jnet.networks import build_network, count_weights
from napari_jnet.networks.jnet import JNet

CONFIG = Config().replace(
    {
        "network.name": "jnet",
        "network.halve_channels": False,  # as in files of the original
        "network.deep_supervision": False,
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
    weights = build_network(CONFIG.network).parameters()
    assert words["parameters"] == f"{sum(weight.numel() for weight in weights):,}"


def test_the_original_format_asks_for_what_it_lacks(tmp_path: Path) -> None:
    network = build_network(CONFIG.network)
    state = {k: v for k, v in network.state_dict().items() if "num_batches" not in k}
    file = tmp_path / "model_last"
    torch.save(
        {"batchnorm_momentum": 0.1, "structure": [[1, 2, 3], [1, 2, 3]], "state_dict": state}, file
    )
    with pytest.raises(IncompleteCheckpoint, match=r"resolution_levels and dt_bound") as info:
        load_model(file)
    assert info.value.missing == ("resolution_levels", "dt_bound")
    model = load_model(file, resolution_levels=[-1, 0], dt_bound=9, device="cpu")
    assert model.dt_bound == 9 and model.original
    assert "original" in describe_model(file)["file"]
    with pytest.raises(ValueError, match=r"2 segments for 3 resolution levels"):
        load_model(file, resolution_levels=[-2, -1, 0], dt_bound=9)


def test_a_missing_file(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"The model file .*model\.pt"):
        load_model(tmp_path)


@pytest.mark.parametrize("size", [0, 1, 100, 3000])
def test_a_truncated_file(tmp_path: Path, size: int) -> None:
    save_checkpoint(tmp_path / "model.pt", content())
    whole = (tmp_path / "model.pt").read_bytes()
    (tmp_path / "model.pt").write_bytes(whole[:size])
    with pytest.raises(ModelFileError, match=r"not a model, or it is damaged"):
        load_model(tmp_path)


@pytest.mark.parametrize("written", [b"not a model", b"II*\x00" + bytes(500), pickle.dumps([1])])
def test_something_else(tmp_path: Path, written: bytes) -> None:
    (tmp_path / "model.pt").write_bytes(written)
    with pytest.raises(ModelFileError):
        load_model(tmp_path)


def test_a_tensor_is_no_model(tmp_path: Path) -> None:
    torch.save(torch.zeros(3), tmp_path / "model.pt")
    with pytest.raises(ModelFileError, match=r"not a model"):
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
    with pytest.raises(ModelFileError, match=r"do not fit its configuration"):
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

    monkeypatch.setattr("napari_jnet.files.os.fsync", fail)
    with pytest.raises(OSError, match=r"Free some space, or choose another folder"):
        save_checkpoint(tmp_path / "model.pt", content())
    assert (tmp_path / "model.pt").read_bytes() == before
    assert [path.name for path in tmp_path.iterdir()] == ["model.pt"]


def flipped(data: bytes, bit: int) -> bytes:
    changed = bytearray(data)
    changed[bit // 8] ^= 1 << bit % 8
    return bytes(changed)


def test_a_file_with_another_bit_never_gives_other_weights(tmp_path: Path) -> None:
    file = tmp_path / "model.pt"
    save_checkpoint(file, content())
    whole, before = file.read_bytes(), load_model(file, device="cpu").network.state_dict()
    random = torch.Generator().manual_seed(3)
    for bit in torch.randint(8 * len(whole), (60,), generator=random).tolist():
        file.write_bytes(flipped(whole, bit))
        try:
            now = load_model(file, device="cpu").network.state_dict()
        except ModelFileError:
            continue
        assert all(torch.equal(now[name], value) for name, value in before.items()), bit


def test_every_byte_of_a_weight_is_guarded(tmp_path: Path) -> None:
    file = tmp_path / "model.pt"
    made = content()
    save_checkpoint(file, made)
    _, weight = next(iter(made["network"].items()))
    whole = file.read_bytes()
    start = whole.index(weight.numpy().tobytes())
    file.write_bytes(flipped(whole, 8 * start + 17))
    with pytest.raises(ModelFileError, match=r"model\.pt cannot be read .*checksum.*damaged"):
        describe_model(file)


def rewritten(file: Path, method: int, **members: bytes) -> None:
    with zipfile.ZipFile(file) as archive:
        kept = {name: archive.read(name) for name in archive.namelist()}
    kept |= {name: data for name in kept for end, data in members.items() if name.endswith(end)}
    with zipfile.ZipFile(file, "w", method) as archive:
        for name, data in kept.items():
            archive.writestr(name, data)


def test_a_compressed_file_is_refused_before_it_fills_the_memory(tmp_path: Path) -> None:
    file = tmp_path / "model.pt"
    save_checkpoint(file, content())
    rewritten(file, zipfile.ZIP_DEFLATED, **{"data/0": bytes(50_000_000)})
    assert file.stat().st_size < 100_000
    with pytest.raises(ModelFileError, match=r"compressed"):
        load_model(file)


def test_a_file_with_two_parts_of_one_name_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "model.pt"
    save_checkpoint(file, content())
    with zipfile.ZipFile(file, "a") as archive, pytest.warns(UserWarning, match="Duplicate"):
        archive.writestr(archive.namelist()[0], b"other")
    with pytest.raises(ModelFileError, match=r"two parts of one name"):
        load_model(file)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"network": None}, "network: "),
        ({"network": {}}, "no weights"),
        ({"network": {"a": "b"}}, "values that are not weights"),
        ({"network": {"a": torch.zeros(1).expand(2**40)}}, "fewer elements of a than"),
        ({"network": {"a": torch.eye(3).to_sparse()}}, "unknown kind"),
        ({"network": {"a": torch.tensor([1.0, float("nan")])}}, "not finite"),
        ({"config": None}, "config: "),
        ({"config": {"network": 3}}, "configuration"),
        ({"config": Config().to_dict()}, "dt_bound"),
        ({"history": [{"epoch": "x"}]}, "history"),
        ({"history": {"epoch": 1}}, "history"),
        ({"training": {}}, "split"),
        ({"training": 3, "split": {"training": [], "validation": []}}, "training"),
    ],
)
def test_content_that_is_no_model(tmp_path: Path, changes: dict[str, object], said: str) -> None:
    torch.save(
        {"format": "napari-jnet model", "version": 1, **content(), **changes}, tmp_path / "model.pt"
    )
    for reader in (describe_model, lambda path: load_model(path, device="cpu")):
        with pytest.raises(ModelFileError, match=said):
            reader(tmp_path)


@pytest.mark.parametrize(
    ("field", "value"),
    [("structure", 3), ("structure", [[1, 2]]), ("structure", "x"), ("state_dict", None)],
)
def test_content_that_is_no_original_model(tmp_path: Path, field: str, value: object) -> None:
    good = {"structure": [[1, 2, 3]], "state_dict": {"a": torch.zeros(2)}}
    torch.save({**good, field: value}, tmp_path / "model_last")
    with pytest.raises(ModelFileError, match=r"model_last cannot be read as a model"):
        load_model(tmp_path / "model_last", resolution_levels=[0], dt_bound=9)


@pytest.mark.parametrize("structure", [((30, 4000, 3), (1, 2, 3)), ((1, 60000, 3), (1, 60000, 3))])
def test_a_small_file_of_a_giant_network(
    tmp_path: Path, structure: tuple[tuple[int, int, int], ...]
) -> None:
    giant = CONFIG.replace({"network.structure": structure})
    save_checkpoint(tmp_path / "model.pt", {**content(), "config": giant.to_dict()})
    with pytest.raises(ValueError, match=r"do not fit its configuration|more weights than"):
        load_model(tmp_path)


def test_a_network_that_does_not_fit_into_the_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("napari_jnet.networks.available_bytes", lambda: 1000)
    with pytest.raises(ValueError, match=r"weights .* need 0 MB of memory; 0 MB are free"):
        build_network(CONFIG.network)
    with pytest.raises(ValueError, match=r"should be less than or equal to 1000"):
        CONFIG.replace({"network.structure": ((60000, 1, 1), (10000, 1, 1))})


def test_counting_the_weights_first_draws_the_same_ones() -> None:
    torch.manual_seed(5)
    first = build_network(CONFIG.network).state_dict()
    torch.manual_seed(5)
    assert count_weights(CONFIG.network) == sum(
        p.numel() for p in JNet(CONFIG.network).parameters()
    )
    torch.manual_seed(5)
    second = JNet(CONFIG.network).state_dict()
    assert all(torch.equal(first[name], value) for name, value in second.items())


@pytest.mark.parametrize("text", ["epoch,loss\n1,0.5\n", "", "[1, 2]", "a\n" * 1000])
def test_a_text_is_no_model(tmp_path: Path, text: str) -> None:
    (tmp_path / "history.csv").write_text(text, encoding="utf-8")
    for reader in (describe_model, load_model):
        with pytest.raises(ModelFileError, match=r"history\.csv cannot be read as a model"):
            reader(tmp_path / "history.csv")


@pytest.mark.skipif(os.name == "nt", reason="there are no such files on Windows")
def test_what_is_no_file_is_no_model(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "loop").symlink_to("loop")
    with pytest.raises(ModelFileError, match=r"pipe .*it is not a file"):
        load_model(tmp_path / "pipe")
    with pytest.raises((ModelFileError, FileNotFoundError), match=r"loop"):
        load_model(tmp_path / "loop")
