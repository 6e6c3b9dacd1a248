"""The whole loop in the real window, with mouse and keys, on cells of DIC-C2DH-HeLa.

A person who knows the truth works through the workbench, on sequence 01 loaded without its truth:
paints two gold frames, trains, predicts a third, corrects it, fine-tunes, evaluates; paints three
more, fine-tunes again, and is killed (SIGKILL) in the middle of it.  A new process opens the same
images, goes on and resumes.  What the models are worth is scored on the gold frames of 02.

    python benchmarks/loop.py --data SHARED/DIC-C2DH-HeLa --json FILE --pictures DIR [--quick]
    python benchmarks/loop.py --scribbles | --kill 10 | --responsive

Without a screen it makes a virtual one.  Everything is written under --work.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from napari_jnet.cli.demo import has_screen, run_on_virtual_screen

HELD_OUT = (6, 7, 14)  # gold frames of sequence 02
ASKED = {"seg": 0.65, "scribbles_iou": 0.75, "p99_ms": 50.0, "max_ms": 300.0, "lost_after_s": 3.0}


def numbers(text: str) -> tuple[int, ...]:
    return tuple(int(part) for part in text.split(","))


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--data", type=Path, default=Path("../shared/data/DIC-C2DH-HeLa"))
    parser.add_argument("--work", type=Path, help="folder for everything; default a temporary one")
    parser.add_argument("--pictures", type=Path, help="folder for screenshots")
    parser.add_argument("--json", type=Path, help="file for the results")
    parser.add_argument(
        "--frames", type=numbers, default=(2, 33, 54), help="the third is corrected"
    )
    parser.add_argument("--more", type=numbers, default=(21, 39, 5), help="of the second round")
    parser.add_argument("--minutes", type=float, default=10.0, help="of training in a round")
    parser.add_argument("--quick", action="store_true", help="seconds of training, three cells")
    parser.add_argument("--stop-after", choices=("one", "two"), default="two", help="last round")
    parser.add_argument("--scribbles", action="store_true", help="strokes instead of whole cells")
    parser.add_argument(
        "--kill", type=int, metavar="TIMES", help="kill while painting and training"
    )
    parser.add_argument("--responsive", action="store_true", help="how long the window is busy")
    parser.add_argument("--seconds", type=float, default=60.0, help="to measure, of --responsive")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--child", help=argparse.SUPPRESS)
    return parser.parse_args()


class Work:
    """The folders of one run of the script, and what it tells."""

    def __init__(self, options: argparse.Namespace) -> None:
        self.options = options
        self.folder: Path = options.work
        self.images = self.folder / "images" / "01"
        self.results: dict[str, Any] = {}

    @property
    def environment(self) -> dict[str, str]:
        """Projects, runs and settings under the work folder: nothing of the user is touched."""
        home = self.folder / "home"
        home.mkdir(parents=True, exist_ok=True)
        return os.environ | {
            "HOME": str(home),
            "NAPARI_JNET_PROJECTS": str(self.folder / "projects"),
            "NAPARI_CONFIG": str(home / "napari.yaml"),
            "NAPARI_ENSURE_PLUGIN_MAIN_THREAD": "1",
        }

    def copy_images(self) -> None:
        """Copy sequence 01, and nothing of its truth."""
        self.images.mkdir(parents=True, exist_ok=True)
        for path in sorted((self.options.data / "01").glob("t*.tif")):
            shutil.copyfile(path, self.images / path.name)

    def child(self, name: str) -> subprocess.Popen[str]:
        """Start a window in a process of its own."""
        # the last --work counts
        given = [*sys.argv[1:], "--work", str(self.folder), "--child", name]
        command = [sys.executable, __file__, *given]
        return subprocess.Popen(command, env=self.environment, stdout=subprocess.PIPE, text=True)

    def listen(self, process: subprocess.Popen[str], until: str = "") -> dict[str, Any]:
        """Pass on what a child says; take its facts; return them at its end, or at a word."""
        told: dict[str, Any] = {}
        assert process.stdout is not None
        for line in process.stdout:
            if line.startswith("FACT "):
                name, value = json.loads(line[5:])
                told[name] = value
                print(f"  {name}: {value}", flush=True)
            elif line.strip() == until:
                return told
            else:
                print(f"  | {line.rstrip()}", flush=True)
        if process.wait() != 0 or until:
            raise RuntimeError(f"the window ended with {process.returncode}, told {told}")
        return told

    def score(self, model: Path, sequence: str, frames: tuple[int, ...], name: str) -> dict:
        """Predict and evaluate gold frames with the command line; return the scores."""
        output = self.folder / "scores" / name
        jnet = [sys.executable, "-m", "napari_jnet"]
        data = [str(self.options.data), "--sequence", sequence]
        chosen = ["--frames", ",".join(map(str, frames)), "--output", str(output)]
        run = {"check": True, "capture_output": True, "text": True}
        subprocess.run([*jnet, "predict", str(model), *data, *chosen], **run)
        command = [*jnet, "evaluate", str(output), *data, *chosen[:2], "--truth", "gold"]
        subprocess.run(command, **run)
        scores = json.loads((output / "metrics.json").read_text())
        return {key: scores[key] for key in ("seg", "det", "iou") if scores.get(key) is not None}


def whole_loop(work: Work) -> None:
    """Round one; round two, killed and resumed in a new process."""
    work.copy_images()
    process = work.child("first")
    started = time.monotonic()
    facts = work.listen(process, until="KILL")
    process.kill()
    process.wait()
    work.results["round one"] = facts
    first = Path(facts["model"])
    if not work.options.quick:
        facts["scores on 02"] = work.score(first, "02", HELD_OUT, "one")
    if work.options.stop_after == "two":
        facts = work.listen(work.child("second"))
        work.results["round two"] = facts
        if not work.options.quick:
            second = Path(facts["model"])
            facts["scores on 02"] = work.score(second, "02", HELD_OUT, "two")
    work.results["minutes in all"] = round((time.monotonic() - started) / 60, 1)


def scribbles(work: Work) -> None:
    """Strokes on five cells and some background in three frames; IoU on frames held out."""
    work.copy_images()
    facts = work.listen(work.child("scribbles"))
    painted = set(work.options.frames)
    gold = sorted((work.options.data / "01_GT" / "SEG").glob("man_seg*.tif"))
    others = tuple(n for n in (int(path.stem[7:]) for path in gold) if n not in painted)
    model = Path(facts["model"])
    facts["scores on 02"] = work.score(model, "02", HELD_OUT, "scribbles-02")
    facts["scores on the other frames of 01"] = work.score(model, "01", others, "scribbles-01")
    work.results["scribbles"] = facts


def main() -> int:
    options = arguments()
    if not has_screen():
        return run_on_virtual_screen([sys.executable, *sys.argv])
    if options.child:
        import loop_sessions

        return loop_sessions.run(options.child, Work(options))
    temporary = None
    if options.work is None:
        temporary = tempfile.TemporaryDirectory(prefix="napari-jnet-loop-")
        options.work = Path(temporary.name)
    options.data = options.data.resolve()
    work = Work(options)
    if options.kill:
        import loop_kill

        loop_kill.kill_many(work, options.kill)
    elif options.responsive:
        work.copy_images()
        work.results["responsive"] = work.listen(work.child("responsive"))
    elif options.scribbles:
        scribbles(work)
    else:
        whole_loop(work)
    print(json.dumps(work.results, indent=2))
    if options.json:
        options.json.write_text(json.dumps(work.results, indent=2) + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
