"""A film from files to instances in files: its rate beside that of its slowest stage.

    python benchmarks/film.py MODEL [--data DIC-C2DH-HeLa] [--frames 84] [--tta 8] [--json FILE]

Measures reading, network, separation and writing alone, then the film as `predict_to_folder` runs it;
all in turn, `--repeats` times after one that does not count.  Stages that run at the same time share
the cores, so a film cannot take less than the larger of two times: that of its slowest stage, and the CPU
time of all stages over the number of cores.  CPU time includes what threads of torch spend waiting for
each other.  Without data the frames are made, and written as a TIFF file with LZW.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import tifffile
import torch

from baseline import frame
from napari_jnet.events import FramePrediction, Message
from napari_jnet.hardware import available_cores
from napari_jnet.inference.image import predict_maps
from napari_jnet.inference.instances import separate
from napari_jnet.inference.predict import predict_to_folder
from napari_jnet.io.results import ResultWriter
from napari_jnet.io.stack import Stack
from napari_jnet.model import load_model
from napari_jnet.project.open import open_stack

STAGES = ("reading", "network", "separation", "writing")


@contextmanager
def film(data: Path | None) -> Iterator[Stack]:
    """Open the data, or a film that is made."""
    if data is not None:
        yield open_stack(data, sequence="01")
        return
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "film.tif"
        pages = np.stack([frame(512, 100, seed)[0] for seed in range(84)])
        tifffile.imwrite(path, pages, compression="lzw", photometric="minisblack")
        yield open_stack(path)


def timed(work: Callable[[], Any]) -> tuple[float, float]:
    """Return the seconds of work, and its CPU seconds in all threads."""
    start, spent = time.perf_counter(), time.process_time()
    work()
    return time.perf_counter() - start, time.process_time() - spent


def measure(model_path: Path, stack: Stack, count: int, tta: int, repeats: int) -> dict[str, Any]:
    """Measure the stages and the film, in turn; medians in seconds, of the whole film."""
    model = load_model(model_path)
    settings = model.config.prediction.changed(tta=tta)
    numbers = stack.frame_numbers[:count]
    images: list[Any] = []
    maps: list[Any] = []
    events: list[FramePrediction] = []

    def reading() -> None:
        images[:] = [stack.frame(number) for number in numbers]

    def network() -> None:
        maps[:] = [predict_maps(model, image, prediction=settings) for image in images]

    def separation() -> None:
        cells = [
            separate(made.segmentation, made.distance, model.config.instances, model.dt_bound)
            for made in maps
        ]
        events[:] = [
            FramePrediction(at, number, len(numbers), made.segmentation, made.distance, found)
            for at, (number, made, found) in enumerate(zip(numbers, maps, cells, strict=True))
        ]

    def writing() -> None:
        with (
            tempfile.TemporaryDirectory() as folder,
            ResultWriter(folder, stack, numbers) as writer,
        ):
            for event in events:
                writer.write(event)

    def whole() -> None:
        with tempfile.TemporaryDirectory() as folder:
            said = predict_to_folder(
                model, stack, Path(folder), frames=numbers, prediction=settings
            )
            for event in said:
                if isinstance(event, Message) and event.text not in messages:
                    messages.append(event.text)

    messages: list[str] = []
    whole()  # chooses how the network runs
    works = (reading, network, separation, writing, whole)
    turns = [[timed(work) for work in works] for _ in range(repeats + 1)][1:]
    seconds, cpu = (
        [statistics.median(turn[index][kind] for turn in turns) for index in range(len(works))]
        for kind in (0, 1)
    )
    slowest = max(seconds[:-1])
    cores = available_cores()
    shared = sum(cpu[:-1]) / cores
    return {
        "frames": len(numbers),
        "tta": tta,
        "cores": cores,
        "threads": torch.get_num_threads(),
        "load": round(os.getloadavg()[0], 1),
        "messages": messages,
        "stages": dict(zip(STAGES, seconds[:-1], strict=True)),
        "cpu": dict(zip((*STAGES, "film"), cpu, strict=True)),
        "one after the other": sum(seconds[:-1]),
        "seconds": seconds[-1],
        "slowest": slowest,
        "cpu over cores": shared,
        "share of the slowest stage": slowest / seconds[-1],
        "share of the limit": max(slowest, shared) / seconds[-1],
        "limited by": "the slowest stage" if slowest >= shared else "the cores",
    }


def main() -> None:
    """Measure, print and store."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("model", type=Path, help="a run folder or a model file")
    parser.add_argument("--data", type=Path, help="the folder DIC-C2DH-HeLa")
    parser.add_argument("--frames", type=int, default=84)
    parser.add_argument("--tta", type=int, default=1, help="symmetries")
    parser.add_argument("--threads", type=int, default=available_cores())
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--json", type=Path)
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    with film(given.data) as stack:
        found = measure(given.model, stack, given.frames, given.tta, given.repeats)
    for text in found["messages"]:
        print(text)
    for stage, seconds in found["stages"].items():
        each = 1e3 * seconds / found["frames"]
        print(f"{stage:12}{each:7.1f} ms a frame, {found['cpu'][stage]:6.2f} s of CPU time")
    print(
        f"film: {found['frames']} frames in {found['seconds']:.2f} s; "
        f"{found['one after the other']:.2f} s one stage after the other\n"
        f"{found['share of the slowest stage']:.2f} of the rate of the slowest stage "
        f"({found['slowest']:.2f} s); {found['share of the limit']:.2f} of the limit, "
        f"which is set by {found['limited by']} ({found['cpu over cores']:.2f} s of CPU time a core)"
    )
    if given.json:
        given.json.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
