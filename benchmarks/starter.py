"""Train, evaluate and describe the starter network: src/napari_jnet/data/starter.pt and starter.md.

    python benchmarks/starter.py RUN [--minutes 45 | --epochs 60] [--start MODEL] [--resume]
    python benchmarks/starter.py RUN --evaluate [--model FILE]
    python benchmarks/starter.py RUN --thresholds [--model FILE]

The first command trains in RUN (Ctrl-C stops, --resume continues), from random weights or from those of a
model, such as "starter", then writes the weights in half precision, as --write does alone.  The second scores
the file on images that are kept out of the training and writes the card.  The third compares seed thresholds
and smallest objects on the validation images, to choose `SEPARATION` by.  With --fold 1 to 5 a fifth of the
colour images is kept out in place of a tenth, and nothing is written into the package: the mean over five
folds says what colour images get.

Every image is brought to the working size, where its median cell has a diameter of `WORKING` pixels.
"""

from __future__ import annotations

import argparse
import json
import math
import platform
import time
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import tifffile
from numpy.typing import NDArray
from PIL import Image

from napari_jnet import AnnotatedFrame, Config, load_model, train
from napari_jnet.config import PredictionConfig
from napari_jnet.evaluation.objects import ap_frame, average_precision, seg_frame
from napari_jnet.events import EpochEnd, Message, TrainingEnd, TrainingStart
from napari_jnet.inference.image import estimate_diameter, predict_maps
from napari_jnet.inference.instances import separate
from napari_jnet.labels import contingency
from napari_jnet.model import Model, read_checkpoint, save_checkpoint
from napari_jnet.preprocess import fit_channels, rescale_plane
from napari_jnet.synthetic import LOOKS, touching_cells, varied_cells

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = ROOT / "src" / "napari_jnet" / "data"
KEPT_OUT = ROOT / "benchmarks" / "results" / "starter-kept-out.json"
SCORES = ROOT / "benchmarks" / "results" / "starter.json"
WORKING = 24.0  # pixels; median diameter of the cells of an image that the network sees
LARGEST = 1024  # pixels a side of an image at the working size; a random part of larger ones
KINDS = ("fluorescence", "colour", "bright")
SYNTHETIC = 160
VALIDATION = 24  # images, of those that are trained on otherwise; they choose the epoch
UNSEEN_LOOK = "nuclei"  # of `LOOKS`, for the evaluation only
SEPARATION: dict[str, Any] = {"seed_threshold": 0.5}  # at the working size
SETTINGS: dict[str, Any] = {
    "network.resolution_levels": (-4, -3, -2, -1, 0),
    "targets.relative": True,
    "augmentation.scale": (0.6, 1.4),
    "augmentation.blur": 1.5,
    "augmentation.gamma": (0.5, 2.0),
    "augmentation.shading": 0.6,
    "augmentation.inversion": 0.5,
    "augmentation.noise": 0.3,
    "training.batches_per_epoch": 96,
    "training.seed": 0,
}


@dataclass(frozen=True)
class Sample:
    """An image (H, W) or (H, W, 3) of any type, and its cells (H, W), 0 = background."""

    name: str
    kind: str
    image: NDArray[Any]
    labels: NDArray[np.int32]

    @property
    def diameter(self) -> float:
        """Median diameter of its cells in pixels: that of discs of the same areas."""
        sizes = np.bincount(self.labels.ravel())[1:]
        return float(np.median(np.sqrt(4 * sizes[sizes > 0] / math.pi)))


def names_of(data: Path, kind: str) -> list[str]:
    """Return the names of the images of a kind, in order."""
    return sorted(path.stem for path in (data / "dsb2018" / kind / "masks").glob("*.tif"))


def kept_out(data: Path, seed: int, fold: int) -> dict[str, list[str]]:
    """Return the images that are not trained on: a tenth of each kind, or in a fold a fifth of colour."""
    chosen = {}
    for kind in KINDS:
        names = names_of(data, kind)
        order = np.random.default_rng(seed).permutation(len(names))
        of_fold = fold and kind == "colour"
        picked = order[fold - 1 :: 5] if of_fold else order[: round(len(names) / 10)]
        chosen[kind] = sorted(names[index] for index in picked)
    return chosen


