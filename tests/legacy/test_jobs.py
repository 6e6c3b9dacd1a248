"""The original's three modes on small data, the files they write, and its trained network on real frames."""

from __future__ import annotations

import shlex
import shutil
from pathlib import Path

import numpy as np
import pytest
import tifffile
import torch
from PIL import Image

from napari_jnet.cli import main
from napari_jnet.config import Config, preset
from napari_jnet.events import BatchEnd, EpochEnd
from napari_jnet.io.stack import annotated_frames
from napari_jnet.legacy.flags import Flags, parse_flags
from napari_jnet.legacy.script import (
    PATIENCE,
    Finished,
    ImageDone,
    OriginalEpoch,
    OriginalScores,
    evaluate,
    save_original,
    train,
)
from napari_jnet.model import load_model, save_checkpoint
from napari_jnet.networks import build_network
from napari_jnet.project.open import open_stack
from napari_jnet.synthetic import write_cells_sequence
from napari_jnet.training.loop import train as engine_train
from napari_jnet.training.sampler import draw_batch, load_frames

NAMES = {"model_best_train_train", "model_best_validation_eval", "model_last", "model_final"}


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("original") / "cells"
    return write_cells_sequence(folder, frames=(4, 2), shape=(64, 64), cells=4, diameter=20.0)


def words(dataset: Path, output: Path, more: str = "") -> list[str]:
    """The toy example, smaller."""
    return [
        "--dataset_root", str(dataset), "--output_dir", str(output),
        *shlex.split(
            """--images_idx '{"01":["000","001","002"],"02":[]}' --load_dataset_to_ram 1
            --num_workers -1 --dataset_len_multiplier 2 --batch_size 2 --num_epochs 2
            --save_model_frequency 2 --aug_elastic_params "[[50,5,5],[-1,-1,1]]"
            --resolution_levels "[-2,-1]" --structure "[[2,4,3],[1,2,3]]" --dt_bound 3
            --validation_percentage 0.34 --mode train """
            + more
        ),
    ]  # fmt: skip


def scoring(dataset: Path, output: Path, model: Path, more: str = "") -> Flags:
    line = f"""--mode eval --images_idx '{{"02":["000","001"]}}' --resolution_levels "[-2,-1]"
    --dt_bound 3 {more}"""
    return parse_flags(
        [
            "--dataset_root",
            str(dataset),
            "--output_dir",
            str(output),
            "--model_file",
            str(model),
            *shlex.split(line),
        ]
    )


def pixels(path: Path) -> np.ndarray:
    with Image.open(path) as picture:
        return np.asarray(picture)


@pytest.fixture(scope="module")
def results(dataset: Path) -> Path:
    output = dataset.parent / "results"
    events = list(train(parse_flags(words(dataset, output))))
    epochs = [event for event in events if isinstance(event, OriginalEpoch)]
    assert [epoch.epoch for epoch in epochs] == [1, 2]
    # Three images, one of them for validation, twice each, two in a batch: two batches an epoch.
    assert sum(isinstance(event, BatchEnd) for event in events) == 4
    assert all(epoch.validation is not None for epoch in epochs)
    assert isinstance(events[-1], Finished)
    return output


def test_checkpoints_have_the_original_s_names_and_format(results: Path) -> None:
    assert {path.name for path in results.iterdir()} == NAMES | {"model_2"}
    content = torch.load(results / "model_last", weights_only=True)
    assert set(content) == {"batchnorm_momentum", "structure", "state_dict"}
    assert content["structure"] == [[2, 4, 3], [1, 2, 3]] and content["batchnorm_momentum"] == 0.1
    batchnorm = [
        f"{n}.{part}" for n in ("3",) for part in ("weight", "bias", "running_mean", "running_var")
    ]
    layers = [f"segments.{n}." for n in ("0.0", "0.1", "1.0")]
    expected = {f"{layer}{name}" for layer in layers for name in ("1.weight", "1.bias", *batchnorm)}
    expected |= {f"segments.0.2.0.{name}" for name in ("weight", "bias")}
    expected |= {f"segments.0.2.2.{name.removeprefix('3.')}" for name in batchnorm}
    expected |= {f"segments.1.1.1.{name}" for name in ("weight", "bias")}
    assert set(content["state_dict"]) == expected
    # The format of torch before 1.6: not a zip file, which begins with PK.
    assert (results / "model_last").read_bytes()[:2] != b"PK"


def test_our_checkpoint_loads_strictly_into_a_bare_network(results: Path) -> None:
    model = load_model(results / "model_last", resolution_levels=(-2, -1), dt_bound=3, device="cpu")
    content = torch.load(results / "model_last", weights_only=True)
    model.network.load_state_dict(content["state_dict"], strict=True)


