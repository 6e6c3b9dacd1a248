"""Which frame is worth annotating next, and why."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

__all__ = ["choose_next"]


def choose_next(
    count: int,
    annotated: Sequence[int],
    shown: int,
    *,
    scores: Mapping[int, float] | None = None,
    uncertainty: Mapping[int, float] | None = None,
) -> tuple[int, str]:
    """Choose the frame to annotate next.

    Parameters
    ----------
    count
        Frames in the stack.
    annotated
        Positions of the annotated ones.
    shown
        Position of the frame on the screen; another one is chosen where there is one.
    scores
        Position -> score of the last prediction, higher is better.
    uncertainty
        Position -> how unsure the network is, higher is less sure.

    Returns
    -------
    position : int
        0 to ``count - 1``.
    why : str
        In a few words.

    Notes
    -----
    A frame without annotation with the worst score, else the least certain one, else the one
    farthest from all annotated frames.  When all are annotated: the one with the worst score.
    """
    done = set(annotated)
    open_frames = [p for p in range(count) if p not in done and p != shown]
    for values, worst, why in (
        (scores or {}, min, "worst score, {:.2f}"),
        (uncertainty or {}, max, "least certain"),
    ):
        known = [p for p in open_frames if p in values]
        if known:
            chosen = worst(known, key=values.__getitem__)
            return chosen, why.format(values[chosen])
    if open_frames:
        if not done:
            return open_frames[len(open_frames) // 2], "nothing is annotated yet"
        far = max(open_frames, key=lambda p: min(abs(p - q) for q in done))
        return far, "farthest from annotated frames"
    if shown not in done:
        return shown, "the last frame without annotation"
    others = [p for p in (scores or {}) if p in done and p != shown]
    if others:
        chosen = min(others, key=(scores or {}).__getitem__)
        return chosen, f"all frames are annotated; worst score, {(scores or {})[chosen]:.2f}"
    return shown, "all frames are annotated"
