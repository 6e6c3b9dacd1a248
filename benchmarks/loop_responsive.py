"""How long the window keeps its user waiting with everything on at once.

A 10 ms timer ticks in the window's thread; what counts is the time between two ticks, while a
network is trained with preview and plots, strokes are painted and saved.  On a busy machine a part
of it is no fault of the window: it has waited for a core.  Linux tells how long; so it is told here.

Then a slider is moved, and what counts is the time until the visible frame has its new cells.
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import numpy as np
from qtpy.QtCore import Qt, QTimer

from loop_sessions import tell, truth_of
from person import Person

__all__ = ["responsive"]

TICK_MS = 10
MOUSE_S = 0.008  # between two moves of a mouse
MOVES = 30  # of the slider
_SCHEDULED = Path("/proc/thread-self/schedstat")


def responsive(work: Any, person: Person) -> None:
    """Paint and train, and measure; idle first, in the same window."""
    options = work.options
    person.load(work.images)
    person.new_annotation()
    for number in options.frames[:2]:
        person.paint(number, truth_of(options.data, number), 3 if options.quick else 6)
    clock = Clock()
    person.hand.wait(3.0)
    clock.start()
    person.hand.wait(options.seconds / 2)
    tell("idle", clock.stop())
    # what napari itself needs to draw strokes is in this
    tell("painting, saving", paint(person, clock, options.seconds / 2))
    page = person.go("train")
    page.set_values(minutes=60)
    person.press("Train")
    person.hand.wait_until(
        lambda: person.workspace.training.epoch > 0 or not page.running, "the first epoch ends", 300
    )
    tell("training, painting, saving", paint(person, clock, options.seconds))
    tell("epochs", person.workspace.training.epoch)
    tell("saved", person.workspace.saving.text)
    person.look("responsive")
    page.stop()
    person.hand.wait_until(lambda: not page.running, "the training stops", 120)
    person.predict(options.frames[2])
    tell("slider", slide(person))
    person.viewer.close()


def paint(person: Person, clock: Clock, seconds: float) -> dict[str, float]:
    """Paint a stroke a second for a while; return how long the window was busy at a time."""
    clock.start()
    strokes, end = 0, time.monotonic() + seconds
    while time.monotonic() < end:
        person.viewer.layers.selection.active = person.annotation
        person.annotation.mode = "paint"
        row = 20 + 11 * strokes % 470
        person.hand.drag([(row, 30 + 3 * step) for step in range(12)], pause=MOUSE_S)
        strokes += 1
        person.hand.wait(1.0)
    return clock.stop() | {"strokes": strokes}


def slide(person: Person) -> dict[str, float]:
    """Move the slider of the threshold; return how long until the visible cells were renewed."""
    slider = person.workbench.page.separation["instances.segmentation_threshold"]
    times: list[float] = []
    renewed: list[float] = []

    def note(_event: Any) -> None:
        renewed.append(time.perf_counter())

    cells = person.workspace.prediction.cells
    cells.events.set_data.connect(note)
    for move in range(MOVES):
        renewed.clear()
        start = time.perf_counter()
        slider.value = 0.3 + 0.4 * ((7 * move) % MOVES) / MOVES
        person.hand.wait_until(lambda: renewed, "the cells are renewed", 10)
        times.append(1000 * (renewed[0] - start))
        person.hand.wait(0.3)
    cells.events.set_data.disconnect(note)
    return {
        "moves": len(times),
        "p50_ms": round(float(np.percentile(times, 50)), 1),
        "p95_ms": round(float(np.percentile(times, 95)), 1),
        "max_ms": round(max(times), 1),
    }


class Clock:
    """Notes every tick of a timer in the window's thread."""

    def __init__(self) -> None:
        self._ticks: list[tuple[float, float]] = []
        self._timer = QTimer()
        self._timer.setTimerType(Qt.TimerType.PreciseTimer)
        self._timer.timeout.connect(self._tick)

    def _tick(self) -> None:
        self._ticks.append((time.perf_counter(), _waited_s()))

    def start(self) -> None:
        """Begin anew."""
        self._ticks.clear()
        self._timer.start(TICK_MS)

    def stop(self) -> dict[str, float]:
        """Return the gaps between ticks in milliseconds, and those without waiting for a core."""
        self._timer.stop()
        gaps, waited = 1000 * np.diff(np.array(self._ticks), axis=0).T
        return {
            "ticks": len(self._ticks),
            "p50_ms": round(float(np.percentile(gaps, 50)), 1),
            "p99_ms": round(float(np.percentile(gaps, 99)), 1),
            "max_ms": round(float(gaps.max()), 1),
            "p99_ms_without_waiting_for_a_core": round(float(np.percentile(gaps - waited, 99)), 1),
        }


def _waited_s() -> float:
    """Return how long this thread has been ready to run and had no core; 0 where nobody tells."""
    try:
        return int(_SCHEDULED.read_text().split()[1]) / 1e9
    except (OSError, IndexError, ValueError):
        return 0.0
