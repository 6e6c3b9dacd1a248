"""What a training gives on held-out frames, at a fixed number of epochs: docs/experiments.md.

    python benchmarks/quality.py ROW [ROW ...] [--network unet] [--seeds 0,1,2] [--epochs 60 | --minutes 15]
        [--set section.field=value ...] [--name NAME] [--run RUN] [--tta 1 8]
        [--output DIR] [--data DIR] [--table]

A row is a data set and its split (`--list`).  Each training has its own folder in the output, is resumed
where it was interrupted, and leaves its scores in `scores.json`; `--table` prints all that are there.
With `--run` nothing is trained, but the run in that folder is scored, such as one of an earlier version,
with the settings of `--set`.
The number of epochs is fixed, so that two runs on one computer with one thread are equal to the bit, and
the seconds a step stand beside the scores.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import time
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_jnet import annotated_frames, load_model, open_stack, preset, separate, train
from napari_jnet.config import Config, PredictionConfig, read_settings
from napari_jnet.evaluation.objects import ap_frame, average_precision, seg_frame, unknown_share
from napari_jnet.evaluation.pixels import confusion, mean_iou, pixel_accuracy
from napari_jnet.evaluation.rand import best_scores, section_sums
from napari_jnet.events import EpochEnd, Message, TrainingEnd
from napari_jnet.inference.image import predict_maps
from napari_jnet.inference.tiling import Maps
from napari_jnet.io.stack import AnnotatedFrame
from napari_jnet.labels import contingency
from napari_jnet.model import Model

Frames = list[AnnotatedFrame]
Scores = dict[str, float]
GOLD = (2, 5, 21, 31, 33, 34, 39, 54)  # complete gold frames of HeLa 01


@dataclass(frozen=True)
class Row:
    """A data set, its split, and what is scored."""

    about: str
    read: Callable[[Path], tuple[Frames, Frames]]  # to train on, held out
    score: Callable[[Model, Frames, int], Scores]


def _hela(root: Path, sequence: str, frames: Sequence[int]) -> Frames:
    return annotated_frames(
        open_stack(root / "DIC-C2DH-HeLa", sequence=sequence), frames=list(frames)
    )


def _dsb(root: Path, few: int | None) -> tuple[Frames, Frames]:
    """All fluorescence images but a tenth, or a few of them and 60 others of them; drawn by the seed 0."""
    stack = open_stack(root / "dsb2018" / "fluorescence")
    order = np.random.default_rng(0).permutation(len(stack)).tolist()
    tenth = len(stack) // 10
    kept = order[tenth:]
    chosen = (kept, order[:tenth]) if few is None else (kept[:few], kept[few : few + 60])
    train_on, score_on = (annotated_frames(stack, frames=sorted(numbers)) for numbers in chosen)
    return train_on, score_on


def _isbi(root: Path) -> tuple[Frames, Frames]:
    stack = open_stack(root / "isbi2012" / "train-volume.tif")
    return annotated_frames(stack, frames=list(range(21))), annotated_frames(
        stack, frames=[21, 22, 23]
    )


def _lines(root: Path) -> tuple[Frames, Frames]:
    stack = open_stack(root / "lines-ellipses")
    first, last = (annotated_frames(stack, frames=[*n]) for n in (range(90), range(90, 100)))
    return first, last


def _maps(model: Model, frame: AnnotatedFrame, tta: int) -> Maps:
    return predict_maps(model, frame.image, prediction=PredictionConfig(tta=tta))


def score_cells(model: Model, frames: Frames, tta: int) -> Scores:
    """Return SEG over all cells, and AP at IoU 0.5 and from 0.5 to 0.9, the mean over images."""
    ious, precisions = [], []
    for frame in frames:
        maps = _maps(model, frame, tta)
        found = separate(maps.segmentation, maps.distance, model.config.instances, model.dt_bound)
        known = np.maximum(frame.labels, 0)
        table = contingency(known, found)
        ious.append(seg_frame(table))
        share = unknown_share(frame.labels, found, table)
        precisions.append(average_precision(ap_frame(table, share)))
    means = np.nanmean(precisions, axis=0)
    return {
        "SEG": float(np.concatenate(ious).mean()),
        "AP50": float(means[0]),
        "AP50-90": float(means[:9].mean()),
        "missed": float(sum((iou == 0).sum() for iou in ious)),
    }


def _class_counts(model: Model, frame: AnnotatedFrame, maps: Maps) -> NDArray[np.int64]:
    """Return how many pixels of each class are predicted as each."""
    classes = max(model.config.network.classes, 2)
    found: NDArray[Any] = maps.segmentation > 0.5 if maps.classes is None else maps.classes
    return confusion(np.minimum(frame.labels, classes - 1), found, classes)


def _pixel_scores(counts: Sequence[NDArray[np.int64]]) -> Scores:
    total = np.sum(counts, axis=0)
    return {"accuracy": pixel_accuracy(total), "mean IoU": mean_iou(total)}


def score_classes(model: Model, frames: Frames, tta: int) -> Scores:
    """Return accuracy and mean IoU of all pixels."""
    return _pixel_scores(
        [_class_counts(model, frame, _maps(model, frame, tta)) for frame in frames]
    )


def score_membranes(model: Model, frames: Frames, tta: int) -> Scores:
    """Return the scores of pixels, and V_rand and V_info: of the best threshold, and of the cells."""
    counts = []
    ways: dict[str, list[NDArray[np.float64]]] = {"": [], " of cells": []}
    for frame in frames:
        maps = _maps(model, frame, tta)
        counts.append(_class_counts(model, frame, maps))
        cells = separate(maps.segmentation, maps.distance, model.config.instances, model.dt_bound)
        for way, proposal in zip(ways, (maps.segmentation, cells), strict=True):
            ways[way].append(section_sums(frame.labels, proposal))
    scores = _pixel_scores(counts)
    for way, sums in ways.items():
        rand, information = best_scores(np.sum(sums, axis=0))
        scores |= {f"V_rand{way}": rand, f"V_info{way}": information}
    return scores


def _fold(*left_out: int) -> Row:
    kept = [n for n in GOLD if n not in left_out]
    about = f"HeLa 01, gold frames but {left_out}, which are scored"
    return Row(
        about, lambda root: (_hela(root, "01", kept), _hela(root, "01", left_out)), score_cells
    )


ROWS = {
    "hela-1": _fold(2, 33),
    "hela-2": _fold(5, 34),
    "hela-3": _fold(21, 39),
    "hela-4": _fold(31, 54),
    "hela-few": Row(
        "HeLa 01, three frames (2, 21, 39); the five others are scored",
        lambda root: (_hela(root, "01", (2, 21, 39)), _hela(root, "01", (5, 31, 33, 34, 54))),
        score_cells,
    ),
    "hela-02": Row(
        "HeLa 01, 8 gold frames; 02/006, 007, 014 are scored",
        lambda root: (_hela(root, "01", GOLD), _hela(root, "02", (6, 7, 14))),
        score_cells,
    ),
    "dsb-few": Row("8 fluorescence images, 60 others", lambda r: _dsb(r, 8), score_cells),
    "dsb-all": Row("all fluorescence but a tenth", lambda r: _dsb(r, None), score_cells),
    "isbi": Row("ISBI-2012, sections 0 to 20; 21 to 23 are scored", _isbi, score_membranes),
    "lines": Row("lines and ellipses; the last 10 are scored", _lines, score_classes),
}


def run(row: str, network: str, seed: int, changes: dict[str, Any], args: Any) -> None:
    """Train one row, or resume it, and score it with and without test-time augmentation."""
    folder = args.output / args.name / f"{row}-{network}-{seed}"
    if (folder / "scores.json").exists():
        return
    training, held_out = ROWS[row].read(args.data)
    result: dict[str, Any] = {"row": row, "name": args.name, "network": network, "seed": seed}
    trained = args.run
    if trained is None:
        trained = folder / "run"
        config = preset(network).replace({**changes, "training.seed": seed, "training.threads": 1})
        result |= {"changes": changes, **_train(training, trained, config)}
    model = load_model(trained / "model.pt", device="cpu")
    if args.run is not None:
        model = replace(model, config=model.config.replace(changes))
    result["scores"] = {f"tta {tta}": ROWS[row].score(model, held_out, tta) for tta in args.tta}
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "scores.json").write_text(json.dumps(result, indent=1))
    print(json.dumps(result), flush=True)


def _train(frames: Frames, folder: Path, config: Config) -> dict[str, Any]:
    """Train, or resume; return what it took, and the epoch that is kept."""
    started, spent = time.monotonic(), time.process_time()
    kept, epochs, seconds = 0, 0, 0.0
    for event in train(frames, folder, config, resume=(folder / "last.pt").exists()):
        if isinstance(event, Message):
            print(event.text, flush=True)
        if isinstance(event, TrainingEnd):
            kept = event.best_epoch
        if isinstance(event, EpochEnd):
            epochs, seconds = event.epoch, event.elapsed_s
            if event.epoch % 10 == 0:
                print(f"{folder} epoch {event.epoch}: {event.train_loss:.4f}", flush=True)
    return {
        "wall_s": time.monotonic() - started,
        "cpu_s": time.process_time() - spent,
        "s_per_step": seconds / max(epochs * config.training.batches_per_epoch, 1),
        "epochs": epochs,
        "best_epoch": kept,
    }


def table(output: Path) -> str:
    """Return the scores that are there, the median over rows of one kind and seeds, and their range."""
    groups: dict[tuple[str, ...], list[Any]] = defaultdict(list)
    for path in sorted(output.glob("*/*/scores.json")):
        result = json.loads(path.read_text())
        kind = result["row"].rstrip("-1234")
        for way, scores in result["scores"].items():
            groups[(kind, result["network"], result["name"], way)].append((result, scores))
    lines = ["| data | network | name | transforms | runs | s a step | scores: median (range) |"]
    lines.append("| --- " * 7 + "|")
    for key, found in sorted(groups.items()):
        cells = []
        for score in found[0][1]:
            values = [scores[score] for _, scores in found]
            spread = f" ({min(values):.3f} to {max(values):.3f})" if len(values) > 1 else ""
            cells.append(f"{score} {statistics.median(values):.3f}{spread}")
        steps = [result["s_per_step"] for result, _ in found if "s_per_step" in result]
        step = f"{statistics.median(steps):.2f}" if steps else ""
        lines.append(f"| {' | '.join(key)} | {len(found)} | {step} | {'; '.join(cells)} |")
    return "\n".join(lines)


def main() -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("rows", nargs="*", choices=[*ROWS, []])
    parser.add_argument("--list", action="store_true")
    parser.add_argument("--table", action="store_true")
    parser.add_argument("--network", default="unet")
    parser.add_argument("--seeds", default="0")
    parser.add_argument("--epochs", type=int)
    parser.add_argument("--minutes", type=float)
    parser.add_argument("--set", action="append", default=[], metavar="SECTION.FIELD=VALUE")
    parser.add_argument("--name", default="default", help="of these settings")
    parser.add_argument("--tta", type=int, nargs="+", default=[1, 8], help="transforms averaged")
    parser.add_argument("--run", type=Path, help="a trained run to score as these rows")
    parser.add_argument("--output", type=Path, default=Path("quality-runs"))
    parser.add_argument(
        "--data", type=Path, default=Path(os.environ.get("NAPARI_JNET_DATA", "../shared/data"))
    )
    args = parser.parse_args()
    if args.list:
        print("\n".join(f"{name}: {row.about}" for name, row in ROWS.items()))
    changes = read_settings(args.set)
    changes |= {"training.minutes": args.minutes} if args.minutes else {}
    changes |= {"training.epochs": args.epochs} if args.epochs else {}
    for seed in args.seeds.split(","):
        for row in args.rows:
            run(row, args.network, int(seed), changes, args)
    if args.table:
        print(table(args.output))


if __name__ == "__main__":
    main()
