"""The most memory that prediction takes: of a large image and of a large stack, by the command line.

    python benchmarks/memory.py [--side 16384] [--network tiny|unet] [--frames 20] [--tta 8]
        [--parts 2] [--json FILE]

Makes its own data in a temporary folder, with the results some eight times as large as the image; TMPDIR
moves it.  The stack is one TIFF file of 20 GB as its header says, of frames of 2048 x 2048 pixels, of
which `--frames` are predicted; they all lie at the same place of the file, so that it takes the space
of one.  The tiny network has about a thousand weights.  The figures are the most of physical memory
that the process held (`ru_maxrss`), in GB, with what Python and torch take before the first frame,
and the seconds.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import tifffile
import torch

from napari_jnet.config import Config
from napari_jnet.model import FORMAT, VERSION
from napari_jnet.networks import build_network

STACK_BYTES = 20_000_000_000
CHILD = (
    "import resource, sys\n"
    "from napari_jnet.cli import main\n"
    "sys.argv = ['napari-jnet', *sys.argv[1:]]\n"
    "try:\n    main()\n"
    "except SystemExit as end:\n    status = end.code\n"
    "print('peak', resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)\n"
)


def write_model(path: Path, tiny: bool) -> int:
    """Write an untrained model; return the number of its weights."""
    levels = (-1, 0) if tiny else (-4, -3, -2, -1, 0)
    smaller = {"network.channels": 3} if tiny else {}
    config = Config().replace(
        {"targets.dt_bound": 5.0, "network.resolution_levels": levels, **smaller}
    )
    torch.manual_seed(0)
    network = build_network(config.network)
    content = {"config": config.to_dict(), "network": network.state_dict()}
    torch.save({"format": FORMAT, "version": VERSION, **content}, path)
    return sum(weight.numel() for weight in network.parameters())


def cells(side: int) -> np.ndarray:
    """Return a noisy image of round cells."""
    rows, columns = np.mgrid[:side, :side]
    inside = np.hypot(rows % 24 - 12, columns % 24 - 12) < 9
    noise = np.random.default_rng(0).integers(0, 400, (side, side))
    return (inside * 2000 + 300 + noise).astype(np.uint16)


def write_image(path: Path, side: int) -> None:
    """Write an image of repeated cells, not compressed."""
    part = cells(1024)
    image = tifffile.memmap(path, shape=(side, side), dtype=np.uint16, photometric="minisblack")
    for top in range(0, side, 1024):
        for left in range(0, side, 1024):
            image[top : top + 1024, left : left + 1024] = part[: side - top, : side - left]
    image.flush()


def write_stack(path: Path) -> int:
    """Write a TIFF of 20 GB whose pages all have the pixels of the first; return their number."""
    frame = cells(2048)
    count = STACK_BYTES // frame.nbytes
    with tifffile.TiffWriter(path, bigtiff=True) as file:
        for _ in range(count):
            file.write(frame[:1, :1], photometric="minisblack", metadata=None, contiguous=False)
    with path.open("r+b") as file:
        place = file.seek(0, os.SEEK_END)
        frame.tofile(file)
    wanted = {
        "ImageWidth": 2048, "ImageLength": 2048, "RowsPerStrip": 2048,
        "StripOffsets": place, "StripByteCounts": frame.nbytes,
    }  # fmt: skip
    with tifffile.TiffFile(path, mode="r+") as opened:
        for page in list(opened.pages):
            for name, value in wanted.items():
                page.tags[name].overwrite(value, dtype=16 if name.startswith("Strip") else 4)
    return count


def run(*arguments: object) -> tuple[float, float]:
    """Run the command line; return GB at the most, and seconds."""
    begin = time.perf_counter()
    command = [sys.executable, "-c", CHILD, *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    last = done.stdout.strip().splitlines()[-1:]
    if done.returncode or not last or not last[0].startswith("peak"):
        raise RuntimeError(done.stdout[-2000:] + done.stderr[-2000:])
    if "objects in" not in done.stdout and "--part" not in command:
        raise RuntimeError(done.stdout[-2000:] + done.stderr[-2000:])
    return int(last[0].split()[1]) * 1024 / 1e9, time.perf_counter() - begin


def main() -> None:
    """Measure, print, and write the results where asked."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--side", type=int, default=16384)
    parser.add_argument("--network", choices=("tiny", "unet"), default="tiny")
    parser.add_argument("--frames", type=int, default=20)
    parser.add_argument("--tta", type=int, default=8, help="transforms averaged")
    parser.add_argument("--parts", type=int, default=0, help="predict so many parts, and join them")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    found = {}
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        weights = write_model(place / "model.pt", options.network == "tiny")
        jobs: dict[str, tuple[object, ...]] = {}
        if options.side:
            write_image(place / "image.tif", options.side)
            title = f"{options.side} x {options.side} uint16, {weights:,} weights"
            jobs[title] = (place / "image.tif", "-o", place / "a")
        if options.frames:
            count = write_stack(place / "stack.tif")
            title = f"{options.frames} of {count} frames of 2048 x 2048 uint16, {weights:,} weights"
            frames = ("--frames", f"0-{options.frames - 1}", "-o", place / "b")
            jobs[title] = (place / "stack.tif", "--axes", "TYX", *frames)
        for title, job in jobs.items():
            arguments = ("predict", place / "model.pt", *job, "--tta", options.tta)
            for part in range(1, options.parts + 1):
                found[f"{title}, part {part}"] = run(
                    *arguments, "--part", f"{part}/{options.parts}"
                )
            ending = ("--join",) if options.parts else ()
            found[f"{title}{', joined' * bool(ending)}"] = run(*arguments, *ending)
    for title, (peak, seconds) in found.items():
        print(f"{title}: {peak:.2f} GB, {seconds:.0f} s")
    if options.json:
        options.json.write_text(json.dumps(found, indent=1), encoding="utf-8")


if __name__ == "__main__":
    main()
