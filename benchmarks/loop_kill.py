"""Kill the window at random moments while somebody paints and a network is trained.

The painting process writes down when each stroke was made, and where; after SIGKILL the project is
read back.  A stroke older than three seconds must be there, every checkpoint must open, and the
next window must go on with what is on disk.
"""

from __future__ import annotations

import json
import random
import signal
import time
from pathlib import Path
from typing import Any

import numpy as np

from person import Person

__all__ = ["kill_many", "painting"]

SAFE_AFTER_S = 3.0
SMALL = {
    "network.channels": 4,
    "network.resolution_levels": (-3, -2, -1),
    "training.batches_per_epoch": 2,
    "training.batch_size": 2,
    "training.patch_size": 64,
}


def painting(work: Any, person: Person) -> None:
    """Paint a stroke every half second, for ever, while a network is trained."""
    journal = work.folder / "journal.jsonl"
    strokes = [json.loads(line) for line in journal.read_text().splitlines()]
    reopen(work, person, strokes)
    print("READY", flush=True)
    person.go("annotate")
    person.hand.key("2")
    frames, count, rounds = (0, 1, 2), len(strokes), 0
    while True:
        number = frames[count % len(frames)]
        person.workspace.go_to(number)
        person.viewer.layers.selection.active = person.annotation
        row, column = 12 + 22 * (count // 66 % 22), 12 + 22 * (count // 3 % 22)
        person.annotation.selected_label = count + 1
        person.hand.drag([(row, column), (row, column + 3)])
        stroke = {"time": time.time(), "frame": number, "at": [row, column], "label": count + 1}
        with journal.open("a") as file:
            file.write(json.dumps(stroke) + "\n")
        count, rounds = count + 1, rounds + 1
        if rounds == 6:
            train(person)
        person.hand.wait(0.5)


def train(person: Person) -> None:
    """Start a small training, or go on with the last."""
    page = person.go("train")
    page.set_values(epochs=200, changes=SMALL)
    person.hand.wait(1.0)
    try:
        person.press("Resume the training", wait=5)
    except LookupError:
        person.press("Train", wait=5)
    person.go("annotate")


def reopen(work: Any, person: Person, strokes: list[dict[str, Any]]) -> None:
    """Open the images; go on where there is something, and compare it with the disk."""
    from napari_jnet.project.project import Project

    person.load(work.images)
    if not strokes:
        person.new_annotation()
        return
    person.hand.wait_until(lambda: person.workspace.offer is not None, "work is offered", 30)
    person.press("Resume")
    person.hand.wait_until(lambda: person.workspace.project is not None, "the project is open", 30)
    project = Project.open(project_of(work))
    for number in project.annotated:
        shown = np.asarray(person.annotation.data[person.position(number)])
        if not np.array_equal(shown, project.read_frame(number)):
            raise RuntimeError(f"frame {number} in the window is not what is on disk")


def project_of(work: Any) -> Path:
    """Return the one project of this run.

    Raises
    ------
    RuntimeError
        If there is none or more than one.
    """
    found = sorted(path.parent for path in (work.folder / "projects").glob("*/project.json"))
    if len(found) != 1:
        raise RuntimeError(f"there should be one project, there are {found}")
    return found[0]


def kill_many(work: Any, times: int) -> None:
    """Kill so many windows; raise `RuntimeError` at the first loss."""
    work.copy_images()
    chance = random.Random(work.options.seed)
    journal = work.folder / "journal.jsonl"
    journal.touch()
    rows = []
    for turn in range(times):
        process = work.child("painting")
        work.listen(process, until="READY")
        wait = chance.uniform(4, 25)
        time.sleep(wait)
        killed = time.time()
        process.send_signal(signal.SIGKILL)
        process.wait()
        row = {"turn": turn + 1, "after_s": round(wait, 1)} | check(work, journal, killed)
        print(f"  {row}", flush=True)
        rows.append(row)
    work.results["kill"] = {
        "times": times,
        "strokes": rows[-1]["strokes"],
        "oldest stroke lost in s": max(row["oldest_lost_s"] for row in rows),
        "lost although older than 3 s": sum(row["lost"] for row in rows),
        "checkpoints read": rows[-1]["checkpoints"],
        "turns": rows,
    }


def check(work: Any, journal: Path, killed: float) -> dict[str, Any]:
    """Compare the project with the journal, and open every checkpoint."""
    from napari_jnet.model import load_model
    from napari_jnet.project.project import Project

    project = Project.open(project_of(work))
    strokes = [json.loads(line) for line in journal.read_text().splitlines()]
    planes = {number: project.read_frame(number) for number in project.annotated}
    ages, kept = [], []
    for stroke in strokes:
        plane = planes.get(stroke["frame"])
        if plane is not None and plane[tuple(stroke["at"])] == stroke["label"]:
            kept.append(stroke)
        else:
            ages.append(killed - stroke["time"])
    # what was lost is gone for the next window too: it is not asked for again
    journal.write_text("".join(json.dumps(stroke) + "\n" for stroke in kept))
    checkpoints = sorted(project.path.glob("runs/*/*.pt"))
    for path in checkpoints:
        load_model(path)
    lost = [age for age in ages if age > SAFE_AFTER_S]
    if lost:
        raise RuntimeError(f"{len(lost)} strokes are lost, the oldest {max(lost):.1f} s old")
    return {
        "strokes": len(strokes),
        "last_stroke_s": round(killed - strokes[-1]["time"], 2),
        "lost": len(lost),
        "oldest_lost_s": round(max(ages, default=0.0), 2),
        "checkpoints": len(checkpoints),
    }
