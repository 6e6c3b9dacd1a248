"""How the cost grows: with the area of a frame, with the batch, with frames, with objects.

    python benchmarks/growth.py [--only area,frames,...] [--seconds 5] [--page]

Each row goes from size to size until one would take longer than `--seconds`, and prints the time of an
item (a pixel, a frame, an object) at the smallest and at the largest size, and the slopes between sizes:
1 is linear growth, 2 is quadratic.  Growth ceases to be linear at the size after which the slope stays
above 1.4: tables that outgrow the caches stay below it.  Times are of the processor, all cores together,
which other work on the machine changes little.  The largest frames take a network of a thousand weights.

With `--page` the table and a plot of it go to docs/benchmarks.md.
"""

from __future__ import annotations

import argparse
import itertools
import json
import math
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import psutil
import tifffile
import torch
from scipy import ndimage

from baseline import DT_BOUND, model_of, tiny_config, unet_config
from bench import PAGE, digits, fill
from napari_jnet import (
    AnnotatedFrame,
    FramePrediction,
    Project,
    ResultWriter,
    array_stack,
    evaluate_labels,
    measure_frame,
    open_stack,
    separate,
)
from napari_jnet.config import Config, PredictionConfig
from napari_jnet.editing import copy_cells
from napari_jnet.evaluation.errors import error_map
from napari_jnet.inference.image import predict_maps
from napari_jnet.inference.predict import predict
from napari_jnet.io.results import OverlapTracks, open_result
from napari_jnet.labels import number_apart
from napari_jnet.training.losses import border_weights, loss_function
from napari_jnet.training.run import TrainingState
from napari_jnet.training.sampler import draw_batch, load_frames

RESULT = Path(__file__).parent / "results" / "growth.json"
PLOT = PAGE.parent / "images" / "growth.png"
MARKS = ("<!-- table: benchmarks/growth.py -->", "<!-- end of growth -->")
HEAD = "| what | from | to | an item takes | slopes | linear |\n|---|---|---|---|---|---|"
STEEP = 1.4
CPU = torch.device("cpu")
BYTES_A_PIXEL = 40  # of the largest frames, with all that is made of them

Work = Callable[[], Any]


class Case(NamedTuple):
    """What grows: `make` prepares one size, and returns what is timed."""

    make: Callable[[int, Path], Work]
    sizes: tuple[int, ...]
    unit: str  # a pixel, an image, ...
    patience: float = 1.0  # how many times as long as others it may take


