"""What the reference systems report, and what their recipes give here: docs/reproduction.md.

    python benchmarks/reproduction.py [--data DIR] [--only isbi-paper,lines,...] [--minutes-scale 1]

Each recipe trains on its own part of the data, scores the held-out part with napari_jnet.metrics,
and puts its figures into benchmarks/results/reproduction.json; the table in docs/reproduction.md is
written anew from that file after each. Without a GPU the networks are narrower, and the table says so.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch

from napari_jnet import annotated_frames, load_model, open_stack, predict, preset, train
from napari_jnet.config import PredictionConfig
from napari_jnet.evaluation.objects import seg_frame
from napari_jnet.evaluation.pixels import confusion, iou, mean_iou, pixel_accuracy
from napari_jnet.evaluation.rand import best_scores, section_sums
from napari_jnet.events import EpochEnd, FramePrediction, Message, TrainingEnd, TrainingStart
from napari_jnet.inference.image import predict_maps
from napari_jnet.inference.tiling import windows
from napari_jnet.io.stack import AnnotatedFrame
from napari_jnet.labels import contingency
from napari_jnet.model import Model

ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / "benchmarks" / "results" / "reproduction.json"
PAGE = ROOT / "docs" / "reproduction.md"
MARKS = ("<!-- table: benchmarks/reproduction.py -->", "<!-- end of table -->")

Scores = dict[str, float]


@dataclass(frozen=True)
class Recipe:
    """One row of the table: a training by a preset and its scores on held-out frames."""

    title: str
    reported: str
    data: str  # below the data folder
    split: str  # in words
    preset: str
    minutes: float
    hold_out: Callable[[Sequence[int]], list[int]]
    score: Callable[[Model, list[AnnotatedFrame]], Scores]
    changes: dict[str, Any] = field(default_factory=dict)
    small: dict[str, Any] = field(default_factory=dict)  # more changes without a GPU


def score_classes(model: Model, frames: list[AnnotatedFrame]) -> Scores:
    """Accuracy and mean IoU of all pixels of whole frames."""
    classes = max(model.config.network.classes, 2)
    table = sum(
        confusion(np.minimum(frame.labels, classes - 1), found(model, frame), classes)
        for frame in frames
    )
    named = {f"IoU {number}": float(value) for number, value in enumerate(iou(table))}
    return {"accuracy": pixel_accuracy(table), "mIoU": mean_iou(table), **named}


def found(model: Model, frame: AnnotatedFrame, settings: PredictionConfig | None = None) -> Any:
    maps = predict_maps(model, frame.image, prediction=settings, name=frame.name)
    return maps.segmentation > 0.5 if maps.classes is None else maps.classes


def score_membranes(model: Model, frames: list[AnnotatedFrame]) -> Scores:
    """Pixels, and V_rand and V_info after thinning; also with test-time augmentation."""
    scores = score_classes(model, frames)
    for words, tta in (("", 1), (", tta 8", 8)):
        settings = PredictionConfig(tta=tta)
        sums = sum(
            section_sums(
                frame.labels, predict_maps(model, frame.image, prediction=settings).segmentation
            )
            for frame in frames
        )
        v_rand, v_info = best_scores(sums)
        scores |= {f"V_rand{words}": v_rand, f"V_info{words}": v_info}
    return scores


def score_patches(model: Model, frames: list[AnnotatedFrame]) -> Scores:
    """Whole frames from overlapping windows, and each window as the network sees it alone."""
    tile, classes = model.config.prediction.tile or 96, model.config.network.classes
    alone = PredictionConfig(tile=tile, overlap=1e-6)
    each = []
    for frame in frames:
        classes_found = found(model, frame, alone)
        for part in windows(frame.labels.shape, tile, 0.0, model.network.stride):
            each.append(mean_iou(confusion(frame.labels[part], classes_found[part], classes)))
    return {**score_classes(model, frames), "mIoU of patches": float(np.mean(each))}


FULL_SIZE = {"network.resolution_levels": (-4, -3, -2, -1, 0)}
NARROW = {"network.channels": 16}
POLYPS = "912 polyp frames (not at hand): accuracy 0.925, mIoU 0.684"

RECIPES: dict[str, Recipe] = {
    "isbi-default": Recipe(
        title="U-Net with distance head, this project's default, ISBI-2012",
        reported="(UNet-PyTorch: accuracy 0.9087, mIoU 0.758)",
        data="isbi2012/train-volume.tif",
        split="sections 0-20 for training and validation, 21-23 held out",
        preset="unet",
        minutes=10,
        hold_out=lambda numbers: [n for n in numbers if n > 20],
        score=score_membranes,
    ),
    "isbi-paper": Recipe(
        title="U-Net as UNet-PyTorch, ISBI-2012",
        reported="accuracy 0.9087, mIoU 0.758",
        data="isbi2012/train-volume.tif",
        split="sections 0-20 for training and validation, 21-23 held out",
        preset="unet-paper",
        minutes=12,
        hold_out=lambda numbers: [n for n in numbers if n > 20],
        score=score_membranes,
        small={**NARROW, "network.padding": "same", "training.patch_size": 256},
    ),
    "isbi-theano": Recipe(
        title="U-Net as the Theano/Lasagne tutorial, ISBI-2012",
        reported="accuracy 0.889, mIoU 0.749 (0.636, 0.862)",
        data="isbi2012/train-volume.tif",
        split="sections 0-20 for training and validation, 21-23 held out",
        preset="unet-theano",
        minutes=12,
        hold_out=lambda numbers: [n for n in numbers if n > 20],
        score=score_membranes,
        small=NARROW,
    ),
    "lines": Recipe(
        title="Patches as unet-multiclass-pytorch, lines and ellipses",
        reported="mIoU 0.97 on whole images, 0.98 on patches",
        data="lines-ellipses",
        split="the last 10 of 100 images held out",
        preset="patches",
        minutes=12,
        hold_out=lambda numbers: list(numbers)[-10:],
        score=score_patches,
        # A schedule in epochs does not fit a budget in minutes: the cosine is stretched over it.
        changes={"training.schedule": "cosine", "prediction.tta": 8},
        small=NARROW,
    ),
    "drive": Recipe(
        title="U-Net, DRIVE",
        reported="(wanted: accuracy 0.95)",
        data="DRIVE/training",
        split="the last 4 of 20 images held out, field of view only",
        preset="unet",
        minutes=10,
        hold_out=lambda numbers: list(numbers)[-4:],
        score=score_classes,
        changes={**FULL_SIZE, "network.distance": False},
    ),
    "drive-fcn8": Recipe(
        title="FCN-8, DRIVE",
        reported=POLYPS,
        data="DRIVE/training",
        split="the last 4 of 20 images held out, field of view only",
        preset="fcn8",
        minutes=12,
        hold_out=lambda numbers: list(numbers)[-4:],
        score=score_classes,
        changes={"training.learning_rate": 5e-4},
        small={"network.width": 0.25},
    ),
}


def run_recipe(recipe: Recipe, data: Path, work: Path, scale: float, small: bool) -> dict[str, Any]:
    """Train, score the held-out frames, and say how."""
    path = data / recipe.data
    frames = annotated_frames(open_stack(path))
    stack = open_stack(path)
    numbers = stack.annotation().frame_numbers
    held = recipe.hold_out(numbers)
    kept = [n for n in numbers if n not in held]
    changes = {**recipe.changes, **(recipe.small if small else {})}
    minutes = recipe.minutes * scale
    config = preset(recipe.preset).replace({**changes, "training.minutes": minutes})
    start, end = follow(train(annotated_frames(stack, frames=kept), work, config))
    model = load_model(work)
    held_frames = [frame for number, frame in zip(numbers, frames, strict=True) if number in held]
    before = time.monotonic()
    scores = recipe.score(model, held_frames)
    command = f"napari-jnet train {recipe.data} -o RUN --preset {recipe.preset}"
    command += f" --frames {','.join(map(str, kept))} --minutes {minutes:g}"
    command += "".join(f" --set {k}={json.dumps(v).replace(' ', '')}" for k, v in changes.items())
    return {
        "scores": scores,
        "command": command,
        "machine": start.device,
        "training_s": end.elapsed_s,
        "epochs": end.epochs,
        "scoring_s": time.monotonic() - before,
        "parameters": start.parameters,
    }


def follow(events: Any) -> tuple[TrainingStart, TrainingEnd]:
    """Print a training; return its first and its last event."""
    start = None
    for event in events:
        if isinstance(event, TrainingStart):
            start = event
            print(f"  {event.device}; {event.parameters:,} parameters", flush=True)
        elif isinstance(event, EpochEnd) and event.best:
            print(f"  epoch {event.epoch}: mean IoU {event.mean_iou}", flush=True)
        elif isinstance(event, Message):
            print(f"  {event.text}", flush=True)
        elif isinstance(event, TrainingEnd):
            return start, event
    raise RuntimeError("The training did not end.")


TOY = {"01": ["002", "005", "021"], "02": ["006", "007", "014"]}
"""Frames of the toy example; both networks are scored on them, though they were trained on them."""
TOY_FLAGS = {
    "load_dataset_to_ram": "1",
    "num_workers": "0",
    "dataset_len_multiplier": "2",
    "batch_size": "2",
    "save_model_frequency": "10",
    "aug_elastic_params": "[[50,5,5],[-1,-1,1]]",
    "resolution_levels": "[-2,-1]",
    "structure": "[[3,16,3],[2,8,3]]",
    "dt_bound": "3",
    "validation_percentage": "0.17",
}
PUBLISHED_FLAGS = {
    **TOY_FLAGS,
    "dataset_len_multiplier": "16",
    "batch_size": "8",
    "aug_rotation_flip": "1",
    "resolution_levels": "[-2,-1,0]",
    "structure": "[[16,64,3],[2,8,3],[2,8,3]]",
    "dt_bound": "6",
    "learning_rate": "0.001",
}


def run_jnet(
    flags: dict[str, str] | None, epochs: int, data: Path, work: Path, small: bool
) -> dict[str, Any]:
    """Train with the original's command line (not without flags), and score on the toy's frames."""
    dataset = data / "DIC-C2DH-HeLa"
    common = {"dataset_root": str(dataset), "images_idx": json.dumps(TOY, separators=(",", ":"))}
    common |= {} if small else {"cuda": "1"}
    before = time.monotonic()
    if flags is None:
        flags = {"resolution_levels": "[-2,-1,0]", "dt_bound": "6"}
        file, command = data / "jnet-original-model" / "DIC_model", "(trained by the original)"
    else:
        file = work / "model_best_train_train"
        given = {"mode": "train", **common, **flags, "num_epochs": str(epochs)}
        command = original(given | {"output_dir": str(work)})[1]
    seconds = time.monotonic() - before
    kept = {name: flags[name] for name in ("resolution_levels", "dt_bound")}
    evaluation = {"mode": "eval", **common, **kept, "model_file": str(file)}
    said, _ = original(evaluation | {"output_dir": str(work / "eval")})
    levels, bound = json.loads(kept["resolution_levels"]), float(kept["dt_bound"])
    model = load_model(file, resolution_levels=levels, dt_bound=bound)
    return {
        "scores": {**averages(said), **score_cells(model, dataset)},
        "command": command.replace(str(dataset), "DIC-C2DH-HeLa").replace(str(work), "results"),
        "machine": f"{device_words(model)}",
        "training_s": seconds,
        "epochs": epochs,
        "parameters": model.network.parameter_count(),
    }


def original(flags: dict[str, str]) -> tuple[str, str]:
    """Call ``napari-jnet jnet``; return what it says, and the command."""
    words = [word for name, value in flags.items() for word in (f"--{name}", value)]
    words = ["jnet", *words]
    environment = {**os.environ, "COLUMNS": "200"}
    done = subprocess.run(
        [sys.executable, "-m", "napari_jnet", *words],
        capture_output=True,
        text=True,
        check=False,
        env=environment,
    )
    if done.returncode:
        raise RuntimeError(f"napari-jnet {' '.join(words)} failed:\n{done.stderr}{done.stdout}")
    shown = [f"'{word}'" if any(c in word for c in '[{ "') else word for word in words]
    return done.stdout, " ".join(["napari-jnet", *shown])


def averages(said: str) -> Scores:
    """Read loss, l1_seg and l1_dist off the last line of eval that has them."""
    line = [line for line in said.splitlines() if "l1_seg" in line and "l1_dist" in line][-1]
    words = line.replace(",", " ").replace("=", " ").replace(":", " ").split()
    return {name: float(words[words.index(name) + 1]) for name in ("loss", "l1_seg", "l1_dist")}


def score_cells(model: Model, dataset: Path) -> Scores:
    """IoU of cell pixels and SEG against gold truth."""
    table, seg = np.zeros((2, 2), np.int64), []
    for sequence, names in TOY.items():
        stack = open_stack(dataset, sequence=sequence)
        for event in predict(model, stack, frames=[int(name) for name in names]):
            if isinstance(event, FramePrediction):
                labels = stack.annotation().frame(event.number)
                seg.append(seg_frame(contingency(labels, event.instances)))
                table += confusion(np.minimum(labels, 1), event.segmentation > 0.5)
    return {"IoU": float(iou(table)[1]), "SEG": float(np.concatenate(seg).mean())}


def device_words(model: Model) -> str:
    from napari_jnet.device import describe_device

    return describe_device(model.device)


JNET = {
    "hela-original": ("The original J-Net's trained network", "DIC_model as published", None, 0),
    "hela-toy": (
        "J-Net, the toy example as it stands",
        "see the original's network",
        TOY_FLAGS,
        100,
    ),
    "hela-published": (
        "J-Net, published structure",
        "see the original's network",
        PUBLISHED_FLAGS,
        150,
    ),
}
"""Title, what is reported, flags (None: nothing is trained) and epochs."""
NEEDS_GPU = ("hela-published",)
HELA_SPLIT = "the toy example's 6 frames for training and for the scores"


def write_page(results: dict[str, dict[str, Any]]) -> None:
    """Put the table of all results into the page."""
    lines = ["| system and data | reported | ours | split | machine | training |"]
    lines += ["|---|---|---|---|---|---|"]
    commands = []
    for row in results.values():
        figures = ", ".join(f"{name} {value:.4g}" for name, value in row["scores"].items())
        spent = f"{row['training_s'] / 60:.1f} min, {row['epochs']} epochs"
        cells = [row["title"], row["reported"], figures, row["split"], row["machine"], spent]
        lines.append(f"| {' | '.join(cells)} |")
        commands += [f"**{row['title']}** ({row['parameters']:,} parameters)", ""]
        commands += ["```", row["command"], "```", ""]
    text = PAGE.read_text(encoding="utf-8")
    head, rest = text.split(MARKS[0])
    tail = rest.split(MARKS[1])[1]
    table = "\n".join([MARKS[0], "", *lines, "", "## Commands", "", *commands, MARKS[1]])
    PAGE.write_text(head + table + tail, encoding="utf-8")


def run_one(name: str, data: Path, scale: float, small: bool) -> dict[str, Any]:
    with tempfile.TemporaryDirectory(prefix="reproduction-") as folder:
        work = Path(folder) / "run"
        if name in RECIPES:
            recipe = RECIPES[name]
            words = {k: getattr(recipe, k) for k in ("title", "reported", "split")}
            if small and recipe.small:
                words["title"] += " (narrower)"
            return words | run_recipe(recipe, data, work, scale, small)
        title, reported, flags, epochs = JNET[name]
        words = {"title": title, "reported": reported, "split": HELA_SPLIT}
        epochs = max(1, round(epochs * scale)) if epochs else 0
        return words | run_jnet(flags, epochs, data, work, small)


def main() -> None:
    names = [*RECIPES, *JNET]
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, default=ROOT.parent / "shared" / "data")
    parser.add_argument("--only", default="", help=f"some of {', '.join(names)}")
    parser.add_argument("--minutes-scale", type=float, default=1.0)
    parser.add_argument("--results", type=Path, default=RESULTS, help="no page for another file")
    given = parser.parse_args()
    small = not torch.cuda.is_available()
    wanted = [part for part in given.only.split(",") if part]
    unknown = [part for part in wanted if part not in names]
    if unknown:
        parser.error(f"there is no recipe {unknown[0]!r}; there are {', '.join(names)}")
    chosen = [n for n in names if not wanted or n in wanted]
    for name in chosen:
        if small and name in NEEDS_GPU:
            print(f"{name}: needs a GPU, left out")
            continue
        print(f"{name} ...", flush=True)
        results = json.loads(given.results.read_text()) if given.results.is_file() else {}
        row = run_one(name, given.data, given.minutes_scale, small)
        row["host"] = f"{platform.machine()}, {os.cpu_count()} cores, torch {torch.__version__}"
        results[name] = row
        print(f"  {row['scores']}", flush=True)
        results = {known: results[known] for known in names if known in results}
        given.results.parent.mkdir(parents=True, exist_ok=True)
        given.results.write_text(json.dumps(results, indent=2) + "\n", encoding="utf-8")
        if given.results == RESULTS:
            write_page(results)


if __name__ == "__main__":
    main()