def read_sample(data: Path, kind: str, name: str) -> Sample:
    """Read an image of dsb2018."""
    folder = data / "dsb2018" / kind
    with Image.open(folder / "images" / f"{name}.png") as image:
        pixels = np.asarray(image)
    labels = tifffile.imread(folder / "masks" / f"{name}.tif").astype(np.int32)
    return Sample(name, kind, pixels, labels)


def gray(image: NDArray[Any], how: str = "luminance") -> NDArray[np.float32]:
    """Return one channel (H, W): that of a gray image; of a colour image as `how` says.

    "luminance", "pca" (the direction in which the colours differ most), or the number of a channel.
    """
    if image.ndim == 2:
        return image.astype(np.float32)
    if how == "luminance":
        return fit_channels(image, gray=True)
    colours = image[..., :3].astype(np.float32)
    if how == "pca":
        centred = colours - colours.mean((0, 1))
        _, vectors = np.linalg.eigh(np.cov(centred.reshape(-1, 3).T))
        return centred @ vectors[:, -1].astype(np.float32)
    return colours[..., int(how)]


def at_working_size(
    image: NDArray[Any], labels: NDArray[np.int32], diameter: float, rng: np.random.Generator
) -> tuple[NDArray[np.float32], NDArray[np.int32]]:
    """Rescale an image (H, W) with cells of this diameter to the working size; cut a large one."""
    scale = WORKING / diameter
    side = int(LARGEST / scale)
    top, left = (int(rng.integers(max(length - side, 0) + 1)) for length in labels.shape)
    part = slice(top, top + side), slice(left, left + side)
    resized = rescale_plane(np.ascontiguousarray(image[part]), scale)
    nearest = [
        np.minimum(((np.arange(count) + 0.5) / scale).astype(int), length - 1)
        for count, length in zip(resized.shape, labels[part].shape, strict=True)
    ]
    return resized, np.ascontiguousarray(labels[part][np.ix_(*nearest)])


def synthetic(index: int, look: str | None, seed: int) -> Sample:
    """Make a synthetic image with cells of 8 to 120 px."""
    rng = np.random.default_rng([seed, index])
    diameter = float(np.exp(rng.uniform(np.log(8), np.log(120))))
    side = int(np.clip(10 * diameter, 128, 1024))
    number = int(rng.integers(2**31))
    if look is None:
        cells = max(3, int(rng.uniform(0.15, 0.5) * side**2 / (math.pi * diameter**2 / 4)))
        images, labels = touching_cells(
            1, (side, side), cells=cells, diameter=diameter, seed=number
        )
        return Sample(f"touching-{index}", "synthetic", images[0], labels[0].astype(np.int32))
    image, labels = varied_cells((side, side), diameter=diameter, look=look, seed=number)
    return Sample(f"{look}-{index}", "synthetic", image, labels.astype(np.int32))


def training_samples(data: Path, seed: int, fold: int) -> Iterator[tuple[Sample, str]]:
    """Yield what is trained on, with the way to gray of each; colour images twice."""
    out = kept_out(data, seed, fold)
    rng = np.random.default_rng(seed)
    for kind in KINDS:
        for name in names_of(data, kind):
            ways = list(rng.permutation(["luminance", "pca", "0", "1", "2"])[:2])
            if name in out[kind]:
                continue
            sample = read_sample(data, kind, name)
            if sample.labels.any():
                for way in ways if kind == "colour" else [""]:
                    yield sample, way
    looks = [None, *(look for look in LOOKS if look != UNSEEN_LOOK)]
    for index in range(SYNTHETIC):
        yield synthetic(index, looks[index % len(looks)], seed), ""