def cells(count: int, step: int = 16) -> np.ndarray:
    """Return labels of round cells on a lattice; neighbours are a few pixels apart."""
    side = math.ceil(math.sqrt(count))
    rows, columns = np.mgrid[: side * step, : side * step]
    numbers = (rows // step) * side + columns // step + 1
    inside = np.hypot(rows % step - (step - 1) / 2, columns % step - (step - 1) / 2) < 0.45 * step
    return np.where(inside & (numbers <= count), numbers, 0).astype(np.int32)


def image_of(labels: np.ndarray) -> np.ndarray:
    """Return cells as a microscope might show them."""
    noise = np.random.default_rng(0).integers(0, 60, labels.shape, np.uint8)
    return np.where(labels > 0, np.uint8(150), np.uint8(40)) + noise


# area


def segmented(config: Callable[[], Config]) -> Callable[[int, Path], Work]:
    def make(area: int, _folder: Path) -> Work:
        side = math.isqrt(area)
        tile = image_of(cells(64))
        image = np.tile(tile, (-(-side // len(tile)),) * 2)[:side, :side]
        model = model_of(config(), CPU)
        return lambda: predict_maps(model, image, prediction=PredictionConfig(tta=1))

    return make


def separated(area: int, _folder: Path) -> Work:
    labels = cells(area // 256)
    distance = ndimage.distance_transform_cdt(labels > 0, "taxicab")
    maps = (labels > 0).astype(np.float32), np.minimum(distance, DT_BOUND).astype(np.float32)
    settings = Config().instances
    return lambda: separate(*maps, settings, DT_BOUND)


# batch


def training_step(batch: int, _folder: Path) -> Work:
    config = unet_config().replace({"training.batch_size": batch, "training.patch_size": 128})
    labels = cells(256)
    state = TrainingState(config, CPU)
    store = load_frames(
        [AnnotatedFrame("frame", image_of(labels), labels)], state.network.levels, CPU, config
    )
    loss_of = loss_function(config.training.loss)

    def step() -> None:
        levels, targets = draw_batch(store, config, float(DT_BOUND), state.generator)
        state.optimize(loss_of(state.output(levels), targets, 1, float(DT_BOUND)))

    return step


# frames


def film(count: int) -> np.ndarray:
    return np.repeat(image_of(cells(4))[None], count, axis=0)


def files(count: int, folder: Path, *, masks: bool) -> Path:
    """Make a folder of images, alone or each with a mask beside it."""
    labels = cells(1)
    for name, pixels in (("", image_of(labels)), ("_mask", labels.astype(np.uint16))):
        tifffile.imwrite(folder / "one.tif", pixels)
        data = (folder / "one.tif").read_bytes()
        (folder / "one.tif").unlink()
        for number in range(count) if masks or not name else ():
            (folder / f"a{number:05d}{name}.tif").write_bytes(data)
    return folder


def opened(count: int, folder: Path) -> Work:
    path = files(count, folder, masks=True)
    return lambda: open_stack(path)


def read(count: int, folder: Path) -> Work:
    stack = open_stack(files(count, folder, masks=False))
    return lambda: [stack.frame(number) for number in stack.frame_numbers]


def read_pages(count: int, folder: Path) -> Work:
    tifffile.imwrite(folder / "film.tif", film(count), compression="lzw", photometric="minisblack")
    stack = open_stack(folder / "film.tif", axes="TYX")
    return lambda: [stack.frame(number) for number in stack.frame_numbers]


def predicted(count: int, _folder: Path) -> Work:
    stack, model = array_stack(film(count)), model_of(tiny_config(), CPU)
    return lambda: sum(1 for _ in predict(model, stack))


def project(count: int, folder: Path) -> tuple[Project, np.ndarray]:
    labels = cells(1)
    frames = np.repeat(image_of(labels)[None], count, axis=0)
    return Project.create(folder / "project", array_stack(frames), "instances"), labels


def annotated(count: int, folder: Path) -> Work:
    made, labels = project(count, folder)

    def work() -> None:
        for number in range(count):
            made.write_frame(number, labels)
        made.assign_roles(range(count))

    return work


def reopened(count: int, folder: Path) -> Work:
    annotated(count, folder)()
    return lambda: Project.open(folder / "project").frames()


def written(count: int, folder: Path) -> Work:
    stack, labels = array_stack(film(count)), cells(4)
    maps = np.zeros(labels.shape, np.float32)
    names = (folder / f"result-{n}" for n in itertools.count())

    def work() -> None:
        with ResultWriter(next(names), stack) as writer:
            for number in range(count):
                writer.write(FramePrediction(number, number, count, maps, maps, labels))
        with closing(open_result(writer.folder, stack)) as result:
            for number in range(count):
                result.instances(number)

    return work


def tracked(count: int, _folder: Path) -> Work:
    labels = cells(16, 8)

    def work() -> None:
        tracks = OverlapTracks()
        for number in range(count):
            tracks.add(2 * number, labels)  # a gap: all tracks are new
        tracks.lines()

    return work


# objects


def on_cells(work: Callable[[np.ndarray, np.ndarray], Any]) -> Callable[[int, Path], Work]:
    def make(count: int, _folder: Path) -> Work:
        labels = cells(count)
        moved = np.roll(labels, 2, axis=0)
        return lambda: work(labels, moved)

    return make


def two_frames(before: np.ndarray, after: np.ndarray) -> None:
    tracks = OverlapTracks()
    for number, labels in enumerate((before, after)):
        tracks.add(number, labels)


AREAS = tuple(side**2 for side in (128, 256, 512, 1024, 2048, 4096, 8192, 16384))
FRAMES = (40, 160, 640, 2560, 10240)
OBJECTS = (100, 400, 1600, 6400, 25600, 102400)
CASES: dict[str, dict[str, Case]] = {
    "area": {
        "maps, 1,000 weights": Case(segmented(tiny_config), AREAS, "pixel", 24.0),
        "maps, default U-Net": Case(segmented(unet_config), AREAS, "pixel"),
        "instances from maps": Case(separated, AREAS, "pixel"),
    },
    "batch": {
        "training step, U-Net, 128 x 128": Case(training_step, (1, 2, 4, 8, 16, 32, 64), "image"),
    },
    "frames": {
        "open a folder of images and masks": Case(opened, FRAMES, "frame"),
        "read a folder": Case(read, FRAMES, "frame"),
        "read a TIFF of many pages": Case(read_pages, FRAMES, "frame"),
        "predict, 1,000 weights, 32 x 32": Case(predicted, FRAMES, "frame"),
        "write and read a result": Case(written, FRAMES, "frame"),
        "annotate a project": Case(annotated, FRAMES, "frame"),
        "open a project to train": Case(reopened, FRAMES, "frame"),
        "tracks, all new": Case(tracked, FRAMES, "frame"),
    },
    "objects": {
        "scores": Case(
            on_cells(lambda a, b: list(evaluate_labels([(0, a, b)]))), OBJECTS, "object"
        ),
        "map of errors": Case(on_cells(error_map), OBJECTS, "object"),
        "measure": Case(on_cells(lambda a, _: measure_frame(a)), OBJECTS, "object"),
        "copy cells": Case(on_cells(lambda a, b: copy_cells(a * 0, b)), OBJECTS, "object"),
        "cells in pieces": Case(on_cells(lambda a, _: number_apart(a // 2, 1)), OBJECTS, "object"),
        "tracks between two frames": Case(on_cells(two_frames), OBJECTS, "object"),
        "border weights": Case(
            on_cells(lambda a, _: border_weights(torch.from_numpy(a), 10.0, 5.0)), OBJECTS, "object"
        ),
    },
}


def measure(case: Case, most: float) -> Iterator[tuple[int, float]]:
    """Yield sizes and seconds, the shortest of three, until the next size would take too long."""
    before = 0.0
    for size in case.sizes:
        free = psutil.virtual_memory().available
        if before * 4 > most * case.patience or (
            case.unit == "pixel" and size * BYTES_A_PIXEL > free
        ):
            return
        with tempfile.TemporaryDirectory() as folder:
            work = case.make(size, Path(folder))
            times = []
            while len(times) < 3 and sum(times) < 1:
                start = time.process_time()
                work()
                times.append(time.process_time() - start)
        before = min(times)
        yield size, before


def slopes(found: list[tuple[int, float]]) -> list[float]:
    """Return the slope of each segment, in logarithms of size and time."""
    return [
        math.log(after[1] / before[1]) / math.log(after[0] / before[0])
        for before, after in itertools.pairwise(found)
    ]


def linear_until(found: list[tuple[int, float]]) -> int | None:
    """Return the size from which on the growth stays steep; None where it is linear to the end."""
    steep = list(itertools.takewhile(lambda slope: slope > STEEP, reversed(slopes(found))))
    return found[len(found) - 1 - len(steep)][0] if steep else None


def write_plot(results: dict[str, dict[str, Any]], path: Path) -> None:
    """Draw the time of one item over the size: a line that stays level is linear growth."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(13, 7), layout="constrained")
    for place, (topic, rows) in zip(figure.subplots(2, 2).flat, results.items(), strict=False):
        for title, row in rows.items():
            sizes, seconds = np.array(row["measured"]).T
            place.loglog(sizes, 1e6 * seconds / sizes, marker="o", markersize=3, label=title)
        unit = next(iter(CASES[topic].values())).unit
        place.set(xlabel=f"{unit}s", ylabel=f"µs for each {unit}")
        low, high = place.get_ylim()
        place.set_ylim(low / 2, high * 2)
        place.grid(alpha=0.3)
        place.legend(fontsize=7, loc="center left", bbox_to_anchor=(1, 0.5))
    figure.savefig(path, dpi=100)


def main() -> None:
    """Measure, print, store and draw."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--only", default=",".join(CASES))
    parser.add_argument("--seconds", type=float, default=5.0)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--json", type=Path, default=RESULT)
    parser.add_argument("--page", action="store_true")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    results: dict[str, dict[str, Any]] = {}
    lines = [HEAD]
    print(HEAD)
    for topic in options.only.split(","):
        for title, case in CASES[topic].items():
            found = list(measure(case, options.seconds))
            steep, end = slopes(found), linear_until(found)
            results.setdefault(topic, {})[title] = {
                "measured": found,
                "slopes": steep,
                "until": end,
            }
            (small, first), (large, last) = found[0], found[-1]
            lines.append(
                f"| {title} | {small:,} | {large:,} {case.unit}s "
                f"| {digits(1e6 * first / small)} to {digits(1e6 * last / large)} µs "
                f"| {' '.join(f'{slope:.2f}' for slope in steep)} "
                f"| {'to the end' if end is None else f'until {end:,}'} |"
            )
            print(lines[-1], flush=True)
            options.json.write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")
    if options.page:
        write_plot(results, PLOT)
        plot = "![time of one item over the size](images/growth.png)"
        fill(PAGE, MARKS, "\n".join([plot, "", *lines]))


if __name__ == "__main__":
    main()
