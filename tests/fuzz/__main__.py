"""Seeded random cases against the command line: each succeeds, or says in one line what is wrong.

::

    python tests/fuzz [--cases 1000] [--seed 0] [--only AREA] [--case N] [--jobs 2]

Each case runs in a forked child with limits of memory and time.  Bad is: another status than 0 or 2, more or
less than one line on stderr with status 2, any with status 0, more memory or time than the limit, a file
left unfinished, and a result that does not open.  Exit status 1 says that a case was bad.
"""

from __future__ import annotations

import argparse
import json
import mmap
import os
import random
import resource
import shutil
import signal
import sys
import tempfile
import time
import traceback
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from cases import AREAS, SHARES, draw

MEMORY = 4 * 2**30  # bytes of address space of a child
CPU_S = 60
WALL_S = 300
OUTCOMES = ("done", "told", "bad")


@dataclass
class Outcome:
    """What became of a case: "done", "told" (one clear error) or "bad", and why."""

    area: str
    number: int
    kind: str
    why: str
    reached: bool
    words: list[str]
    memory: int
    seconds: float


def main() -> int:
    parser = argparse.ArgumentParser(description="Try the command line with random, harmed input.")
    parser.add_argument("--cases", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", choices=AREAS)
    parser.add_argument("--case", type=int, help="only this one, with its output")
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--keep", type=Path, help="keep the folders of bad cases there")
    asked = parser.parse_args()
    numbers = range(asked.cases) if asked.case is None else [asked.case]
    plan = [(area_of(number), number) for number in numbers]
    plan = [(area, n) for area, n in plan if asked.only in (None, area)]
    warm()
    outcomes = []
    with tempfile.TemporaryDirectory(prefix="napari-jnet-fuzz-") as place:
        for outcome in run_all(plan, asked, Path(place)):
            outcomes.append(outcome)
            if outcome.kind == "bad" or asked.case is not None:
                print(f"{outcome.kind} {outcome.area} --case {outcome.number}: {outcome.why}")
                print(f"    {json.dumps(outcome.words)[:600]}", flush=True)
    print(table(outcomes))
    return int(any(outcome.kind == "bad" for outcome in outcomes))


def area_of(number: int) -> str:
    """Return the area of a case: areas take turns by their shares."""
    place, reached = (number * 37 % 100) / 100, 0.0
    for area, share in SHARES.items():
        reached += share
        if place < reached - 1e-9:
            return area
    raise AssertionError("the shares are less than one")


def warm() -> None:
    """Import what every child needs, once."""
    import napari_jnet.cli
    import napari_jnet.evaluation.evaluate
    import napari_jnet.inference.predict
    import napari_jnet.io.results
    import napari_jnet.model
    import napari_jnet.project.open
    import napari_jnet.training.loop  # noqa: F401


def run_all(
    plan: list[tuple[str, int]], asked: argparse.Namespace, place: Path
) -> Iterator[Outcome]:
    waiting, running = list(reversed(plan)), {}
    while waiting or running:
        while waiting and len(running) < asked.jobs:
            area, number = waiting.pop()
            child = Child(area, number, asked.seed, place / str(number))
            running[child.process] = child
        for process, child in list(running.items()):
            done, status, used = os.wait4(process, os.WNOHANG)
            if done:
                del running[process]
                yield child.judge(status, used)
                if asked.case is not None:
                    print(child.text("out"), child.text("err"), sep="\n")
                if asked.keep and child.bad:
                    shutil.copytree(child.place, asked.keep / str(child.number), symlinks=True)
                shutil.rmtree(child.place, ignore_errors=True)
            elif time.monotonic() - child.began > WALL_S:
                os.killpg(process, signal.SIGKILL)
        time.sleep(0.01)


class Child:
    """A forked process with one case."""

    def __init__(self, area: str, number: int, seed: int, place: Path) -> None:
        self.area, self.number, self.place = area, number, place
        self.began = time.monotonic()
        self.bad = False
        self.reached = mmap.mmap(-1, 1)
        (place / "work").mkdir(parents=True)
        self.process = os.fork()
        if self.process == 0:
            try:
                self._run(seed)
            except BaseException:  # noqa: BLE001 - the case itself is wrong
                (place / "err").write_text(traceback.format_exc(), encoding="utf-8")
            finally:
                os._exit(70)

    def _run(self, seed: int) -> None:
        os.setpgid(0, 0)
        os.chdir(self.place / "work")
        os.environ |= {"HOME": str(self.place), "XDG_DATA_HOME": str(self.place), "COLUMNS": "100"}
        case = draw(random.Random(f"{seed}/{self.number}"), self.area, self.place / "work")
        (self.place / "words").write_text(json.dumps(case.words), encoding="utf-8")
        self._watch()
        used = resource.getrusage(resource.RUSAGE_SELF)
        seconds = int(used.ru_utime + used.ru_stime) + CPU_S
        resource.setrlimit(resource.RLIMIT_CPU, (seconds, seconds + 5))
        resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
        for handle, name in ((1, "out"), (2, "err")):
            file = os.open(self.place / name, os.O_CREAT | os.O_WRONLY, 0o600)
            os.dup2(file, handle)
        nothing = os.open(os.devnull, os.O_RDONLY)
        os.dup2(nothing, 0)
        sys.stdout = open(1, "w", encoding="utf-8", closefd=False)  # noqa: SIM115
        sys.stderr = open(2, "w", encoding="utf-8", closefd=False)  # noqa: SIM115
        from napari_jnet.cli import main as command_line

        status = 1
        try:
            command_line(case.words)
        except SystemExit as left:
            status = left.code if isinstance(left.code, int) else 0 if left.code is None else 1
        except BaseException:  # noqa: BLE001 - it is what the case looks for
            traceback.print_exc()
        sys.stdout.flush()
        sys.stderr.flush()
        (self.place / "status").write_text(str(status), encoding="utf-8")
        wrong = ""
        try:
            if status == 0:
                wrong = case.look()
            if not wrong and case.output is not None and case.output.is_dir():
                rest = [p.name for p in case.output.rglob("*.part")]
                wrong = f"left unfinished: {rest[:3]}" if rest else ""
        except Exception as error:  # noqa: BLE001 - what was written cannot be read
            wrong = f"what was written cannot be read: {type(error).__name__}: {error}"
        (self.place / "wrong").write_text(wrong, encoding="utf-8", errors="replace")
        os._exit(0)

    def _watch(self) -> None:
        """Note in memory shared with the parent that a batch or a frame has been through a network."""
        from napari_jnet.events import BatchEnd, FramePrediction

        for event in (BatchEnd, FramePrediction):
            made = event.__init__

            def noted(this: object, *values: object, made=made, **more: object) -> None:
                self.reached[0] = 1
                made(this, *values, **more)

            event.__init__ = noted  # type: ignore[method-assign]

    def judge(self, status: int, used: resource.struct_rusage) -> Outcome:
        why = self._why(status)
        if not why and used.ru_maxrss * 1024 > MEMORY:
            why = f"it took {used.ru_maxrss / 2**20:.1f} GiB"
        self.bad = bool(why)
        told = self.text("status") == "2"
        kind = "bad" if self.bad else "told" if told else "done"
        words = json.loads(self.text("words") or "[]")
        seconds = used.ru_utime + used.ru_stime
        why = why or self.text("err").strip()
        return Outcome(
            self.area, self.number, kind, why, bool(self.reached[0]), words, used.ru_maxrss, seconds
        )

    def _why(self, status: int) -> str:
        errors = self.text("err")
        lines = errors.splitlines()
        told = self.text("status")
        if os.WIFSIGNALED(status):
            return f"ended by {signal.Signals(os.WTERMSIG(status)).name}"
        if not told:
            return f"the case could not be made: {errors[-2000:]}"
        if told not in ("0", "2"):
            return f"status {told}: {errors[-1500:]}"
        if told == "2" and (len(lines) != 1 or not lines[0].strip()):
            return f"{len(lines)} lines on stderr: {errors[:1500]}"
        if told == "0" and errors:
            return f"status 0 with words on stderr: {errors[:800]}"
        return self.text("wrong")

    def text(self, name: str) -> str:
        file = self.place / name
        return file.read_text(encoding="utf-8", errors="replace") if file.is_file() else ""


def table(outcomes: list[Outcome]) -> str:
    """Write the counts by area."""
    counts = Counter((outcome.area, outcome.kind) for outcome in outcomes)
    reached = Counter(outcome.area for outcome in outcomes if outcome.reached)
    lines = ["| area | tried | succeeded | one clear error | bad | reached a network |",
             "|---|---|---|---|---|---|"]  # fmt: skip
    areas = [area for area in AREAS if any(outcome.area == area for outcome in outcomes)]
    for area in areas:
        row = [counts[area, kind] for kind in OUTCOMES]
        lines.append(f"| {area} | {sum(row)} | {' | '.join(map(str, row))} | {reached[area]} |")
    row = [sum(counts[area, kind] for area in areas) for kind in OUTCOMES]
    lines.append(f"| together | {sum(row)} | {' | '.join(map(str, row))} | {reached.total()} |")
    most = max((outcome.memory for outcome in outcomes), default=0) / 2**20
    longest = max((outcome.seconds for outcome in outcomes), default=0.0)
    lines.append(f"\nMost memory {most:.2f} GiB, longest case {longest:.1f} s of CPU.")
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