def training_frames(data: Path, seed: int, fold: int) -> list[AnnotatedFrame]:
    """Return all training frames at the working size; some fluorescence images validate."""
    rng = np.random.default_rng(seed)
    samples = list(training_samples(data, seed, fold))
    fluorescence = [n for n, (sample, _) in enumerate(samples) if sample.kind == "fluorescence"]
    validating = set(rng.permutation(fluorescence)[:VALIDATION].tolist())
    frames = []
    for number, (sample, way) in enumerate(samples):
        image, labels = at_working_size(
            gray(sample.image, way), sample.labels, sample.diameter, rng
        )
        frames.append(
            AnnotatedFrame(
                f"{sample.kind}-{sample.name}{way and '-' + way}",
                image,
                labels,
                role="validation" if number in validating else "training",
            )
        )
    return frames


def train_starter(options: argparse.Namespace) -> None:
    """Train in the run folder, and write the model into the package unless it is that of a fold."""
    frames = training_frames(options.data, options.seed, options.fold)
    config = Config().replace(
        {
            **SETTINGS,
            "training.minutes": None if options.epochs else options.minutes,
            "training.epochs": options.epochs,
            "training.threads": options.threads,
        }
    )
    if options.start:
        config = config.replace({"network.diameter": WORKING})  # that of the frames: not rescaled
    for change in options.set:
        from napari_jnet.config import read_settings

        config = config.replace(read_settings([change]))
    trained = train(frames, options.run, config, resume=options.resume, start_from=options.start)
    with closing(trained) as events:
        del frames
        for event in events:
            if isinstance(event, Message):
                print("Note:", event.text, flush=True)
            elif isinstance(event, TrainingStart):
                print(
                    f"{len(event.training_frames)} frames, {event.parameters:,} weights", flush=True
                )
            elif isinstance(event, EpochEnd):
                print(
                    f"epoch {event.epoch}  loss {event.train_loss:.4f}  validation {event.validation_loss}"
                    f"  SEG {event.seg}  {event.images_per_s:.1f} images/s  {event.elapsed_s:.0f} s",
                    flush=True,
                )
            elif isinstance(event, TrainingEnd):
                print(f"{event.epochs} epochs, kept {event.best_epoch}")
    if not options.fold:
        KEPT_OUT.write_text(json.dumps(kept_out(options.data, options.seed, 0), indent=1) + "\n")
        write_model(options.run / "model.pt", PACKAGE / "starter.pt")


def write_model(trained: Path, file: Path) -> None:
    """Write a model with weights in half precision, for cells of any diameter."""
    content = read_checkpoint(trained)
    config = Config.from_saved(content["config"])
    config = config.replace(
        {
            "network.diameter": WORKING,
            "network.gray": True,
            "prediction.diameter": 0,
            "instances.relative": True,
            **{f"instances.{name}": value for name, value in SEPARATION.items()},
        }
    )
    file.parent.mkdir(exist_ok=True)
    weights = {
        name: value.half() if value.is_floating_point() else value
        for name, value in content["network"].items()
    }
    save_checkpoint(
        file, {"config": config.to_dict(), "network": weights, "history": content["history"][-1:]}
    )
    print(f"{file}: {file.stat().st_size / 1e6:.2f} MB")


def predicted(model: Model, image: NDArray[Any], diameter: float, tta: int) -> NDArray[np.int32]:
    """Return the cells of an image (H, W), which have about this diameter."""
    scaled = model.at_diameter(diameter)
    maps = predict_maps(scaled, image, prediction=PredictionConfig(tta=tta))  # type: ignore[arg-type]
    return separate(maps.segmentation, maps.distance, scaled.config.instances, scaled.dt_bound)


def precision(labels: NDArray[np.int32], cells: NDArray[np.int32]) -> tuple[float, float]:
    """Return AP at IoU 0.5, and the mean of AP over 0.5, 0.55 ... 0.9."""
    table = contingency(np.maximum(labels, 0), cells)
    scores = average_precision(ap_frame(table, np.zeros(len(table.columns))))
    return float(scores[0]), float(scores[:9].mean())


