"""Whether two processes train a model as good as one does: SEG of left-out frames after ten epochs.

    python benchmarks/processes.py [--seeds 0,1,2] [--epochs 10] [--set section.field=value ...]
        [--output DIR] [--data DIR]

Trains the default U-Net in float32 on gold frames of HeLa 01 by the command line: in one process with each
seed, and in two processes (`torchrun --nproc-per-node 2`, gloo, one thread each) with the first seed.  Two
gold frames are left out and scored.  A training that is in the output already is not repeated.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np

from napari_jnet import annotated_frames, load_model, open_stack
from napari_jnet.config import Config, read_settings
from quality import GOLD, score_cells

LEFT_OUT = (2, 33)
SETTINGS = {"training.precision": "float32", "training.threads": 1, "training.device": "cpu"}


def train(folder: Path, processes: int, seed: int, data: Path, changes: dict[str, Any]) -> None:
    """Train one model by the command line; write how long it took."""
    folder.mkdir(parents=True, exist_ok=True)
    config = Config().replace({**SETTINGS, **changes, "training.seed": seed})
    (folder / "given.json").write_text(json.dumps(config.to_dict()))
    launch = (
        ["-m", "torch.distributed.run", f"--nproc-per-node={processes}"] if processes > 1 else []
    )
    frames = ",".join(str(number) for number in GOLD if number not in LEFT_OUT)
    options = ["--sequence", "01", "--truth", "gold", "--frames", frames]
    options += ["--config", str(folder / "given.json"), "--output", str(folder / "run")]
    began = time.perf_counter()
    subprocess.run(
        [sys.executable, *launch, "-m", "napari_jnet", "train", str(data), *options],
        env=os.environ | {"OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""},
        check=True,
    )
    (folder / "seconds.json").write_text(json.dumps(time.perf_counter() - began))


def verdict(one: list[float], two: float) -> str:
    """Compare the SEG of two processes with that of one, whose first is of the same seed."""
    spread, apart = max(one) - min(one), abs(two - one[0])
    if min(*one, two) == 0:
        return "A training found no cell, so nothing can be compared: train for more --epochs."
    words = "within" if apart <= spread else "NOT within"
    return (
        f"Of one seed, two processes differ from one by {apart:.4f} in SEG: {words} the spread of the seeds, "
        f"{spread:.4f}."
    )


def main() -> None:
    """Train what is missing, score, and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", default="0,1,2")
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument("--set", action="append", default=[], metavar="SECTION.FIELD=VALUE")
    parser.add_argument("--output", type=Path, default=Path("processes-runs"))
    shared = Path(os.environ.get("NAPARI_JNET_DATA", "../shared/data"))
    parser.add_argument("--data", type=Path, default=shared / "DIC-C2DH-HeLa")
    arguments = parser.parse_args()
    seeds = [int(seed) for seed in arguments.seeds.split(",")]
    changes = {**read_settings(arguments.set), "training.epochs": arguments.epochs}
    stack = open_stack(arguments.data, sequence="01")
    held_out = annotated_frames(stack, frames=list(LEFT_OUT))
    cells = sum(len(np.unique(frame.labels[frame.labels > 0])) for frame in held_out)
    found = []
    lines = [
        "| processes | seed | SEG | seconds |",
        "| --- " * 4 + "|",
    ]
    for processes, seed in [*((1, seed) for seed in seeds), (2, seeds[0])]:
        folder = arguments.output / f"{processes}-{seed}"
        if not (folder / "seconds.json").exists():
            train(folder, processes, seed, arguments.data, changes)
        model = load_model(folder / "run" / "model.pt", device="cpu")
        found.append(score_cells(model, held_out, 1)["SEG"])
        seconds = json.loads((folder / "seconds.json").read_text())
        lines.append(f"| {processes} | {seed} | {found[-1]:.4f} | {seconds:.0f} |")
    print(f"\npython benchmarks/processes.py {' '.join(sys.argv[1:])}\n")
    print("\n".join(lines))
    print(
        f"\n{cells} cells in {len(held_out)} frames. {verdict(found[:-1], found[-1])} (Last epoch.)"
    )


if __name__ == "__main__":
    main()
