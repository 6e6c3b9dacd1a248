"""The model that comes with the package: predict, describe and train from it by its name."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import tifffile

from napari_jnet.cli import main
from napari_jnet.evaluation.objects import seg_frame
from napari_jnet.labels import contingency
from napari_jnet.model import load_model
from napari_jnet.synthetic import touching_cells, write_cells_sequence


def call(*words: object) -> int:
    with pytest.raises(SystemExit) as left:
        main([str(word) for word in words])
    return int(left.value.code or 0)


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def film(tmp_path: Path) -> tuple[Path, np.ndarray]:
    """A film of two frames, and its cells of about 40 px."""
    images, labels = touching_cells(2, (200, 220), cells=8, diameter=40.0, seed=3)
    tifffile.imwrite(tmp_path / "film.tif", images, photometric="minisblack")
    return tmp_path / "film.tif", labels


@pytest.mark.parametrize("diameter", [("--diameter", 40), ("--diameter", 0), ()])
def test_cells_are_found_before_anything_is_trained(film, tmp_path, capsys, diameter) -> None:
    path, truth = film
    tta = ("--tta", 1)
    assert call("predict", "starter", path, "--axes", "TYX", "-o", "out", *diameter, *tta) == 0
    said = capsys.readouterr()
    assert ("estimated" in said.out + said.err) == (diameter != ("--diameter", 40))
    found = tifffile.imread(tmp_path / "out" / "instances.tif")
    assert found.shape == truth.shape
    assert seg_frame(contingency(truth[0].astype(np.int32), found[0])).mean() > 0.4


def test_it_is_small_and_describes_itself(capsys) -> None:
    assert load_model("starter", device="cpu").path.stat().st_size < 4e6
    assert call("info", "starter") == 0
    said = capsys.readouterr().out
    assert "diameter" in said and "unet" in said


@pytest.mark.parametrize("content", ["", "model.pt", "project.json"])
def test_a_folder_of_that_name_never_hides_it_which_is_said(
    film, tmp_path, capsys, content
) -> None:
    own, packaged = tmp_path / "starter", load_model("starter", device="cpu").path
    own.mkdir()
    if content == "model.pt":
        (own / content).write_bytes(packaged.read_bytes())
    elif content:
        (own / "annotations").mkdir()
        (own / content).write_text("{")
    assert load_model("starter", device="cpu").path == packaged
    words = ("predict", "starter", film[0], "--axes", "TYX", "-o", "out", "--diameter", 40)
    assert call(*words, "--tta", 1) == 0
    said = " ".join(capsys.readouterr().out.split())
    assert "starter is the network that comes with the package, not" in said
    assert call("info", "starter") == 0
    assert "starter.pt" in capsys.readouterr().out
    if content == "model.pt":
        assert load_model(own, device="cpu").path == own / "model.pt"


def test_without_such_a_folder_nothing_is_said_of_it(film, capsys) -> None:
    words = ("predict", "starter", film[0], "--axes", "TYX", "-o", "out", "--diameter", 40)
    assert call(*words, "--tta", 1) == 0
    assert "comes with the package" not in capsys.readouterr().out


def test_a_training_begins_from_it_at_the_size_of_the_annotated_cells(tmp_path) -> None:
    data = write_cells_sequence(
        tmp_path / "cells", frames=(3, 1), shape=(128, 128), cells=6, diameter=24.0
    )
    quick = ["--epochs", 1, "--set", "training.batches_per_epoch=1"]
    quick += ["--set", "training.batch_size=1", "--set", "training.patch_size=64"]
    assert call("train", data, "-o", "run", "--model", "starter", *quick) == 0
    trained = load_model("run", device="cpu")
    assert trained.config.network.diameter == pytest.approx(24, rel=0.2)
    assert trained.scale == pytest.approx(
        load_model("starter", device="cpu").config.network.diameter
        / trained.config.network.diameter
    )
    assert call("train", data, "-o", "other", "--model", "starter", "--diameter", 48, *quick) == 0
    assert load_model("other", device="cpu").scale == pytest.approx(trained.scale / 2, rel=0.2)


@pytest.mark.parametrize("diameter", [-1, 1e9, "wide"])
def test_a_diameter_that_cannot_be_is_refused(film, capsys, diameter) -> None:
    assert call("predict", "starter", film[0], "-o", "out", "--diameter", diameter) == 2
    assert "diameter" in capsys.readouterr().err
    assert not Path("out").exists()