def compare_thresholds(options: argparse.Namespace) -> None:
    """Print the mean AP50 of seed thresholds and smallest objects on the validation images."""
    model = load_model(options.model, device="cpu")
    frames = training_frames(options.data, options.seed, options.fold)
    names = [frame.name for frame in frames if frame.role == "validation"]
    found: dict[tuple[float, int], list[float]] = {}
    for name in names:
        sample = read_sample(options.data, *name.split("-", 1))
        if not sample.labels.any():
            continue
        scaled = model.at_diameter(sample.diameter)
        prediction = PredictionConfig(tta=options.tta)  # type: ignore[arg-type]
        maps = predict_maps(scaled, gray(sample.image), prediction=prediction)
        for seed in (0.35, 0.4, 0.45, 0.5, 0.55):
            for smallest in (10, 20, 30, 43, 60):
                zoom = (sample.diameter / WORKING) ** 2
                separation = scaled.config.instances.changed(
                    seed_threshold=seed, min_size=round(smallest * zoom)
                )
                cells = separate(maps.segmentation, maps.distance, separation, scaled.dt_bound)
                found.setdefault((seed, smallest), []).append(precision(sample.labels, cells)[0])
    for (seed, smallest), scores in found.items():
        print(f"seeds above {seed}, at least {smallest} px: AP50 {np.mean(scores):.3f}")


def test_sets(options: argparse.Namespace) -> Iterator[tuple[str, list[Sample]]]:
    """Yield the sets of images to score on, none of which was trained on."""
    out = kept_out(options.data, options.seed, options.fold)
    for kind in ("colour",) if options.fold else KINDS:
        yield kind, [read_sample(options.data, kind, name) for name in out[kind]]
    if options.fold:
        return
    yield (
        "SIM-like (synthetic look not trained on)",
        [synthetic(index, UNSEEN_LOOK, options.seed + 1) for index in range(12)],
    )
    hela = options.data / "DIC-C2DH-HeLa"
    frames = [
        path for path in sorted((hela / "01_GT" / "SEG").glob("*.tif")) if "067" not in path.name
    ]
    yield (
        "HeLa 01, gold frames (zero-shot)",
        [
            Sample(
                path.stem,
                "hela",
                tifffile.imread(hela / "01" / f"t{path.stem[-3:]}.tif"),
                tifffile.imread(path).astype(np.int32),
            )
            for path in frames
        ],
    )


def evaluate(options: argparse.Namespace) -> None:
    """Score a model on all sets, at the true and at the estimated diameter; write scores and card."""
    model = load_model(options.model, device="cpu")
    scores: dict[str, Any] = {}
    for title, samples in test_sets(options):
        rows, began = [], time.perf_counter()
        for sample in samples:
            image = gray(sample.image)
            if not sample.labels.any():
                continue
            estimated = estimate_diameter(model, [image]) or WORKING
            row = {"diameter": sample.diameter, "estimated": estimated}
            for name, diameter in (("true", sample.diameter), ("estimated", estimated)):
                cells = predicted(model, image, diameter, options.tta)
                row[f"AP50 {name}"], row[f"AP {name}"] = precision(sample.labels, cells)
                row[f"SEG {name}"] = float(
                    seg_frame(contingency(np.maximum(sample.labels, 0), cells)).mean()
                )
            rows.append(row)
            if options.verbose:
                print(sample.name, {key: round(value, 3) for key, value in row.items()}, flush=True)
        means = {key: float(np.mean([row[key] for row in rows])) for key in rows[0]}
        ratio = np.abs(np.log2([row["estimated"] / row["diameter"] for row in rows]))
        means["images"], means["estimate off by (median factor)"] = (
            len(rows),
            2 ** float(np.median(ratio)),
        )
        means["seconds an image"] = (time.perf_counter() - began) / len(rows)
        scores[title] = means
        print(title, {key: round(value, 3) for key, value in means.items()}, flush=True)
    if not options.fold and options.model == PACKAGE / "starter.pt":
        SCORES.write_text(json.dumps(scores, indent=1) + "\n")
        write_card(model, scores, options)


