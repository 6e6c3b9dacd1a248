"""Results on disk, found and read again frame by frame."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import tifffile
from numpy.typing import NDArray

from napari_jnet.io.own_files import ResultMark, read_mark
from napari_jnet.io.results import MASK_NAME, FramePages, result_folder
from napari_jnet.io.stack import Stack


@dataclass(frozen=True, eq=False)
class StoredResult:
    """What predict, or another program, has written of a stack.

    Attributes
    ----------
    path
        Where the objects are: a folder of masks or one file.
    frame_numbers
        Frames that are there, ascending.
    instances
        Frame number -> objects, integers, 0 = background.
    maps
        Files of maps beside the objects, by name: "probability", "distance", "classes".
    notice
        That frames are lacking which were to be predicted, in words; "" if none are, or nobody knows.
    """

    path: Path
    frame_numbers: tuple[int, ...]
    instances: Callable[[int], NDArray[np.integer]]
    maps: dict[str, FramePages] = field(default_factory=dict)
    notice: str = ""

    def map(self, name: str, number: int) -> NDArray[Any] | None:
        """Return a map of one frame, or None if it was not written."""
        pages = self.maps.get(name)
        return pages.read(number) if pages and number in pages.frame_numbers else None

    def close(self) -> None:
        """Close the files."""
        for pages in self.maps.values():
            pages.close()


def open_result(path: Path | str, stack: Stack) -> StoredResult:
    """Find a result of a stack.

    Parameters
    ----------
    path
        A folder that predict has written, its ``NN_RES``, any CTC result folder, or one TIFF file
        of objects.
    stack
        What was predicted.

    Raises
    ------
    FileNotFoundError
        If there is no result.
    ValueError
        If a file is no TIFF, or holds no integers, or masks and maps are not of one prediction.
    """
    path = Path(path)
    masks = next((p for p in (path, result_folder(path, stack)) if _masks(p)), None)
    if masks is not None:
        maps = masks.parent if masks.name.endswith("_RES") else masks
        return _mask_result(masks, maps, stack)
    file = path / "instances.tif" if path.is_dir() else path
    if not file.is_file():
        raise FileNotFoundError(_missing(path, stack))
    return _file_result(file, file.parent if file.name == "instances.tif" else None, stack)


def _missing(path: Path, stack: Stack) -> str:
    if not path.exists():
        return f"{path} does not exist; give a folder that predict has written."
    wanted = f"neither {stack.sequence}_RES with masks nor" if stack.sequence else "no"
    return f"{path} has {wanted} instances.tif; give a folder that predict has written."


def _masks(folder: Path) -> dict[int, Path]:
    """Masks of a CTC result by frame number, ascending."""
    if not folder.is_dir():
        return {}
    found: dict[int, Path] = {}
    for path in sorted(folder.iterdir()):
        match = MASK_NAME.fullmatch(path.name)
        if match is None:
            continue
        twin = found.setdefault(int(match[1]), path)
        if twin != path:
            raise ValueError(
                f"{folder} has {twin.name} and {path.name} for the same frame {int(match[1])}; "
                "keep one of them."
            )
    return dict(sorted(found.items()))


def _mask_result(folder: Path, maps: Path, stack: Stack) -> StoredResult:
    files = _masks(folder)
    marks = (read_mark(path) for path in files.values())
    mark = next((mark for mark in marks if mark is not None), ResultMark())

    def read(number: int) -> NDArray[np.integer]:
        try:
            with tifffile.TiffFile(files[number]) as file:
                mask = file.asarray()
                own = ResultMark.of_description(file.pages.first.description)
        # A damaged file makes tifffile raise nearly anything; it all means the same.
        except Exception as error:
            raise ValueError(
                f"{files[number]} is no whole TIFF file ({error}); write it again with predict."
            ) from error
        _check_same(files[number], own or ResultMark(), folder, mark)
        return _integers(mask, files[number])

    _check_numbers(folder, tuple(files), stack)
    found = _open_maps(maps, stack, folder, mark)
    return StoredResult(folder, tuple(files), read, found, _lacking(folder, len(files), mark))


def _check_same(path: Path, own: ResultMark, folder: Path, mark: ResultMark) -> None:
    """Refuse what is known to be of another prediction; files of other programs do not say."""
    if own.prediction and mark.prediction and own.prediction != mark.prediction:
        raise ValueError(
            f"{path} is of another prediction than {folder}; a result is of one. Predict "
            "again, or take one of the two away."
        )


def _lacking(path: Path, there: int, mark: ResultMark) -> str:
    if there >= mark.count:
        return ""
    return (
        f"{path} has {there} of the {mark.count} frames that were to be predicted: the prediction was "
        "stopped, or frames could not be read."
    )


def _file_result(file: Path, maps: Path | None, stack: Stack) -> StoredResult:
    pages = _pages(file, stack)

    def read(number: int) -> NDArray[np.integer]:
        return _integers(pages.read(number), file)

    try:
        _check_numbers(file, pages.frame_numbers, stack)
        beside = _open_maps(maps, stack, file, pages.mark) if maps else {}
    except BaseException:
        pages.close()
        raise
    lacking = _lacking(file, len(pages.frame_numbers), pages.mark)
    return StoredResult(file, pages.frame_numbers, read, {"instances": pages, **beside}, lacking)


def _open_maps(
    folder: Path, stack: Stack, objects: Path, mark: ResultMark
) -> dict[str, FramePages]:
    """Open the maps in a folder; those of another prediction than the objects are refused."""
    with ExitStack() as opened:
        found = {}
        for name in ("probability", "distance", "classes"):
            file = folder / f"{name}.tif"
            if file.is_file():
                found[name] = opened.enter_context(_pages(file, stack))
                _check_same(file, found[name].mark, objects, mark)
        opened.pop_all()
    return found


def _pages(file: Path, stack: Stack) -> FramePages:
    planes = stack.shape[0] if "Z" in stack.axes[1:] else 1
    return FramePages(file, planes, stack.frame_numbers)


def _check_numbers(path: Path, numbers: tuple[int, ...], stack: Stack) -> None:
    """Refuse the result of another stack: it has frames that this one has not."""
    foreign = sorted(set(numbers) - set(stack.frame_numbers))
    if foreign:
        first, last = stack.frame_numbers[0], stack.frame_numbers[-1]
        raise ValueError(
            f"{path} has {len(numbers)} frames, among them frame {foreign[0]}; {stack.name} has "
            f"{len(stack)} frames, from {first} to {last}. Give a result of this stack."
        )


def _integers(labels: NDArray[Any], path: Path) -> NDArray[np.integer]:
    if not np.issubdtype(labels.dtype, np.integer):
        raise ValueError(
            f"{path} holds {labels.dtype}; objects are integers, 0 = background. "
            "Give instances.tif or a folder of masks."
        )
    return labels