def test_a_checkpoint_goes_through_unchanged(results: Path, tmp_path: Path) -> None:
    model = load_model(results / "model_last", resolution_levels=(-2, -1), dt_bound=3, device="cpu")
    save_original(tmp_path / "again", model.network)
    first = torch.load(results / "model_last", weights_only=True)["state_dict"]
    second = torch.load(tmp_path / "again", weights_only=True)["state_dict"]
    assert list(first) == list(second)
    assert all(torch.equal(first[name], second[name]) for name in first)


def test_eval_scores_each_image_and_their_average(
    dataset: Path, results: Path, tmp_path: Path
) -> None:
    events = list(evaluate(scoring(dataset, tmp_path, results / "model_last")))
    images = [event for event in events if isinstance(event, ImageDone)]
    assert [image.label for image in images] == ["02_t000", "02_t001"]
    end = events[-1]
    assert isinstance(end, Finished) and end.average is not None
    assert end.average.loss == pytest.approx(np.mean([image.scores.loss for image in images]))
    assert end.average.l1_dist == pytest.approx(np.mean([image.scores.l1_dist for image in images]))
    assert "--mode vis" in end.suggestions[0][1]
    names = {f"{name}_02_t00{n}.png" for name in ("seg", "dist") for n in (0, 1)}
    assert {path.name for path in tmp_path.iterdir()} == names
    picture = pixels(tmp_path / "seg_02_t000.png")
    assert picture.dtype == np.uint8 and picture.shape == (32, 32)  # the output is at half the size


def test_vis_takes_every_frame_and_needs_no_ground_truth(
    dataset: Path, results: Path, tmp_path: Path
) -> None:
    flags = scoring(
        dataset, tmp_path, results / "model_last", """--mode vis --images_idx '{"01":[]}'"""
    )
    images = [event for event in evaluate(flags) if isinstance(event, ImageDone)]
    assert len(images) == len(open_stack(dataset, sequence="01").frame_numbers)
    assert all(image.scores is None for image in images)


def test_pictures_have_one_scale_or_each_its_own(
    dataset: Path, results: Path, tmp_path: Path
) -> None:
    for scaling in ("fixed", "image"):
        folder = tmp_path / scaling
        list(evaluate(scoring(dataset, folder, results / "model_last", f"--png_scaling {scaling}")))
    stretched = pixels(tmp_path / "image" / "seg_02_t000.png")
    assert stretched.min() == 0 and stretched.max() == 255
    fixed = pixels(tmp_path / "fixed" / "seg_02_t000.png")
    assert fixed.max() < 255  # a network of two epochs is sure of nothing


def test_a_seed_repeats_a_training(dataset: Path, results: Path, tmp_path: Path) -> None:
    list(train(parse_flags(words(dataset, tmp_path))))
    first = torch.load(results / "model_final", weights_only=True)["state_dict"]
    second = torch.load(tmp_path / "model_final", weights_only=True)["state_dict"]
    assert all(torch.equal(first[name], second[name]) for name in first)


def test_training_starts_from_a_model(dataset: Path, results: Path, tmp_path: Path) -> None:
    line = words(
        dataset,
        tmp_path,
        f"--num_epochs 1 --learning_rate 1e-8 --model_file {results / 'model_last'}",
    )
    list(train(parse_flags(line)))
    before = torch.load(results / "model_last", weights_only=True)["state_dict"]
    after = torch.load(tmp_path / "model_last", weights_only=True)["state_dict"]
    for name in ("segments.0.0.1.weight", "segments.1.1.1.bias"):
        torch.testing.assert_close(after[name], before[name], atol=1e-5, rtol=0)


def test_no_training_writes_over_what_it_reads(
    dataset: Path, results: Path, tmp_path: Path
) -> None:
    (tmp_path / "linked").symlink_to(results / "model_2")
    frame = dataset / "01" / "t000.tif"
    before = {path: path.read_bytes() for path in (*results.iterdir(), frame)}
    for more, said in (
        (f"--model_file {results / 'model_last'}", "would be overwritten: the training writes"),
        (f"--model_file {tmp_path / 'linked'}", "would be overwritten: the training writes"),
        (f"--non_decreasing_output_file {frame}", "exists already and would be overwritten"),
    ):
        with pytest.raises(ValueError, match=said):
            next(train(parse_flags(words(dataset, results, more))))
    assert {path: path.read_bytes() for path in before} == before