def write_card(model: Model, scores: dict[str, Any], options: argparse.Namespace) -> None:
    """Write the card beside the model."""
    lines = [
        "| images | number | AP50 | AP 0.5-0.9 | AP50, diameter estimated | SEG, diameter estimated |",
        "|---|---|---|---|---|---|",
    ]
    for title, row in scores.items():
        lines.append(
            f"| {title} | {row['images']} | {row['AP50 true']:.3f} | {row['AP true']:.3f} | "
            f"{row['AP50 estimated']:.3f} | {row['SEG estimated']:.3f} |"
        )
    history = read_checkpoint(options.model)["history"][-1]
    text = CARD.format(
        working=f"{WORKING:g}",
        weights=f"{sum(weight.numel() for weight in model.network.parameters()):,}",
        trained=f"{history['elapsed_s'] / 60:.0f} minutes, {history['epoch']} epochs",
        machine=platform.processor() or platform.machine(),
        synthetic=SYNTHETIC,
        looks=", ".join(look for look in LOOKS if look != UNSEEN_LOOK),
        table="\n".join(lines),
    )
    (PACKAGE / "starter.md").write_text(text, encoding="utf-8")


CARD = """# Starter (cells)

A network that finds cells and nuclei before anything is painted: to look at, to correct, and to train from.

- **Kind**: U-Net of napari-jnet, one channel, {weights} weights, stored in half precision. It sees cells at
  a diameter of {working} px; frames are rescaled to that, by a diameter that is given or estimated. Its
  distance is the depth in each cell's own unit (`targets.relative`), and seeds lie above half of that.
- **Data**: nuclei of the 2018 Data Science Bowl, stage 1 (BBBC038, with the community's fixes; CC0):
  fluorescence, colour and bright field, but for a tenth of each; {synthetic} synthetic images of napari-jnet
  ({looks}).
- **Licence**: CC0, as its data.
- **Command**: `python benchmarks/starter.py RUN` at 41f90cb (34 minutes, 56 epochs, with AVX-512), then
  `python benchmarks/starter.py RUN --start starter --epochs 100 --set training.learning_rate=0.001`
  (best after {trained}, {machine}, one busy thread without); then `--thresholds` and `--evaluate`.
- **Not for**: measurements without a look at the cells; strokes, fibres and membranes without cells; kinds
  of images that are not in the table below. What it finds there is a draft to correct, or to train from.

Scores on images that were not trained on. AP50 is true positives / (true positives + false positives +
misses) at an IoU of 0.5, the mean over images; AP 0.5-0.9 the mean over nine such thresholds; both at the
true median diameter of the cells of each image. Then at the diameter that the network estimates. All with
eight transforms (`--tta 8`).

{table}
"""


def main(arguments: Sequence[str] | None = None) -> None:
    """Train, or evaluate with --evaluate."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("run", type=Path, help="folder of the training")
    parser.add_argument("--data", type=Path, default=ROOT.parent / "shared" / "data")
    parser.add_argument("--minutes", type=float, default=45.0)
    parser.add_argument("--epochs", type=int, help="length in place of minutes")
    parser.add_argument("--start", help="model whose weights the training starts from")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--resume", action="store_true")
    parser.add_argument(
        "--fold", type=int, default=0, choices=range(6), help="0: the starter itself"
    )
    parser.add_argument("--set", action="append", default=[], metavar="SECTION.FIELD=VALUE")
    parser.add_argument("--write", action="store_true", help="write what RUN has into the package")
    parser.add_argument("--evaluate", action="store_true")
    parser.add_argument("--thresholds", action="store_true")
    parser.add_argument(
        "--model", type=Path, help="to evaluate; default: the starter of the package"
    )
    parser.add_argument("--tta", type=int, default=8, choices=(1, 4, 8))
    parser.add_argument("--verbose", action="store_true", help="scores of each image")
    options = parser.parse_args(arguments)
    default = options.run / "model.pt" if options.fold else PACKAGE / "starter.pt"
    options.model = options.model or default
    if options.evaluate:
        evaluate(options)
    elif options.thresholds:
        compare_thresholds(options)
    elif options.write:
        write_model(options.run / "model.pt", PACKAGE / "starter.pt")
    else:
        train_starter(options)


if __name__ == "__main__":
    main()
