"""What Predict says at the end of a job."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from napari_jnet.events import FrameLeftOut
from napari_jnet.left_out import left_out_words
from napari_jnet.plugin.annotate.frames_model import percent

__all__ = ["Told"]

_MOST = 4  # lines


@dataclass
class Told:
    """Counts and notices of one job; the first notice is what scripts and users look for."""

    first: str = ""
    notices: list[str] = field(default_factory=list)
    device: str = ""
    frames: int = 0
    cells: int = 0
    left_out: list[FrameLeftOut] = field(default_factory=list)
    classes: dict[str, int] = field(default_factory=dict)  # pixels of each, background first

    def add(self, text: str) -> None:
        """Add a notice."""
        self.notices.append(text)

    def count(self, cells: int) -> None:
        """Count a frame and its cells."""
        self.frames += 1
        self.cells += cells

    def count_classes(self, pixels: Mapping[str, int]) -> None:
        """Count the pixels of each class of a frame; then their shares are said, not cells."""
        for name, count in pixels.items():
            self.classes[name] = self.classes.get(name, 0) + count

    def _found(self) -> str:
        if not self.classes:
            return _count(self.cells, "cell")
        whole = sum(self.classes.values())
        background, *others = self.classes
        shares = [f"{name} {percent(self.classes[name], whole)}" for name in (*others, background)]
        return ", ".join(shares)

    def end_batch(self, stacks: int, skipped: int, output: Path | None) -> None:
        """Say how a folder of stacks went."""
        good = stacks - skipped
        left = f"; {_count(skipped, 'stack')} left out" if skipped else ""
        self.first = (
            f"{_count(good, 'stack')} predicted, {_count(self.frames, 'frame')}, "
            f"{self._found()}{left}. The results are in {output}."
        )

    def text(self, in_region: bool, stopped: bool) -> str:
        """Return the first lines of what there is to say, and how many more there are."""
        lines = [self.first] if self.first else []
        if not self.first and self.frames:
            where = " in a region" if in_region else ""
            on = f", on the {_short(self.device)}" if self.device else ""
            of = "of" if self.classes else "in"
            lines.append(f"{self._found()} {of} {_count(self.frames, 'frame')}{where}{on}.")
        lines += left_out_words(self.left_out)
        lines += self.notices
        if stopped:
            lines.insert(min(len(lines), 1), "Stopped; what is done so far is kept.")
        lines = list(dict.fromkeys(lines))
        more = [f"… and {len(lines) - _MOST} more"] if len(lines) > _MOST else []
        return "\n".join([*lines[:_MOST], *more])


def _count(number: int, what: str) -> str:
    return f"{number} {what}" + ("" if number == 1 else "s")


def _short(device: str) -> str:
    """Return the first words of a device: "CPU, 1 thread(s): torch is ..." -> "CPU"."""
    return re.split(r"[,:(]", device)[0].strip()