def test_pictures_in_a_folder_of_images_are_no_images(
    dataset: Path, results: Path, tmp_path: Path
) -> None:
    for number in range(2):
        Image.fromarray(np.full((8, 8), number, np.uint8)).save(tmp_path / f"seg_{number}.png")
    list(evaluate(scoring(dataset, tmp_path, results / "model_last")))
    assert len(list(tmp_path.glob("*.png"))) == 6
    assert len(open_stack(tmp_path)) == 2


def test_every_augmentation_and_other_kernels_train(dataset: Path, tmp_path: Path) -> None:
    more = """--num_epochs 1 --structure "[[1,4,5],[1,2,3]]" --aug_rotation --aug_rotation_flip
    --aug_crop_params "[[48,48,1]]" --aug_intensity_params "[[0.2,0.1,1]]" """
    events = list(train(parse_flags(words(dataset, tmp_path, more))))
    assert np.isfinite(next(e for e in events if isinstance(e, OriginalEpoch)).training.loss)


def test_validations_without_improvement_stop_early(
    dataset: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        "napari_jnet.legacy.script.validate", lambda *_: OriginalScores(1.0, 1.0, 1.0)
    )
    file = tmp_path / "why.txt"
    line = words(dataset, tmp_path / "o", f"--num_epochs 30 --non_decreasing_output_file {file}")
    events = list(train(parse_flags(line)))
    assert sum(isinstance(event, OriginalEpoch) for event in events) == 1 + PATIENCE
    assert f"Stopped after epoch {1 + PATIENCE}" in file.read_text()
    assert (tmp_path / "o" / "model_final").is_file()


def test_closing_keeps_the_last_weights(dataset: Path, tmp_path: Path) -> None:
    events = train(parse_flags(words(dataset, tmp_path, "--num_epochs 500")))
    next(event for event in events if isinstance(event, BatchEnd))
    events.close()
    assert {path.name for path in tmp_path.iterdir()} == {"model_last"}


