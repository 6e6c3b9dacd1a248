"""All speeds in one table: each beside a baseline of the same run and beside what the machine can do.

    python benchmarks/bench.py [--rows predict,step,...] [--device cuda] [--threads 2]
    python benchmarks/bench.py --page FILE [FILE]         # results -> docs/benchmarks.md

Results go to benchmarks/results/bench-cpu.json or bench-cuda.json, or to `--json FILE`.

Baseline and ours run in turn, `--repeats` times after one time that does not count; the table has the
medians, the median of the ratios and its spread.  The limit of a row is the larger of two times: its
operations over the fastest product or convolution of this machine, and the bytes that it must read and
write over the fastest copy, both measured before the rows.  Bytes of a network are those of its
convolutions, each map read once and written once; of anything else, those that go in and come out.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import nullcontext
from dataclasses import asdict, dataclass
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import torch
from scipy import ndimage
from torch import Tensor
from torch.nn import functional as F
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import FlopCounterMode

from baseline import (
    DT_BOUND,
    OriginalNetwork,
    PlainUNet,
    frame,
    jnet_config,
    model_of,
    one_map_an_object,
    original_predict,
    original_sample,
    original_step,
    original_targets,
    plain_instances,
    plain_predict,
    plain_sample,
    unet_config,
)
from napari_jnet.cli.demo import has_screen
from napari_jnet.config import Config, PredictionConfig
from napari_jnet.device import has_bfloat16
from napari_jnet.inference.backend import available_backends, use_backend
from napari_jnet.inference.image import predict_maps
from napari_jnet.inference.instances import separate
from napari_jnet.io.stack import AnnotatedFrame
from napari_jnet.labels import LabelKind
from napari_jnet.project.open import training_frames
from napari_jnet.training import loop, run
from napari_jnet.training.losses import border_weights, loss_function
from napari_jnet.training.run import TrainingState
from napari_jnet.training.sampler import draw_batch, load_frames

ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / "benchmarks" / "results"
PAGE = ROOT / "docs" / "benchmarks.md"
MARKS = ("<!-- table: benchmarks/bench.py -->", "<!-- end of table -->")
TIMES = 10  # that the limits of the machine are measured
SAMPLES, BATCH, TOGETHER = 224, 8, 16  # an epoch of the original, and frames in a batch
SIDE, CELLS, BORDER_WEIGHT, BORDER_SIGMA = 512, 100, 10.0, 5.0

DATA = Path(os.environ.get("NAPARI_JNET_DATA", "")) / "DIC-C2DH-HeLa"
GOLD = (2, 5, 21, 31, 33, 34, 39, 54)  # its completely annotated frames of sequence 01

Work = Callable[[], Any]


@dataclass
class Row:
    """One row of the table; times in `unit`, None where there is nothing to compare with."""

    topic: str
    title: str
    ours: float
    unit: str = "ms"
    versus: str = ""  # the baseline, in words
    baseline: float | None = None
    ratio: float | None = None  # median of the ratios
    spread: tuple[float, float] | None = None  # the lowest and the highest ratio
    limit: float | None = None
    limited_by: str = ""  # operations or bytes
    gflop: float = 0.0
    mbyte: float = 0.0
    asked: str = ""
    note: str = ""

    @property
    def share(self) -> float | None:
        """Which part of what the machine can do, 0 to 1."""
        return None if self.limit is None else self.limit / self.ours


# What the machine can do


class _Traffic(TorchDispatchMode):
    """Counts the bytes that convolutions and products of matrices read and write."""

    counted = ("convolution", "addmm", "mm", "bmm")

    def __init__(self) -> None:
        super().__init__()
        self.bytes = 0

    def __torch_dispatch__(
        self, function: Any, types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        result = function(*args, **(kwargs or {}))
        if function.__name__.partition(".")[0].removesuffix("_backward") in self.counted:
            tensors = {t for t in tree_leaves((args, result)) if isinstance(t, Tensor)}
            self.bytes += sum(t.numel() * t.element_size() for t in tensors)
        return result


class Bench:
    """The device, what it can do, and how rows are measured."""

    def __init__(self, device: torch.device, repeats: int) -> None:
        self.device, self.repeats = device, repeats
        self.half = has_bfloat16(device)
        types = {"float32": torch.float32} | ({"bfloat16": torch.bfloat16} if self.half else {})
        self.gflops = {name: self._peak(dtype) for name, dtype in types.items()}
        values = torch.ones(2**26, device=device)
        target = torch.empty_like(values)
        moved = 2 * values.numel() * values.element_size()
        self.gbytes = moved / self.fastest(lambda: target.copy_(values)) / 1e9

    def _peak(self, dtype: torch.dtype) -> float:
        """Return the GFLOP/s of the fastest of a product of matrices and some convolutions."""
        side = 4096 if self.device.type == "cuda" else 1024
        square = torch.randn(side, side, device=self.device, dtype=dtype)
        rates = [2 * side**3 / self.fastest(lambda: square @ square)]
        for channels, size in ((32, 512), (64, 256), (128, 128), (256, 64)):
            shapes = ((1, channels, size, size), (channels, channels, 3, 3))
            image, weight = (
                torch.randn(shape, device=self.device, dtype=dtype) for shape in shapes
            )
            image, weight = (
                part.contiguous(memory_format=torch.channels_last) for part in (image, weight)
            )
            seconds = self.fastest(lambda i=image, w=weight: F.conv2d(i, w, padding=1))
            rates.append(2 * 9 * channels**2 * size**2 / seconds)
        return max(rates) / 1e9

    def seconds(self, work: Work) -> float:
        """Return how long it takes, with what it has started on the device."""
        start = time.perf_counter()
        work()
        if self.device.type == "cuda":
            torch.cuda.synchronize()
        return time.perf_counter() - start

    def fastest(self, work: Work, times: int = 0) -> float:
        """Return the shortest of some times, in seconds."""
        self.seconds(work)
        return min(self.seconds(work) for _ in range(times or TIMES))

    def limit(
        self, flop: float, moved: float, precision: str = "float32", unit: float = 1e3
    ) -> dict[str, Any]:
        """Return the fields of a row that tell its limit."""
        peak = self.gflops.get(precision, self.gflops["float32"])
        operations, copies = flop / peak / 1e9, moved / self.gbytes / 1e9
        return {
            "limit": unit * max(operations, copies),
            "limited_by": "operations" if operations >= copies else "bytes",
            "gflop": flop / 1e9,
            "mbyte": moved / 1e6,
        }

    def network_limit(self, work: Work, precision: str = "float32") -> dict[str, Any]:
        """Return the same for work whose operations torch counts."""
        with _Traffic() as traffic, FlopCounterMode(display=False) as flops:
            work()
        return self.limit(flops.get_total_flops(), traffic.bytes, precision)

    def alone(self, topic: str, title: str, ours: Work, **more: Any) -> Row:
        """Measure a row without a baseline."""
        ours()
        times = [1e3 * self.seconds(ours) for _ in range(self.repeats)]
        return Row(topic, title, statistics.median(times), **more)

    def compare(
        self, topic: str, title: str, versus: str, baseline: Work, ours: Work, **more: Any
    ) -> Row:
        """Measure both in turn."""
        turns = [
            [1e3 * self.seconds(work) for work in (baseline, ours)] for _ in range(self.repeats + 1)
        ][1:]
        ratios = sorted(before / after for before, after in turns)
        before, after = (statistics.median(times) for times in zip(*turns, strict=True))
        return Row(
            topic,
            title,
            after,
            versus=versus,
            baseline=before,
            ratio=statistics.median(ratios),
            spread=(ratios[0], ratios[-1]),
            **more,
        )


ONCE = PredictionConfig(tta=1)  # the network runs once a frame, as that of the baselines

# The rows


def predict(bench: Bench) -> Iterator[Row]:
    """A frame, image to maps and image to instances, as each way of the machine runs the network."""
    image, _ = frame(SIDE, CELLS)
    original = OriginalNetwork().eval().to(bench.device)
    jnet, unet = (model_of(config, bench.device) for config in (jnet_config(), unet_config()))
    plain = PlainUNet(unet_config().network.channels).eval().to(bench.device)
    cases = (
        ("J-Net", jnet, "the original's", lambda: original_predict(original, image), "2.5, aim 4"),
        ("U-Net", unet, "eager float32", lambda: plain_predict(plain, image), "share 0.67"),
    )
    for name, model, versus, baseline, asked in cases:

        def maps(model: Any = model) -> Any:
            return predict_maps(model, image, prediction=ONCE)

        def instances(model: Any = model) -> Any:
            found = predict_maps(model, image, prediction=ONCE)
            return separate(found.segmentation, found.distance, model.config.instances, DT_BOUND)

        use_backend(model, "torch")
        limits = {kind: bench.network_limit(maps, kind) for kind in bench.gflops}
        title = f"{name}, image to"
        for way in ("torch", *available_backends(model)):
            use_backend(model, way)
            more = limits["bfloat16" if way.endswith("bfloat16") else "float32"] | {"asked": asked}
            for what, ours in (("maps", maps), ("instances", instances)):
                yield bench.compare(
                    "predict", f"{title} {what}, {way}", versus, baseline, ours, **more
                )


def _training(bench: Bench, config: Config) -> tuple[Work, Callable[[Any, bool], Any]]:
    """Return functions that make one sample, and that do one step with it (in bfloat16 or not)."""
    image, labels = frame(SIDE, CELLS)
    state = TrainingState(config, bench.device)
    loss_of = loss_function(config.training.loss)
    frames = [AnnotatedFrame("frame", image, labels, LabelKind.INSTANCES)]
    store = load_frames(frames, state.network.levels, bench.device, config)

    def step(made: Any, half: bool) -> Tensor:
        loss = loss_of(state.output(made[0], bfloat16=half), made[1], 1, float(DT_BOUND))
        state.optimize(loss)
        return loss.detach()

    return lambda: draw_batch(store, config, float(DT_BOUND), state.generator), step


def step(bench: Bench) -> Iterator[Row]:
    """Augmentation and targets, a training step with them, and their share of it."""
    image, labels = frame(SIDE, CELLS)
    random, device = np.random.default_rng(0), bench.device
    trained = OriginalNetwork().train().to(device)
    plain = PlainUNet(unet_config().network.channels).train().to(device)
    cases = (
        ("J-Net", jnet_config(), "the original's", trained, original_sample),
        ("U-Net", unet_config(), "eager float32, scipy, scikit-image", plain, plain_sample),
    )
    for name, config, versus, network, their_sample in cases:
        adam = torch.optim.Adam(network.parameters(), lr=1e-4)
        sample, our_step = _training(bench, config)
        made = sample()

        def theirs(their_sample: Any = their_sample) -> Any:
            return their_sample(image, labels, random, device)

        moved = sum(
            t.numel() * t.element_size() for t in tree_leaves(made) if isinstance(t, Tensor)
        )
        moved += sum(t.nbytes for t in vars(made[1]).values() if isinstance(t, Tensor))
        found = bench.compare(
            "sample",
            f"{name}, augmentation and targets of a sample",
            versus,
            theirs,
            sample,
            asked="3",
            **bench.limit(0, moved + image.nbytes + labels.nbytes),
        )
        yield found
        choices = (False, True) if bench.half else (False,)
        took = {
            half: bench.fastest(lambda o=our_step, m=made, h=half: o(m, h), 3) for half in choices
        }
        half = min(took, key=took.__getitem__)  # as a training chooses
        precision = "bfloat16" if half else "float32"
        row = bench.compare(
            "step",
            f"{name}, training step with its sample, batch 1, {precision}",
            versus,
            lambda n=network, a=adam, t=theirs: original_step(n, a, t()),
            lambda s=sample, o=our_step, h=half: float(o(s(), h)),
            asked="2",
            **bench.network_limit(lambda o=our_step, m=made, h=half: o(m, h), precision),
        )
        yield row
        yield Row(
            "sample",
            f"{name}, the sample's share of a step",
            100 * found.ours / row.ours,
            "%",
            asked="5 %" if device.type == "cuda" else "10 %",
            note=_synchronisations(sample) if device.type == "cuda" else "",
        )


def _synchronisations(work: Work) -> str:
    """Tell how often the host waits for the device."""
    torch.cuda.set_sync_debug_mode("warn")
    try:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            work()
    finally:
        torch.cuda.set_sync_debug_mode("default")
    return f"{sum('synchron' in str(one.message) for one in caught)} host synchronisations"


def objects(bench: Bench) -> Iterator[Row]:
    """Border weights, and instances from maps."""
    _, labels = frame(SIDE, CELLS)
    cells, distance = original_targets(labels)
    edges = ndimage.maximum_filter(labels, 3) != ndimage.minimum_filter(labels, 3)
    apart = np.where(edges, 0, labels)
    given = torch.from_numpy(apart).to(bench.device)
    yield bench.compare(
        "borders",
        f"border weights, {SIDE} x {SIDE}, {CELLS} cells",
        "one distance map an object",
        lambda: one_map_an_object(apart, BORDER_WEIGHT, BORDER_SIGMA),
        lambda: border_weights(given, BORDER_WEIGHT, BORDER_SIGMA),
        asked="1 ms" if bench.device.type == "cuda" else "30 ms",
        **bench.limit(0, 2 * apart.nbytes),
    )
    settings = jnet_config().instances
    yield bench.compare(
        "instances",
        f"instances from maps, {SIDE} x {SIDE}, {CELLS} cells",
        "scipy, scikit-image, a loop over objects",
        lambda: plain_instances(cells, distance, DT_BOUND),
        lambda: separate(cells, distance, settings, DT_BOUND),
        asked="30 ms",
        **bench.limit(0, cells.nbytes + distance.nbytes + labels.nbytes),
    )


def save(bench: Bench) -> Iterator[Row]:
    """What last.pt and model.pt cost: one save, and all of a training of 20 s with tiny epochs."""
    image, labels = frame(256, 25)
    config = unet_config().replace(
        {
            "training.epochs": None,
            "training.minutes": 1 / 3,
            "training.batches_per_epoch": 1,
            "training.patch_size": 64,
            "training.device": bench.device.type,
        }
    )
    spent: list[float] = []
    plain_save = run.save_checkpoint

    def timed(path: Path, content: Any) -> None:
        start = time.perf_counter()
        plain_save(path, content)
        spent.append(time.perf_counter() - start)

    run.save_checkpoint = timed
    with tempfile.TemporaryDirectory() as folder:
        frames = [AnnotatedFrame(f"t{n}", image, labels, LabelKind.INSTANCES) for n in range(3)]
        start = time.perf_counter()
        for _ in loop.train(frames, Path(folder) / "run", config):
            pass
        whole = time.perf_counter() - start
        run.save_checkpoint = plain_save
        last = Path(folder) / "run" / "last.pt"
        content, size = torch.load(last, weights_only=True), last.stat().st_size
        data, target = bytes(size), Path(folder) / "copy"

        def write() -> None:
            with target.open("wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())

        seconds = bench.fastest(write)
        yield bench.compare(
            "save",
            f"last.pt of the default U-Net, {size / 1e6:.0f} MB",
            "torch.save, not flushed",
            lambda: torch.save(content, target),
            lambda: plain_save(target, content),
            limit=1e3 * seconds,
            limited_by="the disk",
            mbyte=size / 1e6,
        )
    epochs = f"{len(spent)} saves in {whole:.0f} s"
    yield Row(
        "save",
        "saving, share of a training",
        100 * sum(spent) / whole,
        "%",
        asked="2 %",
        note=epochs,
    )


_START = "import time; start = time.perf_counter(); {}; print(1000 * (time.perf_counter() - start))"
_DOCK = """
import napari, time
from qtpy.QtWidgets import QApplication
viewer = napari.Viewer()
QApplication.processEvents()
start = time.perf_counter()
dock, widget = viewer.window.add_plugin_dock_widget("napari-jnet", "{}")
while not widget.isVisible():
    QApplication.processEvents()
