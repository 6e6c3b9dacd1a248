"""What Train does in the worker thread: read the annotated frames, train, look up the device."""

from __future__ import annotations

from collections.abc import Generator
from pathlib import Path
from typing import Any

from napari_jnet.config import Config
from napari_jnet.plugin.layers import TrainingInput
from napari_jnet.plugin.preview import PreviewSource
from napari_jnet.plugin.worker import JobMaker

__all__ = ["look_up_device", "time_left", "training"]


def training(
    data: TrainingInput,
    run: Path,
    config: Config,
    resume: bool,
    start_from: Path | None,
    source: PreviewSource,
) -> JobMaker:
    """Make the job that reads the annotated frames and trains on them."""

    def job() -> Generator[Any, None, None]:
        from napari_jnet.training import train

        yield from source.place(
            train(
                data.frames(),
                run,
                config,
                resume=resume,
                start_from=start_from,
                preview=source.read,
            )
        )

    return job


def look_up_device() -> Generator[str, None, None]:
    """Say where torch would compute; this imports torch."""
    from napari_jnet.device import device_line

    yield device_line()


def time_left(seconds: float) -> str:
    """Say a duration: "45 s", "3 min", "2 h 10 min"."""
    if seconds < 90:
        return f"{max(0, round(seconds))} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 90 else f"{minutes // 60} h {minutes % 60} min"
