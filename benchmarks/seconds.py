"""Quality against a person's seconds: SEG over simulated minutes of painting, with training beside it.

    python benchmarks/seconds.py --shared ../shared/data --output DIR [--page]

A simulated person (`painter.py`: tools, mistakes and time model) annotates frame after frame, while a
training runs beside on the same simulated clock.  From the first finished frame on it trains on all
finished frames, in roles that a project gives them.  What is scored, on frames that nobody annotates, and
what the person corrects is its epoch that is kept, or the starter where that is better on the validation
frames.  Ways to work:

    scratch    frames in random order, outlined until a model gives cells that are quicker corrected
    starter    the same, but the model at the beginning is the starter, and the training begins from it
    proposals  as starter, each frame the least certain by the last prediction, for which person and training
               wait

The real computer trains a step for a step of the simulated one, which does as many a second as this one
does with one thread, divided by --slowdown: 15 minutes at a slowdown of 4 take about 4 minutes here.
The rates are measured once and kept in DIR/rates.json; given there, or in the same DIR, a run is repeatable.

Each run is a file of JSON lines in DIR, one a score; a run that was interrupted begins anew, finished
ones are kept.  --page draws all finished runs of DIR and puts table and plot into docs/benchmarks.md.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import statistics
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import tifffile
from numpy.typing import NDArray

from bench import PAGE, fill
from eyes import Labels
from napari_jnet import (
    AnnotatedFrame,
    BatchEnd,
    Config,
    EpochEnd,
    Scores,
    evaluate_labels,
    load_model,
    separate,
    train,
)
from napari_jnet.config import PredictionConfig, read_settings
from napari_jnet.inference.confidence import frame_uncertainty
from napari_jnet.inference.image import predict_maps
from napari_jnet.model import Model
from napari_jnet.project.manifest import next_role
from napari_jnet.synthetic import varied_cells
from painter import Action, Painter, annotate

KEPT_OUT = PAGE.parents[1] / "benchmarks" / "results" / "starter-kept-out.json"
MARKS = ("<!-- table: benchmarks/seconds.py -->", "<!-- end of seconds -->")
PLOT = PAGE.parent / "images" / "seconds.png"
WAYS = ("scratch", "starter", "proposals")
ASKED = 0.75  # SEG
AT = (2, 5, 10, 15)  # minutes of the table
STEPS_MEASURED = 48
ONCE = PredictionConfig(tta=1)  # averages over transforms are for final results


class Frame(NamedTuple):
    """An image and its truth, (H, W) each."""

    name: str
    image: NDArray[Any]
    truth: Labels


@dataclass(frozen=True)
class Data:
    """What is annotated, and what is scored."""

    title: str
    pool: tuple[Frame, ...]
    scored: tuple[Frame, ...]
    most: int  # frames that a person annotates

    @property
    def diameter(self) -> float:
        """Median diameter of the cells to annotate, in pixels."""
        sizes = [np.bincount(frame.truth.ravel())[1:] for frame in self.pool]
        return float(
            np.sqrt(np.median([4 / math.pi * size for of in sizes for size in of if size]))
        )


def read_hela(shared: Path) -> Data:
    """Read sequence 01: the complete gold frames are scored, others are annotated by the silver truth.

    Frames within three of a scored one are not annotated: cells move little between two frames.
    """
    folder = shared / "DIC-C2DH-HeLa"
    gold = (2, 5, 21, 31, 33, 34, 39, 54)  # 067 is not complete
    pool = [n for n in range(84) if all(abs(n - other) > 3 for other in (*gold, 67))]

    def frame(number: int, truth: str) -> Frame:
        image = tifffile.imread(folder / "01" / f"t{number:03d}.tif")
        labels = tifffile.imread(folder / truth / "SEG" / f"man_seg{number:03d}.tif")
        return Frame(f"t{number:03d}", image, labels.astype(np.int32))

    return Data(
        "DIC-C2DH-HeLa 01",
        tuple(frame(n, "01_ST") for n in pool),
        tuple(frame(n, "01_GT") for n in gold),
        len(pool),
    )


def read_nuclei(shared: Path, kept_out: Path) -> Data:
    """Read fluorescence images of dsb2018 that the starter has not seen: half to annotate, half to score.

    ``kept_out`` is the file with their names by kind that `starter.py` writes.
    """
    from PIL import Image

    folder = shared / "dsb2018" / "fluorescence"
    names = json.loads(kept_out.read_text(encoding="utf-8"))["fluorescence"]
    frames = []
    for name in np.random.default_rng(0).permutation(names):
        truth = tifffile.imread(folder / "masks" / f"{name}.tif").astype(np.int32)
        frames.append(
            Frame(str(name), np.asarray(Image.open(folder / "images" / f"{name}.png")), truth)
        )
    half = len(frames) // 2
    return Data("nuclei of dsb2018", tuple(frames[:half]), tuple(frames[half:]), 8)


def make_synthetic() -> Data:
    """Make frames of a look that the starter was not trained on: half to annotate, half to score."""
    frames = []
    for number in range(24):
        image, truth = varied_cells((224, 224), diameter=36, look="nuclei", seed=number)
        frames.append(Frame(f"synthetic-{number:02d}", image, truth.astype(np.int32)))
    return Data("SIM-like synthetic cells", tuple(frames[:12]), tuple(frames[12:]), 12)


def read_data(name: str, shared: Path, kept_out: Path) -> Data:
    """Read "hela" or "nuclei", or make "synthetic"."""
    readers: dict[str, Callable[[], Data]] = {
        "hela": lambda: read_hela(shared),
        "nuclei": lambda: read_nuclei(shared, kept_out),
        "synthetic": make_synthetic,
    }
    if name not in readers:
        raise ValueError(f"The data are {name!r}; they are one of {', '.join(readers)}.")
    return readers[name]()


@dataclass(frozen=True)
class Rates:
    """What the simulated computer does, measured on this one with one thread."""

    steps: float  # a second, with validation
    prediction: float  # seconds of a frame
    precision: str  # that the training has chosen

    def slower(self, factor: float) -> Rates:
        """Return the rates of a computer so many times slower."""
        return replace(self, steps=self.steps / factor, prediction=self.prediction * factor)


def measure_rates(data: Data) -> Rates:
    """Train a few steps on three frames, one of them for validation, and predict one."""
    roles = ("training", "training", "validation")
    frames = [_annotated(f, f.truth, role) for f, role in zip(data.pool, roles, strict=False)]
    config = Config().replace({"training.epochs": 4, "training.threads": 1})
    config = config.replace({"training.batches_per_epoch": STEPS_MEASURED // 4})
    with tempfile.TemporaryDirectory() as folder:
        run = Path(folder) / "run"
        events = train(frames, run, config)
        next(events)
        start = time.process_time()  # not the time of the clock: the computer may be busy
        for _ in events:
            pass
        taken = time.process_time() - start
        model = load_model(run / "model.pt")
        predict_cells(model, data.pool[0].image)
        start = time.process_time()
        predict_cells(model, data.pool[0].image)
        prediction = time.process_time() - start
    return Rates(STEPS_MEASURED / taken, prediction, model.config.training.precision)


def _annotated(frame: Frame, labels: Labels, role: str) -> AnnotatedFrame:
    return AnnotatedFrame(frame.name, frame.image, labels, role=role)


def predict_cells(model: Model, image: NDArray[Any]) -> tuple[Labels, float]:
    """Return the cells that a model finds in an image, and how uncertain it is."""
    maps = predict_maps(model, image, prediction=ONCE)
    cells = separate(maps.segmentation, maps.distance, model.config.instances, model.dt_bound)
    return cells, frame_uncertainty(maps.segmentation)


def _of_size(model: Model, diameter: float) -> Model:
    """Return a model for cells of this diameter, where it is for cells of any size."""
    return model.at_diameter(diameter) if model.config.prediction.diameter == 0 else model


class Training:
    """A training on a simulated clock: it has done what the clock says when it is asked.

    Parameters
    ----------
    folder
        Of the run.
    rates
        Of the simulated computer.
    end
        When the clock stops, in seconds; the schedule is stretched until then.
    starter
        A model to start from, or None.
    diameter
        Of the cells in pixels, for a starter that is for cells of any size.
    settings
        Of the configuration, ``section.field``.

    Attributes
    ----------
    model
        What the window would take: the epoch that is kept, or the starter where that is better on the
        validation frames.  Before an epoch is finished it is the starter, or None.
    """

    def __init__(
        self,
        folder: Path,
        rates: Rates,
        end: float,
        starter: Path | None,
        diameter: float,
        settings: dict[str, Any],
    ) -> None:
        self.frames: list[AnnotatedFrame] = []
        self.steps = 0
        self.model = starter and _of_size(load_model(starter), diameter)
        self._folder, self._rates, self._end = folder, rates, end
        self._starter, self._settings = starter, settings
        self._first = self.model
        self._began = math.inf

    def add(self, frame: AnnotatedFrame, clock: float) -> None:
        """Train on this frame too from now on."""
        self.frames.append(frame)
        self._began = min(self._began, clock)

    def wait(self, seconds: float) -> None:
        """Pause: the computer predicts."""
        self._began += seconds

    def until(self, clock: float) -> None:
        """Do the steps until this time, in seconds, on the present frames."""
        due = int(self._rates.steps * (clock - self._began)) if self.frames else 0
        if due <= self.steps:
            return
        config = Config().replace(self._settings)
        each = config.training.batches_per_epoch
        if resume := (self._folder / "last.pt").exists():
            config = Config()
        else:
            epochs = max(math.ceil(self._rates.steps * (self._end - self._began) / each), 1)
            config = config.replace({"training.epochs": epochs})
        start = None if resume else self._starter
        with closing(
            train(self.frames, self._folder, config, resume=resume, start_from=start)
        ) as events:
            finished = False
            for event in events:
                self.steps += isinstance(event, BatchEnd)
                finished |= isinstance(event, EpochEnd)
                if self.steps >= due:
                    break
        if finished:
            self.model = self._better(load_model(self._folder / "model.pt"))

    def _better(self, model: Model) -> Model:
        validation = [frame for frame in self.frames if frame.role == "validation"]
        if self._first is None or not validation:
            return model
        scored = tuple(Frame(frame.name, frame.image, frame.labels) for frame in validation)
        return max((model, self._first), key=lambda model: score_model(model, scored)["seg"])


@dataclass
class Clock:
    """The simulated time in seconds, and what was done until then."""

    end: float
    every: float  # seconds from score to score
    score: Callable[[float], None]
    now: float = 0.0
    next_score: float = 0.0
    actions: list[tuple[float, Action]] = field(default_factory=list)  # when it was done, what

    def act(self, action: Action) -> None:
        """Do something that takes its time."""
        self.go_to(self.now + action.seconds)
        self.actions.append((self.now, action))

    def go_to(self, time: float) -> None:
        """Let time pass, and score where that is due."""
        while self.next_score <= min(time, self.end):
            self.score(self.next_score)
            self.next_score += self.every
        self.now = time


def simulate(
    data: Data,
    way: str,
    seed: int,
    rates: Rates,
    folder: Path,
    *,
    starter: Path | None = None,
    minutes: float = 15.0,
    every: float = 30.0,
    stop_at: float = math.inf,
    settings: dict[str, Any] | None = None,
) -> Iterator[dict[str, Any]]:
    """Simulate one person and one computer; yield a score every so many simulated seconds.

    Parameters
    ----------
    data
        Frames to annotate and to score.
    way
        "scratch", "starter" or "proposals".
    seed
        Of the order of frames, of the hand and of the training.
    rates
        Of the simulated computer.
    folder
        For the training.
    starter
        The model of the last two ways.
    minutes
        Simulated.
    every
        Simulated seconds from score to score.
    stop_at
        A SEG at which the simulation ends.
    settings
        Of the training's configuration, ``section.field``.
    """
    if way not in WAYS:
        raise ValueError(f"The way is {way!r}; it is one of {', '.join(WAYS)}.")
    if (way == "scratch") != (starter is None):
        raise ValueError(f"The way {way} {'needs no' if starter else 'needs a'} starter.")
    settings = {
        "training.seed": seed,
        "training.threads": 1,
        "training.precision": rates.precision,
        **(settings or {}),
    }
    training = Training(folder, rates, 60 * minutes, starter, data.diameter, settings)
    scores: list[dict[str, Any]] = []
    shown: Model | None = None
    found = score_model(shown, data.scored)

    def score(at: float) -> None:
        nonlocal shown, found
        training.until(at)
        if training.model is not shown:
            shown, found = training.model, score_model(training.model, data.scored)
        done = [action for when, action in clock.actions if when <= at]
        scores.append(
            {
                "minutes": at / 60,
                **found,
                "frames": len(training.frames),
                "cells": sum(len(np.unique(f.labels)) - 1 for f in training.frames),
                "steps": training.steps,
                "presses": sum(action.presses for action in done),
                "actions": dict(Counter(action.kind for action in done)),
            }
        )

    clock = Clock(60 * minutes, every, score)
    for action in _work(data, way, seed, rates, training, clock):
        clock.act(action)
        yield from scores
        if clock.now >= clock.end or any(line["seg"] >= stop_at for line in scores):
            return
        scores.clear()
    while clock.next_score <= clock.end:
        clock.go_to(clock.next_score)
        yield from scores
        if any(line["seg"] >= stop_at for line in scores):
            return
        scores.clear()


def _work(
    data: Data, way: str, seed: int, rates: Rates, training: Training, clock: Clock
) -> Iterator[Action]:
    """Yield what the person does, until no frame is left; finished frames go to the training."""
    left = [data.pool[at] for at in np.random.default_rng(seed).permutation(len(data.pool))]
    if training.model is not None:
        sizing = Painter(np.zeros_like(left[0].truth), np.random.default_rng(seed))
        sizing.drag_diameter(data.diameter)
        yield from sizing.actions
    while left and len(training.frames) < data.most:
        training.until(clock.now)
        model = training.model
        if way == "proposals":
            assert model is not None
            uncertain = [predict_cells(model, frame.image)[1] for frame in left]
            training.wait(len(left) * rates.prediction)
            yield Action("propose", len(left) * rates.prediction + 0.4, 2)
            frame = left.pop(int(np.argmax(uncertain)))
        else:
            frame = left.pop(0)
        cells = None if model is None else predict_cells(model, frame.image)[0]
        rng = np.random.default_rng([seed, *frame.name.encode()])
        painter = Painter(np.zeros_like(frame.truth), rng)
        painter.press("next frame", 2, wait=0 if cells is None else rates.prediction)
        painter = annotate(painter, frame.truth, cells)
        yield from painter.actions
        role = next_role([done.role for done in training.frames])
        training.add(_annotated(frame, painter.plane, role), clock.now)


def score_model(model: Model | None, frames: tuple[Frame, ...]) -> dict[str, float]:
    """Return SEG and AP50 of a model on frames; without a model they are 0."""
    if model is None:
        return {"seg": 0.0, "ap50": 0.0}
    found = (
        (n, frame.truth, predict_cells(model, frame.image)[0]) for n, frame in enumerate(frames)
    )
    *_, scores = evaluate_labels(found)
    assert isinstance(scores, Scores) and scores.seg is not None
    return {"seg": scores.seg, "ap50": scores.ap50 or 0.0}


def read_runs(folder: Path) -> dict[tuple[str, str], dict[int, list[dict[str, Any]]]]:
    """Return the lines of all finished runs of a folder, by data and way and by seed."""
    runs: dict[tuple[str, str], dict[int, list[dict[str, Any]]]] = {}
    for path in sorted(folder.glob("*.jsonl")):
        *lines, last = map(json.loads, path.read_text(encoding="utf-8").splitlines() or ["{}"])
        if last.get("finished"):
            runs.setdefault((last["data"], last["way"]), {})[last["seed"]] = lines
    return runs


def reached(lines: list[dict[str, Any]], seg: float = ASKED) -> dict[str, Any] | None:
    """Return the first line with this SEG, or None."""
    return next((line for line in lines if line["seg"] >= seg), None)


def table(runs: dict[tuple[str, str], dict[int, list[dict[str, Any]]]]) -> str:
    """Return a table: SEG after some minutes, and what it took to reach what is asked; over seeds."""

    def spread(values: list[float], digits: int) -> str:
        middle, low, high = statistics.median(values), min(values), max(values)
        if math.isinf(middle):
            return "not reached"
        ends = ["not reached" if math.isinf(end) else f"{end:.{digits}f}" for end in (low, high)]
        return f"{middle:.{digits}f} ({ends[0]} to {ends[1]})"

    heads = [f"SEG, {at} min" for at in AT]
    heads += [f"minutes to {ASKED}", f"clicks and keys to {ASKED}", f"cells annotated by {ASKED}"]
    rows = [f"| data | way | seeds | {' | '.join(heads)} |", "|---" * (3 + len(heads)) + "|"]
    for (data, way), by_seed in runs.items():
        cells = []
        for at in AT:
            found = [
                line["seg"] for lines in by_seed.values() for line in lines if line["minutes"] == at
            ]
            cells.append(spread(found, 2) if len(found) == len(by_seed) else "")
        firsts = [reached(lines) for lines in by_seed.values()]
        for name, digits in (("minutes", 1), ("presses", 0), ("cells", 0)):
            cells.append(spread([math.inf if f is None else f[name] for f in firsts], digits))
        rows.append(f"| {data} | {way} | {len(by_seed)} | {' | '.join(cells)} |")
    return "\n".join(rows)


def draw(runs: dict[tuple[str, str], dict[int, list[dict[str, Any]]]], path: Path) -> None:
    """Draw SEG over minutes: the median of the seeds as a line, their range as a band."""
    from matplotlib.figure import Figure

    titles = list(dict.fromkeys(data for data, _ in runs))
    figure = Figure(figsize=(6 * len(titles), 4.5), layout="constrained")
    for place, title in zip(figure.subplots(1, len(titles), squeeze=False)[0], titles, strict=True):
        for number, way in enumerate(WAYS):
            by_seed = runs.get((title, way), {})
            curves = [[line["seg"] for line in lines] for lines in by_seed.values()]
            if not curves:
                continue
            count = min(map(len, curves))
            minutes = [line["minutes"] for line in next(iter(by_seed.values()))[:count]]
            values = np.array([curve[:count] for curve in curves])
            place.plot(minutes, np.median(values, axis=0), label=way, color=f"C{number}")
            place.fill_between(minutes, values.min(0), values.max(0), alpha=0.2, color=f"C{number}")
        place.axhline(ASKED, color="grey", linewidth=0.8, linestyle="--")
        place.set(
            xlabel="simulated minutes", ylabel="SEG", title=title, ylim=(0, 1), xlim=(0, None)
        )
        place.grid(alpha=0.3)
        place.legend(loc="best")
    figure.savefig(path, dpi=100)


def kept_rates(path: Path, title: str, data: Data) -> Rates:
    """Return the rates in a file, measured and written there where they are not."""
    known = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    if title not in known:
        known[title] = vars(measure_rates(data))
        path.write_text(json.dumps(known, indent=1) + "\n", encoding="utf-8")
    return Rates(**known[title])


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--shared", type=Path, default=Path("../shared/data"))
    parser.add_argument("--output", type=Path, required=True, help="folder of the runs")
    parser.add_argument("--starter", type=Path, default=Path("starter"), help="a model")
    parser.add_argument("--data", default="hela,nuclei,synthetic")
    parser.add_argument("--kept-out", type=Path, default=KEPT_OUT, help="names of nuclei images")
    parser.add_argument("--ways", default=",".join(WAYS))
    parser.add_argument("--seeds", default="0,1,2")
    parser.add_argument("--minutes", type=float, default=15.0, help="simulated")
    parser.add_argument(
        "--every", type=float, default=30.0, help="simulated seconds between scores"
    )
    parser.add_argument("--slowdown", type=float, default=4.0, help="of the simulated computer")
    parser.add_argument("--stop-at", type=float, default=math.inf, help="SEG at which a run ends")
    parser.add_argument("--set", action="append", default=[], help="section.field=value")
    parser.add_argument("--page", action="store_true", help="only draw and write what is finished")
    return parser.parse_args()


def main() -> None:
    """Simulate what is not finished yet, or write the page."""
    options = arguments()
    if options.page:
        runs = read_runs(options.output)
        draw(runs, PLOT)
        fill(PAGE, MARKS, f"![SEG over simulated minutes](images/{PLOT.name})\n\n{table(runs)}")
        return
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    options.output.mkdir(parents=True, exist_ok=True)
    for title in options.data.split(","):
        data = read_data(title, options.shared, options.kept_out)
        rates = kept_rates(options.output / "rates.json", title, data).slower(options.slowdown)
        for seed in map(int, options.seeds.split(",")):
            for way in options.ways.split(","):
                path = options.output / f"{title}-{way}-{seed}.jsonl"
                if path.exists() and '"finished"' in path.read_text(encoding="utf-8"):
                    continue
                with (
                    tempfile.TemporaryDirectory() as folder,
                    path.open("w", encoding="utf-8") as file,
                ):
                    started = time.monotonic()
                    for line in simulate(
                        data,
                        way,
                        seed,
                        rates,
                        Path(folder) / "run",
                        starter=None if way == "scratch" else options.starter,
                        minutes=options.minutes,
                        every=options.every,
                        stop_at=options.stop_at,
                        settings=read_settings(options.set),
                    ):
                        print(path.stem, json.dumps(line), flush=True)
                        file.write(json.dumps(line) + "\n")
                        file.flush()
                    end = {
                        "finished": True,
                        "data": data.title,
                        "way": way,
                        "seed": seed,
                        "real seconds": round(time.monotonic() - started),
                        "slowdown": options.slowdown,
                        "rates": vars(rates),
                        "settings": options.set,
                        "starter": None if way == "scratch" else str(options.starter),
                    }
                    file.write(json.dumps(end) + "\n")
    print(table(read_runs(options.output)))


if __name__ == "__main__":
    main()