QApplication.processEvents()
print(1000 * (time.perf_counter() - start))
import os; os._exit(0)
"""


def startup(bench: Bench) -> Iterator[Row]:
    """Importing, --help, and a dock widget in a window that is open; each in a process of its own."""

    def printed(code: str, *before: str) -> float:
        command = [*before, sys.executable, "-c", code]
        result = subprocess.run(command, capture_output=True, text=True, check=True)
        return float(result.stdout.split()[-1])

    def measured(title: str, asked: str, once: Callable[[], float]) -> Row:
        once()  # fills the caches of the disk
        return Row(
            "startup", title, statistics.median(once() for _ in range(bench.repeats)), asked=asked
        )

    for title, asked, code in (
        ("import napari_jnet", "100 ms", "import napari_jnet"),
        ("open_stack and Config", "", "from napari_jnet import Config, open_stack"),
    ):
        yield measured(title, asked, lambda c=code: printed(_START.format(c)))
    program = [sys.executable, "-m", "napari_jnet", "--help"]
    yield measured(
        "napari-jnet --help",
        "500 ms",
        lambda: (
            1e3
            * bench.seconds(lambda: subprocess.run(program, stdout=subprocess.DEVNULL, check=True))
        ),
    )
    screen = () if has_screen() else ("xvfb-run", "-a")
    for dock in ("Workbench", "Load stack", "Annotate", "Train", "Predict", "Evaluate", "Measure"):
        yield measured(
            f"dock {dock}, in an open window",
            "500 ms",
            lambda d=dock: printed(_DOCK.format(d), *screen),
        )


def batches(bench: Bench) -> Iterator[Row]:
    """What a GPU is for: frames in batches, and an epoch of the original's 224 samples at batch 8."""
    for name, config in (("J-Net", jnet_config()), ("U-Net", unet_config())):
        network = model_of(config, bench.device).network
        levels = [
            torch.randn(
                TOGETHER, 1, int(SIDE * 2**k), int(SIDE * 2**k), device=bench.device
            ).contiguous(memory_format=torch.channels_last)
            for k in network.levels
        ]

        def forward(network: Any = network, levels: Any = levels) -> Any:
            half = (
                torch.autocast(bench.device.type, torch.bfloat16) if bench.half else nullcontext()
            )
            with torch.inference_mode(), half:
                return network(levels)

        limit = bench.network_limit(forward, "bfloat16")
        row = bench.alone(
            "batches", f"{name}, a frame in batches of {TOGETHER}", forward, asked="1 ms", **limit
        )
        for part in ("ours", "limit", "gflop", "mbyte"):
            setattr(row, part, getattr(row, part) / TOGETHER)
        yield row
        config = config.replace({"training.batch_size": BATCH})
        sample, our_step = _training(bench, config)
        if bench.device.type == "cuda":
            torch.cuda.reset_peak_memory_stats()

        def epoch(sample: Any = sample, our_step: Any = our_step) -> float:
            return float(
                torch.stack(
                    [our_step(sample(), bench.half) for _ in range(SAMPLES // BATCH)]
                ).mean()
            )

        limit = bench.network_limit(lambda s=sample, o=our_step: o(s(), bench.half), "bfloat16")
        limit |= {part: SAMPLES // BATCH * limit[part] for part in ("limit", "gflop", "mbyte")}
        row = bench.alone(
            "batches",
            f"{name}, an epoch of {SAMPLES} samples, batch {BATCH}",
            epoch,
            asked="1 s, 8 GB",
            **limit,
        )
        if bench.device.type == "cuda":
            row.note = f"{torch.cuda.max_memory_allocated() / 2**30:.1f} GiB at most"
        yield row


def memory(bench: Bench) -> Iterator[Row]:
    """The most memory that `napari-jnet predict` takes, by `memory.py`; an hour with the U-Net."""
    for network in ("tiny", "unet"):
        found = script("memory.py", "--network", network, "--frames", "200")
        for title, (peak, seconds) in found.items():
            note = f"in {seconds:.0f} s"
            yield Row("memory", f"memory: {title}", 1000 * peak, "MB", asked="1500 MB", note=note)


def film(bench: Bench) -> Iterator[Row]:
    """A film from files to files by `film.py`, with a U-Net that is trained for a minute."""
    gpu = bench.device.type == "cuda"
    given = ("--data", str(DATA)) if DATA.is_dir() else ()
    image, labels = frame(SIDE, CELLS)
    frames = (
        training_frames(DATA, sequence="01", frames=GOLD)
        if given
        else [AnnotatedFrame(f"t{n}", image, labels) for n in range(3)]
    )
    with tempfile.TemporaryDirectory() as folder:
        config = Config().replace({"training.minutes": 1.0, "training.device": bench.device.type})
        for _ in loop.train(frames, Path(folder) / "run", config):
            pass
        for symmetries, asked, repeats in ((1, "12 s", 3), (8, "40 s", 1)):
            options = ("--tta", str(symmetries), "--repeats", str(repeats))
            found = script("film.py", str(Path(folder) / "run"), *options, *given)
            apart, seconds = found["one after the other"], found["seconds"]
            yield Row(
                "film",
                f"a film of {found['frames']} frames, files to files, {symmetries} symmetries",
                seconds,
                "s",
                versus="one stage after the other",
                baseline=apart,
                ratio=apart / seconds,
                limit=max(found["slowest"], found["cpu over cores"]),
                limited_by=found["limited by"],
                asked=f"{3e-3 * found['frames']:.2g} s" if gpu else asked,
                note=f"{found['share of the slowest stage']:.2f} of the slowest stage's rate",
            )


def preview(bench: Bench) -> Iterator[Row]:
    """From Train to the first useful preview, by `first_preview.py`; minutes on a CPU."""
    for network, result in script("first_preview.py", str(DATA)).items():
        if network != "device":
            title = f"{network}, from Train to SEG 0.6 on a frame that is held out"
            asked = "15 s" if bench.device.type == "cuda" else "180 s"
            yield Row("preview", title, result["seconds"] or float("nan"), "s", asked=asked)


def script(name: str, *arguments: str) -> Any:
    """Run another benchmark in a process of its own, and return its results."""
    with tempfile.TemporaryDirectory() as folder:
        target = Path(folder) / "results.json"
        command = [sys.executable, str(Path(__file__).with_name(name)), *arguments]
        subprocess.run([*command, "--json", str(target)], check=True)
        return json.loads(target.read_text(encoding="utf-8"))


TOPICS: dict[str, Callable[[Bench], Iterator[Row]]] = {
    "predict": predict,
    "step": step,
    "objects": objects,
    "save": save,
    "startup": startup,
    "batches": batches,
    "memory": memory,
    "film": film,
    "preview": preview,
}
DEFAULT = {
    "cpu": "predict,step,objects,save,startup",
    "cuda": "predict,step,objects,batches,preview",
}


# The table


def digits(value: float | None, unit: str = "") -> str:
    """Write three digits, and the unit."""
    if value is None:
        return ""
    text = f"{value:.0f}" if value >= 100 else f"{value:.3g}"
    return f"{text} {unit}".strip()


def line(row: Row) -> list[str]:
    """Return the cells of a row of the table."""
    spread = f" ({row.spread[0]:.1f} to {row.spread[1]:.1f})" if row.spread else ""
    return [
        row.title,
        row.versus,
        digits(row.baseline, row.unit),
        digits(row.ours, row.unit) + (f" ({row.note})" if row.note else ""),
        "" if row.ratio is None else f"{row.ratio:.1f}{spread}",
        f"{digits(row.limit, row.unit)} ({row.limited_by})" if row.limit else "",
        "" if row.share is None else f"{row.share:.2g}",
        row.asked,
    ]


HEADS = (
    "what",
    "baseline",
    "baseline takes",
    "ours takes",
    "ratio",
    "limit",
    "share of the limit",
    "asked",
)


def machine(bench: Bench, threads: int) -> dict[str, Any]:
    """Return what the figures depend on."""
    chip = platform.processor()
    with Path("/proc/cpuinfo").open(encoding="utf-8") as lines:
        chip = next(
            (text.partition(":")[2].strip() for text in lines if "model name" in text), chip
        )
    if bench.device.type == "cuda":
        chip = f"{torch.cuda.get_device_name()}, {chip}"
    commit = subprocess.run(
        ["git", "describe", "--always", "--dirty"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    ).stdout.strip()
    return {
        "machine": chip,
        "cores": os.cpu_count(),
        "threads": threads,
        "load": round(os.getloadavg()[0], 1),  # before the rows
        "date": date.today().isoformat(),
        "commit": commit,
        "python": platform.python_version(),
        "torch": torch.__version__,
        "numpy": np.__version__,
        "device": bench.device.type,
        "gflops": {name: round(rate) for name, rate in bench.gflops.items()},
        "gbytes": round(bench.gbytes, 1),
    }


def describe(facts: Mapping[str, Any]) -> str:
    """Write the machine as one sentence."""
    rates = ", ".join(f"{rate} GFLOP/s in {name}" for name, rate in facts["gflops"].items())
    return (
        f"{facts['machine']}, {facts['threads']} of {facts['cores']} cores, load {facts['load']} before, "
        f"{rates}, {facts['gbytes']} GB/s; torch {facts['torch']}, {facts['date']}, commit {facts['commit']}"
    )


def tables(results: list[dict[str, Any]]) -> str:
    """Write one table a machine; a GPU that was not at hand says so."""
    text = []
    for result in results:
        text += [
            f"{describe(result['machine'])}:",
            "",
            f"| {' | '.join(HEADS)} |",
            "|---" * len(HEADS) + "|",
        ]
        text += [f"| {' | '.join(line(Row(**row)))} |" for row in result["rows"]]
        text.append("")
    if not any(result["machine"]["device"] == "cuda" for result in results):
        text += [
            "A GPU: not measured; `python benchmarks/bench.py --device cuda --json gpu.json` does it.",
            "",
        ]
    return "\n".join(text)


def fill(page: Path, marks: tuple[str, str], text: str) -> None:
    """Put a text between two marks of a page."""
    before, rest = page.read_text(encoding="utf-8").split(marks[0])
    after = rest.split(marks[1])[1]
    page.write_text(f"{before}{marks[0]}\n\n{text.strip()}\n\n{marks[1]}{after}", encoding="utf-8")


def main() -> None:
    """Measure, print and store."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--device", default="cpu", choices=("cpu", "cuda"))
    parser.add_argument("--threads", type=int, default=min(2, os.cpu_count() or 1))
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--rows", help=", ".join(TOPICS))
    parser.add_argument("--json", type=Path)
    parser.add_argument("--page", type=Path, nargs="+")
    options = parser.parse_args()
    if options.page:
        found = [json.loads(file.read_text(encoding="utf-8")) for file in options.page]
        fill(PAGE, MARKS, tables(found))
        return
    if options.device == "cuda" and not torch.cuda.is_available():
        parser.error("torch finds no NVIDIA GPU; omit --device, or install torch for CUDA")
    torch.set_num_threads(options.threads)
    bench = Bench(torch.device(options.device), options.repeats)
    facts = machine(bench, options.threads)
    print(describe(facts), flush=True)
    target = options.json or RESULTS / f"bench-{options.device}.json"
    rows = []
    for topic in (options.rows or DEFAULT[options.device]).split(","):
        for row in TOPICS[topic](bench):
            rows.append(row)
            print(" | ".join(line(row)), flush=True)
            found = {"machine": facts, "rows": [asdict(row) for row in rows]}
            target.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
