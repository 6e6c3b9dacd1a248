"""Frames that a prediction left out, in words."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from napari_jnet.events import FrameLeftOut

__all__ = ["alike", "left_out_words"]

_MOST = 8  # frames or ranges that are named


def left_out_words(left: Iterable[FrameLeftOut]) -> list[str]:
    """Say which frames were left out, a sentence for each reason: "2 frames left out (3, 7): ...".

    Parameters
    ----------
    left
        In the order of the frames.
    """
    reasons: dict[str, list[FrameLeftOut]] = {}
    for frame in left:
        reasons.setdefault(alike(frame.why), []).append(frame)
    return [
        f"{len(frames)} frame{'' if len(frames) == 1 else 's'} left out "
        f"({_ranges([frame.number for frame in frames])}): {frames[0].why}"
        for frames in reasons.values()
    ]


def alike(why: str) -> str:
    """Return what all frames say that fail for one reason: the words without numbers."""
    return re.sub(r"[\d.,]+", "#", why)


def _ranges(numbers: Sequence[int]) -> str:
    runs: list[list[int]] = []
    for number in numbers:
        if runs and number == runs[-1][-1] + 1:
            runs[-1].append(number)
        else:
            runs.append([number])
    words = [str(r[0]) if len(r) == 1 else f"{r[0]}-{r[-1]}" for r in runs[:_MOST]]
    return ", ".join(words) + (", …" if len(runs) > _MOST else "")
