"""What Train does in worker threads: train, compare rounds, measure cells, look the device up."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from napari_jnet.config import Config
from napari_jnet.config.plans import Hardware
from napari_jnet.data.project_runs import RunSummary
from napari_jnet.events import RoundEnd
from napari_jnet.plugin.torch_loading import load_torch
from napari_jnet.plugin.train.feed import FrameFeed
from napari_jnet.plugin.train.histories import RunHistory, read_histories, read_history, read_split
from napari_jnet.plugin.train.preview import PreviewSource
from napari_jnet.plugin.worker import JobMaker, window_threads

__all__ = [
    "DeviceFound",
    "Past",
    "comparison",
    "look_up_device",
    "read_past",
    "short_name",
    "time_left",
    "training",
]

_EARLIER = 4  # runs that are drawn in grey


@dataclass(frozen=True)
class DeviceFound:
    """Where torch would compute, in words and for the plans."""

    line: str
    hardware: Hardware


@dataclass(frozen=True)
class Past:
    """The curves of a resumed run so far, those of earlier runs, and which run was the last."""

    own: RunHistory | None
    earlier: tuple[RunHistory, ...]
    last: RunSummary | None = None


def training(
    feed: FrameFeed,
    run: Path,
    config: Config,
    resume: bool,
    start_from: Path | None,
    source: PreviewSource,
) -> JobMaker:
    """Make the job that trains on the annotated frames, and on what is painted meanwhile.

    A resumed run keeps to its own configuration, but for what was given.
    """

    def job() -> Generator[Any, None, None]:
        load_torch(optimizer=True)
        from napari_jnet.training import train

        if resume:
            yield Past(read_history(run), read_past(run.parent, run))
        try:
            yield from source.place(
                train(
                    feed.data.frames(),
                    run,
                    config,
                    resume=resume,
                    start_from=start_from,
                    preview=source.read,
                    new_frames=feed.take,
                )
            )
        finally:
            with suppress(OSError):  # an empty folder is one that could not begin
                run.rmdir()

    return job


def comparison(feed: FrameFeed, old: Path, new: Path, device: str) -> JobMaker:
    """Make the job that scores two models on the validation frames of the newer; gives `RoundEnd`."""

    def job() -> Generator[Any, None, RoundEnd]:
        load_torch()
        from napari_jnet.rounds import compare_models

        names = set(read_split(new)[1])
        frames = [frame for frame in feed.data.frames() if frame.name in names]
        end = yield from compare_models({"old": old, "new": new}, frames, device=device)
        known = [short_name(f.name) for f in frames if f.name in set(read_split(old)[0])]
        if not known:
            return end
        many = len(known) > 1
        words = (
            f"{end.words} The old model has learned from {' and '.join(known)}: "
            f"{'their scores flatter' if many else 'its score flatters'} it."
        )
        return replace(end, words=words)

    return job


def short_name(name: str) -> str:
    """Return the last part of a frame's name: "01/t005" -> "t005"."""
    return name.rsplit("/", 1)[-1]


def read_past(runs: Path, present: Path | None) -> tuple[RunHistory, ...]:
    """Read the last runs of a folder of runs, without the present one."""
    if not runs.is_dir():
        return ()
    others = [run for run in runs.iterdir() if run != present and (run / "history.csv").is_file()]
    newest = sorted(others, key=lambda run: (run / "history.csv").stat().st_mtime)[-_EARLIER:]
    return tuple(read_histories(newest))


def look_up_device() -> DeviceFound:
    """Say where torch would compute; this imports torch."""
    load_torch()
    import torch

    from napari_jnet.device import choose_device, device_line

    kind = choose_device().type
    free = torch.cuda.mem_get_info()[0] / 2**30 if kind == "cuda" else 0.0
    return DeviceFound(device_line(), Hardware(kind, window_threads(), free))


def time_left(seconds: float) -> str:
    """Say a duration: "45 s", "3 min", "2 h 10 min"."""
    if seconds < 90:
        return f"{max(0, round(seconds))} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 90 else f"{minutes // 60} h {minutes % 60} min"
