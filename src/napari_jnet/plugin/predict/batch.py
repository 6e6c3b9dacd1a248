"""Predict every stack in a folder, in the worker thread; results go to files."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import tifffile

from napari_jnet.config import InstanceConfig
from napari_jnet.data import FORMATS, Stack, open_stack, sequences
from napari_jnet.data.own_files import is_result
from napari_jnet.events import FrameLeftOut, FramePrediction, Notice
from napari_jnet.left_out import left_out_words
from napari_jnet.plugin.predict.jobs import ModelReady, ModelShelf, class_pixels, opened_model
from napari_jnet.plugin.worker import JobMaker

if TYPE_CHECKING:
    from napari_jnet.checkpoint import Model

__all__ = ["BatchEnd", "BatchFrame", "predicting_folder", "stacks_in"]


@dataclass(frozen=True)
class BatchFrame:
    """One more frame of the folder is on disk."""

    stack: str
    done: int
    count: int
    cells: int
    classes: dict[str, int] = field(default_factory=dict)  # pixels of each


@dataclass(frozen=True)
class BatchEnd:
    """All stacks of the folder are done."""

    stacks: int
    skipped: int


def stacks_in(folder: Path, output: Path | None = None) -> tuple[list[Stack], list[str]]:
    """Open the stacks of a folder, by headers only.

    Parameters
    ----------
    folder
        A dataset, of which every sequence counts, or a folder of stacks.
    output
        A folder that is left out, if it lies inside: results are no stacks.

    Returns
    -------
    stacks, problems
        In the order of their names; and what could not be opened, in words.

    Raises
    ------
    FileNotFoundError
        If there is no such folder.
    ValueError
        If it holds nothing that can be opened.
    """
    if not folder.exists():
        raise FileNotFoundError(f"{folder} does not exist; choose the folder of the stacks.")
    problems: list[str] = []
    stacks = _opened(folder, problems) if _known(folder) and not _holds_stacks(folder) else []
    if not stacks and folder.is_dir():
        problems = []
        for path in sorted(folder.iterdir()):
            ours = output is not None and path.resolve() == output.resolve()
            ours = ours or (path.is_file() and is_result(path))
            if not ours and not path.name.startswith(".") and _known(path):
                stacks += _opened(path, problems)
    if not stacks:
        why = f" {problems[0]}" if problems else ""
        raise ValueError(
            f"{folder} holds no stack that can be opened; choose a folder with TIFF stacks or with "
            f"folders of images.{why}"
        )
    return stacks, problems


def _holds_stacks(folder: Path) -> bool:
    """Whether the TIFF files of a folder have several pages each: stacks, and not frames of one."""
    if not folder.is_dir():
        return False
    for path in sorted(folder.glob("*.tif*")):
        if is_result(path):
            continue
        try:
            with tifffile.TiffFile(path) as file:
                return len(file.pages) > 1
        except (tifffile.TiffFileError, OSError, ValueError):
            continue  # damaged; the next one tells
    return False


def _known(path: Path) -> bool:
    return any(known.matches(path) for known in FORMATS.values())


def _opened(path: Path, problems: list[str]) -> list[Stack]:
    found = []
    for sequence in sequences(path) or (None,):
        try:
            stack = open_stack(path, sequence=sequence)
        except (ValueError, OSError) as error:
            problems.append(f"{path.name} is left out: {error}")
            continue
        found.append(stack)
    return found


def predicting_folder(
    shelf: ModelShelf,
    path: Path,
    facts: dict[str, Any],
    folder: Path,
    output: Path,
    instances: InstanceConfig | None,
) -> JobMaker:
    """Make the job that predicts every stack of a folder into a folder of its own in ``output``.

    A frame or stack that is damaged is said and left out; the others go on.
    """

    def job() -> Generator[Any, None, BatchEnd]:
        if folder.resolve() == output.resolve():
            raise ValueError(
                f"Results would be written among the stacks in {folder}; choose another folder."
            )
        stacks, problems = stacks_in(folder, output)
        for problem in problems:
            yield Notice(problem)
        for stack in stacks:
            for note in stack.notes:
                yield Notice(note)
        ready, model = opened_model(shelf, path, facts)
        yield ready
        count, done, skipped = sum(len(stack) for stack in stacks), 0, len(problems)
        for stack, place in zip(stacks, _places(stacks, output), strict=True):
            written = yield from _one_stack(model, ready, stack, place, instances, done, count)
            skipped += not written
            done += len(stack)
        return BatchEnd(len(stacks) + len(problems), skipped)

    return job


def _places(stacks: Sequence[Stack], output: Path) -> list[Path]:
    """Give every stack a folder: named after its file, numbered where two have one name."""
    names: list[str] = []
    for stack in stacks:
        path = stack.path
        stem = stack.name if path is None else path.name if path.is_dir() else path.stem
        name = stem if not stack.sequence else f"{stem} {stack.sequence}"
        again = sum(other == name or other.startswith(f"{name} (") for other in names)
        names.append(f"{name} ({again + 1})" if again else name)
    return [output / name for name in names]


def _one_stack(
    model: Model,
    ready: ModelReady,
    stack: Stack,
    place: Path,
    instances: InstanceConfig | None,
    done: int,
    count: int,
) -> Generator[Any, None, bool]:
    from napari_jnet.export import OutputError, ResultWriter
    from napari_jnet.inference_readable import predict_readable

    try:
        writer = ResultWriter(place, stack)
    except OutputError as error:
        yield Notice(f"{stack.name} is left out: {error}")
        return False
    threshold = (instances or ready.instances).segmentation_threshold
    left: list[FrameLeftOut] = []
    with writer:
        try:
            for event in predict_readable(model, stack, instances=instances):
                if isinstance(event, FrameLeftOut):
                    left.append(event)
                elif isinstance(event, FramePrediction):
                    writer.write(event)
                    cells = int(event.instances.max(initial=0))
                    classes = class_pixels(event, ready.answer, threshold)
                    position = done + event.position + 1
                    yield BatchFrame(stack.name, position, count, cells, classes)
        except OutputError:
            raise  # the disk is full or the folder gone: no use in going on
        except (ValueError, OSError) as error:
            yield Notice(f"{stack.name} is left out: {error}")
            return False
    if writer.notice:
        yield Notice(f"{stack.name}: {writer.notice}")
    for words in left_out_words(left):
        yield Notice(f"{stack.name}: {words}")
    return True
