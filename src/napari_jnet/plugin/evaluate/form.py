"""The choices of the Evaluate widget: against what, and in which frames."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import Any

from qtpy.QtCore import Qt, Signal
from qtpy.QtWidgets import QComboBox

from napari_jnet.data.stack import LabelKind
from napari_jnet.plugin.evaluate.jobs import Comparison, DiskTruth, layer_labels, list_truth
from napari_jnet.plugin.layers import pixels
from napari_jnet.plugin.places import frame_numbers
from napari_jnet.plugin.session import METADATA_KEY, Lifetime, Session, result_of, same
from napari_jnet.plugin.worker import Relay

__all__ = ["FRAMES", "TruthCombo", "compare", "compared_layers", "frames_of", "role_of"]

FRAMES = {
    "all": "All frames with truth",
    "validation": "Validation frames only",
    "unused": "Frames never learned from",
}


def compared_layers(session: Session) -> list[Any]:
    """Return the labels layers that can be scored: painted, loaded or predicted ones."""
    return [layer for layer in _labels(session) if result_of(layer) in ("", "cells", "classes")]


def _labels(session: Session) -> list[Any]:
    from napari.layers import Labels

    viewer = session.viewer
    return [] if viewer is None else [layer for layer in viewer.layers if isinstance(layer, Labels)]


def role_of(session: Session, position: int) -> str:
    """Say what a frame was used for: its role, "annotated" where the split decided, or ""."""
    book = session.book
    if book is None or not 0 <= position < len(book):
        return ""
    role = str(book.role(position))
    # predicted cells count as the annotation only as long as nobody has painted one
    painted = book.layer is not None and not result_of(book.layer)
    return role or ("annotated" if painted and book.facts(position).annotated else "")


def frames_of(session: Session, which: str, numbers: Iterable[int]) -> tuple[tuple[int, int], ...]:
    """Choose frames: position and number of each.

    Parameters
    ----------
    session
        Knows the roles.
    which
        A key of `FRAMES`.
    numbers
        Frame numbers of the stack, by position.

    Raises
    ------
    ValueError
        If no frame has this role.
    """
    frames = tuple(enumerate(numbers))
    if which == "all":
        return frames
    wanted = ("validation",) if which == "validation" else ("unused", "")
    chosen = tuple((p, n) for p, n in frames if role_of(session, p) in wanted)
    if not chosen:
        why = {
            "validation": "No frame has the role validation; give a frame that role in the table of "
            "frames, or score all frames.",
            "unused": "Every frame is annotated, and so may have been learned from; set the role of "
            "some frames to unused and train anew, or score the validation frames.",
        }
        raise ValueError(why[which])
    return chosen


def compare(session: Session, layer: Any, truth: Any, which: str, border: int = 0) -> Comparison:
    """Take what is compared from the layers, cheaply.

    Parameters
    ----------
    session
        Of the viewer.
    layer
        The labels layer that is scored, or None.
    truth
        A labels layer, a `DiskTruth` or None.
    which
        A key of `FRAMES`.
    border
        Cells that lie wholly within this many pixels of a side do not count.

    Raises
    ------
    ValueError
        If something is missing, sizes differ, or no frame has the role.
    """
    if layer is None:
        raise ValueError("There is no labels layer to score; predict some frames first.")
    if truth is None:
        raise ValueError(
            "There is nothing to compare with; paint some cells, or open the truth as labels."
        )
    result = layer_labels(layer, session.results)
    if result.kind is LabelKind.SCRIBBLES:
        raise ValueError(
            f"{layer.name!r} holds scribbles, which cannot be scored; choose predicted cells."
        )
    numbers, axes = frame_numbers(session, layer)
    if isinstance(truth, DiskTruth):
        frames = frames_of(session, which, numbers)
        made = Comparison(result, truth, f"{truth.name} truth", frames, axes)
        return _bordered(made, border)
    _same_size(layer, truth)
    frames = frames_of(session, which, numbers)
    reference = layer_labels(truth, session.results)
    return _bordered(Comparison(result, reference, reference.name, frames, axes), border)


def _bordered(comparison: Comparison, border: int) -> Comparison:
    """Leave out the cells in the border; classes have none."""
    cells = comparison.kind is LabelKind.INSTANCES
    return replace(comparison, border=border if cells else 0)


def _same_size(result: Any, truth: Any) -> None:
    sizes = [tuple(pixels(layer).shape) for layer in (result, truth)]
    if sizes[0] != sizes[1]:
        first, second = (" × ".join(str(n) for n in size) for size in sizes)
        raise ValueError(
            f"{result.name!r} has {first} pixels, {truth.name!r} {second}; both must cover the same "
            "pixels. Choose labels of the same image."
        )


class TruthCombo(QComboBox):
    """What is compared against: other labels layers, and the truth beside the stack on disk.

    Truth comes first; where nobody has chosen, the first is taken.

    Parameters
    ----------
    session
        Of the viewer.
    excluded
        Gives the layer that is scored, which is not listed.
    """

    truth_changed = Signal()

    def __init__(self, session: Session, excluded: Callable[[], Any], lifetime: Lifetime) -> None:
        super().__init__()
        self._session, self._excluded = session, excluded
        self._items: list[Any] = []
        self._disk: tuple[DiskTruth, ...] = ()
        self._choice: Any = None
        self._looked: tuple[str, dict[str, Any]] | None = None
        self._relay = Relay()
        lifetime.at_end(self._relay.close)
        self.setSizeAdjustPolicy(QComboBox.SizeAdjustPolicy.AdjustToMinimumContentsLengthWithIcon)
        self.setMinimumContentsLength(12)
        events = session.viewer.layers.events
        for emitter in (events.inserted, events.removed, events.reordered, events.renamed):
            lifetime.connect(emitter, self.refresh)
        lifetime.connect(session.image_changed, self._look)
        lifetime.connect(session.project_changed, self.refresh)
        self.activated.connect(self._activate)
        self.refresh()
        self._look()

    @property
    def truth(self) -> Any | None:
        """A labels layer, a `DiskTruth` or None."""
        index = self.currentIndex()
        return self._items[index] if 0 <= index < len(self._items) else None

    def set_truth(self, truth: Any) -> None:
        """Choose a layer, or truth on disk or loaded by its name; raises `ValueError` if it is not listed."""
        for item in self._items:
            name = item.name if isinstance(item, DiskTruth) else _told(item).get("annotation")
            if same(item, truth) or (isinstance(truth, str) and truth == name):
                self._choice = item
                self.refresh()
                return
        known = ", ".join(repr(self.itemText(n)) for n in range(self.count())) or "nothing"
        raise ValueError(f"{truth!r} cannot be compared against; there is {known}.")

    def refresh(self, _event: Any = None) -> None:
        """List what there is now."""
        before = self.truth
        self._items = self._listed()
        self.blockSignals(True)
        self.clear()
        for item in self._items:
            self.addItem(_words(item))
            if isinstance(item, DiskTruth):
                self.setItemData(self.count() - 1, str(item.path), Qt.ItemDataRole.ToolTipRole)
        chosen = [n for n, item in enumerate(self._items) if same(item, self._choice)]
        self.setCurrentIndex(chosen[0] if chosen else 0 if self._items else -1)
        self.blockSignals(False)
        if not same(before, self.truth):
            self.truth_changed.emit()

    def _listed(self) -> list[Any]:
        scored, annotation = self._excluded(), self._session.annotation
        layers = [layer for layer in compared_layers(self._session) if not same(layer, scored)]
        loaded = [layer for layer in layers if _is_truth(layer)]
        others = [layer for layer in layers if not _is_truth(layer) and not result_of(layer)]
        others.sort(key=lambda layer: not same(layer, annotation))
        results = [layer for layer in layers if result_of(layer)]
        disk = [item for item in self._disk if not any(_shows(layer, item) for layer in loaded)]
        return [*reversed(loaded), *disk, *others, *results]

    def _activate(self, index: int) -> None:
        self._choice = self._items[index]
        self.truth_changed.emit()

    def _look(self, _image: Any = None) -> None:
        """Ask, in the background, what truth lies beside the image on disk."""
        image = self._session.image
        told = {} if image is None else image.metadata.get(METADATA_KEY, {})
        names = {"sequence": "sequence", "given_axes": "axes", "series": "series"}
        choices = {name: told[key] for key, name in names.items() if told.get(key)}
        wanted = (told.get("path") or "", choices)
        if wanted == self._looked or self._relay.running:
            return
        self._looked = wanted
        self._take(())
        if wanted[0]:
            from pathlib import Path

            job = list_truth(Path(wanted[0]), wanted[1])
            # a stack that cannot be opened any more has no truth to offer
            self._relay.start(job, self._take, self._look, self._look, self._look)

    def _take(self, found: tuple[DiskTruth, ...]) -> None:
        self._disk = found
        self.refresh()


def _is_truth(layer: Any) -> bool:
    return bool(_told(layer).get("annotation"))


def _told(layer: Any) -> dict[str, Any]:
    return layer.metadata.get(METADATA_KEY, {})


def _shows(layer: Any, truth: DiskTruth) -> bool:
    """Whether a layer is this truth, loaded and not painted on since."""
    told = _told(layer)
    same_file = (told.get("path"), told.get("sequence") or None) == (
        str(truth.path),
        truth.choices.get("sequence"),
    )
    return same_file and told.get("annotation") == truth.name and not told.get("project")


def _words(item: Any) -> str:
    if isinstance(item, DiskTruth):
        return f"{item.name} truth on disk ({item.frames} frames)"
    return str(item.name)
