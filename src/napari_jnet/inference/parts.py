"""Predict a stack in parts, by programs that share only a folder, and join them into the ordinary result.

Each frame of a part is a file, so that a part does only what is missing.  The files are in a hidden folder
of the output folder, whose name follows from all that decides their content, its `mark.json`.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import zipfile
from collections.abc import Generator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_jnet import __version__
from napari_jnet.config import InstanceConfig, PredictionConfig
from napari_jnet.events import ClusterProgress, FramePrediction, FrameSkipped, Message
from napari_jnet.files import (
    FolderInUse,
    FolderLock,
    atomic_write,
    make_folder,
    release_pages,
    scratch_array,
    write_file,
)
from napari_jnet.inference.predict import at_diameter, predict, seam_message
from napari_jnet.io.results import ResultWriter
from napari_jnet.io.stack import Stack, check_frame, format_numbers
from napari_jnet.model import Model, load_model
from napari_jnet.project.open import open_stack
from napari_jnet.project.source import fingerprint

_FOLDER = ".napari-jnet-parts-"
_MARK = "mark.json"
_DEVICE = "device"  # of the mark; who joins may have another
_PIXELS = "checksum of the middle frame"  # of the mark; "" while it cannot be read
_MAPS = ("segmentation", "distance", "instances", "classes", "confidence")
_SEAMS = "seam_pixels"
_LARGE = 1 << 26  # bytes of an array from which on it is read into a temporary file
_CHUNK = 1 << 24  # bytes of it at a time
_PATIENCE_S = 600.0  # for another part that estimates the diameter; then each does
_DIAMETER = "diameter.json"  # that was estimated, null where no cell was found: one for all parts


def predict_part(
    model: Model,
    stack: Stack,
    folder: Path,
    part: int,
    parts: int,
    *,
    frames: Sequence[int] | None = None,
    instances: InstanceConfig | None = None,
    prediction: PredictionConfig | None = None,
) -> Generator[FramePrediction | FrameSkipped | Message, None, None]:
    """Predict a part of a stack: what is missing of it, each frame into a file of its own.

    Parts of one prediction may run at the same time, also on machines that share only the file system, and
    any number of them gives the same result.

    Parameters
    ----------
    model, stack, frames, instances, prediction
        As of `predict`.  The back end "auto" is "torch": a measurement might choose otherwise elsewhere.
    folder
        Where `join_parts` writes the result.
    part, parts
        Which one, from 1, of how many.

    Yields
    ------
    FramePrediction, FrameSkipped
        For each frame of the part that was missing, when its file is written; the next run of the part tries
        skipped ones again.
    Message

    Raises
    ------
    ValueError
        If there is no such part, or if the folder has parts of another model, stack or configuration.
    OutputError
        If the folder cannot be written.
    """
    if not 1 <= part <= parts:
        raise ValueError(
            f"The part is {part}/{parts}; parts are counted from 1, such as 1/{max(parts, 1)}."
        )
    work = _Work(model, stack, folder, frames, instances, prediction)
    work.begin()
    (work.folder / f"of-{parts}").touch()
    if (prediction or model.config.prediction).backend == "auto":
        yield Message(
            "Parts are predicted by torch in float32, which is the same on all machines; "
            "prediction.backend names another way."
        )
    numbers = work.numbers[part - 1 :: parts]
    if not numbers:
        yield Message(
            f"Part {part}/{parts} has nothing to do: a part is of whole frames, and there are "
            f"{len(work.numbers)}."
        )
    yield from work.predict(numbers)


def join_parts(
    model: Model,
    stack: Stack,
    folder: Path,
    *,
    frames: Sequence[int] | None = None,
    instances: InstanceConfig | None = None,
    prediction: PredictionConfig | None = None,
) -> Generator[FramePrediction | FrameSkipped | Message, None, None]:
    """Write what all parts have predicted as `predict_to_folder` does, and remove their files.

    The arguments are those of `predict_part`; the network does not run, so that the model may be on any
    device.  Files of the parts stay where a frame was skipped: those parts can run once more.

    Yields
    ------
    FramePrediction, FrameSkipped
        For each frame, in order.
    Message

    Raises
    ------
    ValueError
        If a frame is missing or damaged, with the parts to run again, before anything is written; if the
        folder has parts of another model, stack or configuration; if no frame could be predicted.
    OutputError
        If the result cannot be written; the files of the parts stay.
    """
    work = _Work(model, stack, folder, frames, instances, prediction, joins=True)
    missing = [place for place, number in enumerate(work.numbers) if not work.has(number)]
    if missing:
        raise ValueError(work.lacks(missing))
    first = ""
    done = 0
    with ResultWriter(folder, stack, frames) as writer:
        for number in work.numbers:
            event = work.read(number)
            if isinstance(event, FramePrediction):
                writer.write(event)
                done += 1
                if event.seam_pixels:
                    yield seam_message(stack, number, event.seam_pixels)
            else:
                first = first or event.reason
            yield event
    if writer.message:
        yield Message(writer.message)
    if not done:
        raise ValueError(
            f"None of the {len(work.numbers)} frames of {stack.name} could be predicted. The first: {first}"
        )
    if not first:
        shutil.rmtree(work.folder, ignore_errors=True)


def predict_scheduled(
    address: str,
    model: Model,
    stack: Stack,
    folder: Path,
    *,
    device: str = "auto",
    frames: Sequence[int] | None = None,
    instances: InstanceConfig | None = None,
    prediction: PredictionConfig | None = None,
) -> Generator[ClusterProgress | FramePrediction | FrameSkipped | Message, None, None]:
    """Predict the frames that are missing by the workers of a dask.distributed cluster, then join them.

    Parameters
    ----------
    address
        Of the scheduler: "tcp://10.0.0.1:8786".
    device
        Of the workers, as of `load_model`.
    model, stack, folder, frames, instances, prediction
        As of `predict_part`.  All workers read and write these paths, so they share the file system.

    Yields
    ------
    ClusterProgress
        For each frame that a worker has written.
    FramePrediction, FrameSkipped, Message
        Then, as `join_parts`.

    Raises
    ------
    ValueError
        As `predict_part` and `join_parts`, if dask.distributed is not installed, or if the stack is no file.
    OSError
        If no scheduler answers.
    """
    try:
        from distributed import Client, KilledWorker, as_completed
    except ImportError:
        raise ValueError(
            "A scheduler needs dask.distributed, which is not installed. Run pip install "
            "'napari-jnet[distributed]', or run the parts with --part."
        ) from None
    if stack.path is None:
        raise ValueError(
            f"{stack.name} is in memory, where workers do not see it; save it as a file."
        )
    choices = {"instances": instances, "prediction": prediction}
    work = _Work(model, stack, folder, frames, instances, prediction, joins=True)
    task = _Task(
        model.path.resolve(),
        (model.config.network.resolution_levels, model.dt_bound) if model.original else None,
        device,
        stack.path.resolve(),
        tuple(stack.choices.items()),
    )
    missing = [number for number in work.numbers if not work.has(number, skipped=False)]
    given = {"folder": folder.resolve(), "frames": frames, **choices}
    with Client(address, set_as_default=False) as client:
        tasks = [client.submit(_run_task, task, number, given, pure=False) for number in missing]
        try:
            finished = as_completed(tasks, loop=client.loop, with_results=True)
            for done, (_, messages) in enumerate(finished, start=1):
                yield from map(Message, messages)
                yield ClusterProgress(done, len(missing))
        except KilledWorker as error:
            raise ValueError(
                f"The workers that ran a frame of {stack.name} were killed, one after the other ({error}). "
                "Give them more memory, or smaller tiles; the frames that are done stay."
            ) from error
    yield from join_parts(model, stack, folder, frames=frames, **choices)  # type: ignore[arg-type]


@dataclass(frozen=True)
class _Task:
    """What a worker opens, once."""

    model: Path
    original: tuple[tuple[int, ...], float] | None  # what a file of the original J-Net lacks
    device: str
    stack: Path
    choices: tuple[tuple[str, Any], ...]

    @lru_cache(maxsize=1)  # noqa: B019  # of a worker, which ends with its cluster
    def open(self) -> tuple[Model, Stack]:
        levels, dt_bound = self.original or (None, None)
        model = load_model(
            self.model, resolution_levels=levels, dt_bound=dt_bound, device=self.device
        )
        return model, open_stack(self.stack, **dict(self.choices))


def _run_task(task: _Task, number: int, given: dict[str, Any]) -> list[str]:
    """Predict a frame in a worker; return the messages."""
    work = _Work(*task.open(), **given)
    work.begin()
    return [event.text for event in work.predict([number]) if isinstance(event, Message)]


class _Work:
    """The files of the frames of one prediction; raises `ValueError` where there are those of another."""

    def __init__(
        self,
        model: Model,
        stack: Stack,
        folder: Path,
        frames: Sequence[int] | None,
        instances: InstanceConfig | None,
        prediction: PredictionConfig | None,
        *,
        joins: bool = False,
    ) -> None:
        for number in frames or ():
            check_frame(number, stack.frame_numbers, stack.name)
        self.model, self.stack = model, stack
        self.numbers = tuple(stack.frame_numbers if frames is None else frames)
        self.instances = instances or model.config.instances
        settings = prediction or model.config.prediction
        self.prediction = (
            settings.changed(backend="torch") if settings.backend == "auto" else settings
        )
        self.mark = self._mark()
        key = hashlib.sha256(json.dumps(self.mark, sort_keys=True).encode()).hexdigest()[:16]
        self.folder = folder / f"{_FOLDER}{key}"
        for other in sorted(folder.glob(f"{_FOLDER}*/{_MARK}")):
            difference = self._difference(other, joins)
            if difference:
                raise ValueError(
                    f"{folder} holds parts of another prediction: {difference}. Join those first with the "
                    f"options they were made with, choose another output folder, or delete {other.parent}."
                )
            self.folder = other.parent

    def begin(self) -> None:
        """Make the folder with its mark."""
        if not (self.folder / _MARK).is_file():
            make_folder(self.folder)
            write_file(self.folder / _MARK, json.dumps(self.mark, indent=1).encode())

    def predict(
        self, numbers: Sequence[int]
    ) -> Generator[FramePrediction | FrameSkipped | Message, None, None]:
        """Predict those of the frames that are missing, or were skipped, and write each into its file."""
        missing = [number for number in numbers if not self.has(number, skipped=False)]
        if not missing:
            return
        prediction = self.prediction
        if prediction.diameter == 0:
            diameter, said = self._estimated()
            prediction = prediction.changed(diameter=diameter)
            if said:
                yield Message(said)
        events = predict(
            self.model,
            self.stack,
            frames=missing,
            instances=self.instances,
            prediction=prediction,
            on_error="report",
            total=len(self.numbers),
        )
        for event in events:
            if isinstance(event, FramePrediction):
                maps = {name: getattr(event, name) for name in _MAPS}
                self._write(event.number, {**maps, _SEAMS: np.array(event.seam_pixels)})
            elif isinstance(event, FrameSkipped):
                self._write(event.number, {"reason": np.array(event.reason)})
            yield event

    def _estimated(self) -> tuple[float | None, str]:
        """Return the diameter that the first part estimated, and what to say where this one is the first.

        Parts that begin together wait for the one that estimates.
        """
        file, said = self.folder / _DIAMETER, ""
        lock = FolderLock(self.folder, f"{_DIAMETER}.lock")
        with suppress(OSError, FolderInUse):  # a file system without locks, or a machine that hangs
            lock.acquire(_PATIENCE_S)
        try:
            if not file.is_file():
                model, said = at_diameter(self.model, self.stack, 0)
                found = None if model is self.model else model.config.network.diameter
                write_file(file, json.dumps(found).encode())
        finally:
            lock.release()
        diameter: float | None = json.loads(file.read_bytes())
        return diameter, said

    def has(self, number: int, *, skipped: bool = True) -> bool:
        """Return whether the file of a frame is there and whole; one that was skipped counts on demand."""
        with (
            suppress(OSError, ValueError, zipfile.BadZipFile),
            self._path(number).open("rb") as file,
        ):
            archive = zipfile.ZipFile(file)
            return archive.testzip() is None and (skipped or "reason.npy" not in archive.namelist())
        return False

    def read(self, number: int) -> FramePrediction | FrameSkipped:
        """Read a frame that is there."""
        position = self.stack.frame_numbers.index(number)
        count = len(self.numbers)
        with np.load(self._path(number), allow_pickle=False) as found:
            if "reason" in found:
                return FrameSkipped(position, number, count, str(found["reason"]))
            maps: dict[str, Any] = {
                name: _read_array(found, name) for name in _MAPS if name in found
            }
            seams = int(found[_SEAMS]) if _SEAMS in found else 0  # of an earlier version
        names = self.model.config.targets.classes
        return FramePrediction(
            position, number, count, **maps, class_names=names, seam_pixels=seams
        )

    def lacks(self, missing: Sequence[int]) -> str:
        """Say which frames are missing, and which parts to run again."""
        numbers = format_numbers([self.numbers[place] for place in missing])
        runs = sorted(self.folder.glob("of-*"), key=lambda path: path.stat().st_mtime)
        again = "run them with --part, such as --part 1/4"
        if runs:
            parts = int(runs[-1].name.removeprefix("of-"))
            which = sorted({place % parts + 1 for place in missing})
            again = f"run {', '.join(f'--part {part}/{parts}' for part in which[:12])}"
            again += ", ... again" if len(which) > 12 else " again"
        return (
            f"{self.folder.parent} lacks {len(missing)} of {len(self.numbers)} frames of {self.stack.name}, "
            f"or they are damaged: {numbers}. Predict them first: {again}, then --join."
        )

    def _path(self, number: int) -> Path:
        return self.folder / f"{number:05d}.npz"

    def _write(self, number: int, arrays: dict[str, NDArray[Any] | None]) -> None:
        with atomic_write(self._path(number)) as temporary, temporary.open("wb") as file:
            given = {name: array for name, array in arrays.items() if array is not None}
            np.savez(file, allow_pickle=False, **given)

    def _mark(self) -> dict[str, Any]:
        """Return all that decides what is in the frames."""
        model, stack = self.model, self.stack
        with model.path.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()[:16]
        return {
            "napari-jnet": __version__,
            "model": digest,
            "resolution_levels": list(model.config.network.resolution_levels),
            "dt_bound": model.dt_bound,
            "stack": f"{stack.axes} {list(stack.shape)} {stack.dtype}",
            _PIXELS: fingerprint(stack),
            "frames": list(self.numbers),
            **self.instances.to_dict(),
            **self.prediction.to_dict(),
            _DEVICE: model.device.type,
        }

    def _difference(self, path: Path, joins: bool) -> str:
        """Describe how the mark of other parts differs; "" if it does not."""
        try:
            other = json.loads(path.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return f"{path} is damaged"
        for name, value in self.mark.items():
            there = other.get(name)
            any_will_do = (joins and name == _DEVICE) or (name == _PIXELS and "" in (there, value))
            if there != value and not any_will_do:
                if name == "frames":
                    there, value = (format_numbers(numbers) for numbers in (there, value))
                return f"{name} is {there} there, and {value} now"
        return ""


def _read_array(archive: Any, name: str) -> NDArray[Any]:
    """Read an array of an opened .npz file; a large one into a memory-mapped temporary file."""
    member = f"{name}.npy"
    if archive.zip.getinfo(member).file_size < _LARGE:
        return np.asarray(archive[name])
    with archive.zip.open(member) as file:
        np.lib.format.read_magic(file)
        shape, columns_first, dtype = np.lib.format.read_array_header_1_0(file)
        array = scratch_array(shape[::-1] if columns_first else shape, dtype.type)
        content = array.data.cast("B")
        for first in range(0, len(content), _CHUNK):
            file.readinto(content[first : first + _CHUNK])
            release_pages(array)
    return array.T if columns_first else array
