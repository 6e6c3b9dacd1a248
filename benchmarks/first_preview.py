"""How long after Train the first useful preview comes: SEG 0.6 on a frame that is held out.

    python benchmarks/first_preview.py DIC-C2DH-HeLa [--networks unet jnet] [--limit 600] [--json FILE]

Trains on seven of the eight completely annotated frames of sequence 01, with what the window sets for the
budget and this hardware, and ends at the first epoch that is good enough.  Seconds count from the call of
`train`, with loading, the choice of the precision, validation and saving.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import tempfile
import time
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

from napari_jnet.budgets import BUDGETS, Hardware, budget_settings
from napari_jnet.config import Config, preset
from napari_jnet.device import choose_device, describe_device
from napari_jnet.events import EpochEnd, Message, TrainingStart
from napari_jnet.hardware import available_cores
from napari_jnet.io.stack import AnnotatedFrame
from napari_jnet.project.open import training_frames
from napari_jnet.training.loop import train

GOLD = (2, 5, 21, 31, 33, 34, 39, 54)  # frames of sequence 01


def measure(
    frames: Sequence[AnnotatedFrame], config: Config, enough: float, limit_s: float
) -> dict[str, Any]:
    """Train until an epoch is good enough; return when that was, None if not within the limit."""
    epochs: list[dict[str, float | None]] = []
    reached = None
    with tempfile.TemporaryDirectory() as folder:
        started = time.perf_counter()
        with closing(train(frames, Path(folder) / "run", config)) as events:
            for event in events:
                seconds = time.perf_counter() - started
                if isinstance(event, TrainingStart):
                    print(
                        f"  {event.parameters:,} parameters, {event.device}; begins after {seconds:.1f} s"
                    )
                elif isinstance(event, Message):
                    print(f"  {event.text}")
                elif isinstance(event, EpochEnd):
                    epochs.append({"s": round(seconds, 1), "seg": event.seg, "iou": event.iou})
                    if event.seg is not None and event.seg >= enough:
                        reached = seconds
                if reached is not None or seconds > limit_s:
                    break
    return {"seconds": reached, "epochs": epochs}


def main() -> None:
    """Measure, print and store."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("data", type=Path, help="the folder DIC-C2DH-HeLa")
    parser.add_argument("--networks", nargs="+", default=["unet", "jnet"])
    parser.add_argument("--budget", default="standard", choices=BUDGETS)
    parser.add_argument("--held-out", type=int, default=54, choices=GOLD)
    parser.add_argument("--seg", type=float, default=0.6)
    parser.add_argument("--limit", type=float, default=600.0, help="seconds")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=0, help="0: OMP_NUM_THREADS, or all cores")
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    device = choose_device()
    memory = 0.0
    if device.type == "cuda":
        import torch

        memory = torch.cuda.mem_get_info(device)[0] / 2**30
    hardware = Hardware(device.type, arguments.threads or available_cores(), memory)
    frames = [
        dataclasses.replace(
            frame,
            role="validation" if frame.name.endswith(f"t{arguments.held_out:03d}") else "training",
        )
        for frame in training_frames(arguments.data, sequence="01", frames=GOLD)
    ]
    found: dict[str, Any] = {"device": describe_device(device)}
    for network in arguments.networks:
        settings = budget_settings(arguments.budget, hardware, network)
        config = preset(network).replace(
            {**settings, "training.seed": arguments.seed, "training.threads": arguments.threads}
        )
        print(network, settings, flush=True)
        result = found[network] = measure(frames, config, arguments.seg, arguments.limit)
        curve = ", ".join(f"{epoch['s']:.0f} s: {epoch['seg']:.2f}" for epoch in result["epochs"])
        print(f"  {curve}")
        when = "not reached" if result["seconds"] is None else f"{result['seconds']:.0f} s"
        print(f"{network}: SEG {arguments.seg:g} on frame {arguments.held_out}: {when}", flush=True)
    if arguments.json:
        arguments.json.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