def test_weights_that_are_not_finite_replace_none(
    dataset: Path, results: Path, tmp_path: Path
) -> None:
    content = torch.load(results / "model_last", weights_only=True)
    for name, value in content["state_dict"].items():
        if name.endswith("weight"):
            value *= 1e30
    torch.save(content, tmp_path / "huge")
    output = tmp_path / "out"
    output.mkdir()
    last = shutil.copyfile(results / "model_last", output / "model_last")
    line = words(dataset, output, f" --model_file {tmp_path / 'huge'}")
    with pytest.raises(ArithmeticError, match=r"not finite in epoch 1.*smaller --learning_rate"):
        list(train(parse_flags(line)))
    assert last.read_bytes() == (results / "model_last").read_bytes()


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ("--resolution_levels [-2,-1,0]", "2 segments for 3 resolution levels"),
        ("--validation_percentage 1", "keeps all 3 image"),
        ("""--images_idx '{"01":["900"]}'""", "has no frame 900"),
        ("""--images_idx '{"07":["000"]}'""", "no sequence '07'"),
        ("--structure [[1,4,2],[1,2,3]]", "kernel odd"),
        ("--model_file TMP/none", "model file"),
        ("--model_file TMP/ours.pt", "format of the original J-Net"),
        ("--dataset_root TMP/none", "does not exist"),
        ("--output_dir DATA/01/t000.tif/x", "cannot be written"),
        ("--learnin_rate 1", "did you mean '--learning_rate'"),
    ],
)
def test_bad_command_lines_are_one_line_and_status_2(
    dataset: Path, tmp_path: Path, more: str, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    config = Config().replace({"network.channels": 1, "network.resolution_levels": [0]})
    weights = build_network(config.network).state_dict()
    save_checkpoint(tmp_path / "ours.pt", {"config": config.to_dict(), "network": weights})
    line = words(
        dataset, tmp_path / "out", more.replace("TMP", str(tmp_path)).replace("DATA", str(dataset))
    )
    with pytest.raises(SystemExit) as left:
        main(["jnet", *line])
    assert left.value.code == 2
    error = capsys.readouterr().err
    assert error.startswith("Error: ") and error.count("\n") == 1 and said in error


def test_a_structure_that_contradicts_the_model_is_refused(dataset: Path, results: Path) -> None:
    more = "--structure [[2,8,3],[1,2,3]]"
    with pytest.raises(ValueError, match="Leave --structure out"):
        list(evaluate(scoring(dataset, results, results / "model_last", more)))


def test_the_command_line_says_scores_and_what_to_do_next(
    dataset: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as left:
        main(["jnet", *words(dataset, tmp_path)])
    assert not left.value.code
    said = capsys.readouterr().out
    assert (
        "epoch 2  train: loss " in said and "validation: loss " in said and "saved model_2" in said
    )
    command = next(line for line in said.splitlines() if "--mode eval" in line)
    with pytest.raises(SystemExit):
        main(shlex.split(command)[1:])
    said = capsys.readouterr().out
    assert "01_t000  loss " in said and "average  loss " in said and "--mode vis" in said
    with pytest.raises(SystemExit):
        main(["jnet", "--help"])
    assert "--aug_rotation_flip" in capsys.readouterr().out


def test_partial_truth_is_unknown_or_background(
    dataset: Path, results: Path, tmp_path: Path
) -> None:
    root = tmp_path / "data"
    (root / "02_GT" / "SEG").mkdir(parents=True)
    (root / "02_GT" / "TRA").mkdir()
    (root / "02").symlink_to(dataset / "02")
    labels = tifffile.imread(dataset / "02_GT" / "SEG" / "man_seg000.tif")
    tifffile.imwrite(root / "02_GT" / "TRA" / "man_track000.tif", labels)
    tifffile.imwrite(
        root / "02_GT" / "SEG" / "man_seg000.tif", np.where(labels == 1, 1, 0).astype("uint16")
    )
    scores = {}
    for truth in ("unknown", "background"):
        more = f"""--partial_truth {truth} --images_idx '{{"02":["000"]}}'"""
        events = list(evaluate(scoring(root, tmp_path / "o", results / "model_last", more)))
        scores[truth] = events[-1].average
    assert scores["unknown"] != scores["background"]


def test_the_engine_trains_with_the_preset(dataset: Path, tmp_path: Path) -> None:
    frames = annotated_frames(open_stack(dataset, sequence="01"))[:3]
    config = preset("original").replace(
        {
            "network.structure": [[1, 4, 3], [1, 2, 3]],
            "network.resolution_levels": [-1, 0],
            "training.epochs": 1,
            "training.batches_per_epoch": 2,
            "training.batch_size": 2,
            "training.threads": 1,
        }
    )
    store = load_frames(frames, (-1, 0), torch.device("cpu"), config)
    levels, targets = draw_batch(store, config, 9.0, torch.Generator().manual_seed(0))
    assert levels[-1].shape == (2, 1, 64, 64)  # whole frames
    soft = (targets.segmentation > 0.01) & (targets.segmentation < 0.99)
    assert soft.any()  # maps are warped, not labels
    epochs = [e for e in engine_train(frames, tmp_path / "run", config) if isinstance(e, EpochEnd)]
    assert len(epochs) == 1 and np.isfinite(epochs[0].train_loss)


@pytest.mark.parametrize(
    ("frame", "l1_seg", "l1_dist"), [("002", 0.0342, 0.2522), ("021", 0.0909, 0.4970)]
)
def test_the_original_s_network_has_the_original_s_scores(
    shared_data: Path, tmp_path: Path, frame: str, l1_seg: float, l1_dist: float
) -> None:
    model = shared_data / "jnet-original-model" / "DIC_model"
    line = f"""--mode eval --images_idx '{{"01":["{frame}"]}}' --resolution_levels [-2,-1,0]
    --dt_bound 6 --dataset_root {shared_data / "DIC-C2DH-HeLa"} --model_file {model}"""
    flags = parse_flags([*shlex.split(line), "--output_dir", str(tmp_path)])
    end = list(evaluate(flags))[-1]
    assert isinstance(end, Finished) and end.average is not None
    assert end.average.l1_seg == pytest.approx(l1_seg, abs=1e-4)
    assert end.average.l1_dist == pytest.approx(l1_dist, abs=1e-4)
    picture = pixels(tmp_path / f"dist_01_t{frame}.png")
    if frame == "002":
        # The original's own output, in challenges.md.
        assert picture.shape == (512, 512)
        assert picture[256, 256] == round(5.965752 / 6 * 255)
        assert picture[400, 50] == round(5.853464 / 6 * 255)


def test_what_we_write_has_the_keys_of_the_original_s_own_file(
    shared_data: Path, tmp_path: Path
) -> None:
    file = shared_data / "jnet-original-model" / "DIC_model"
    model = load_model(file, resolution_levels=(-2, -1, 0), dt_bound=6, device="cpu")
    save_original(tmp_path / "copy", model.network)
    theirs = torch.load(file, weights_only=True, map_location="cpu")
    ours = torch.load(tmp_path / "copy", weights_only=True)
    assert set(ours) == set(theirs) and ours["structure"] == theirs["structure"]
    assert list(ours["state_dict"]) == list(theirs["state_dict"])
    for name, value in theirs["state_dict"].items():
        assert torch.equal(ours["state_dict"][name], value)
