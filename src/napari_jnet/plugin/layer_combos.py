"""Combo boxes of layers, held by reference: renamed or moved, a layer stays the one that was meant."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from qtpy.QtCore import Qt, Signal
from qtpy.QtWidgets import QComboBox

from napari_jnet.plugin.session import Lifetime, Session, same

__all__ = ["LayerChoice", "LayerCombo"]


class _Layers(QComboBox):
    """Lists the layers that a function gives; subclasses say which is chosen and what choosing does."""

    layer_changed = Signal()

    def __init__(self, session: Session, list_layers: Callable[[], list[Any]], lifetime: Lifetime):
        super().__init__()
        self._session, self._list_layers = session, list_layers
        self._layers: list[Any] = []
        self.setSizeAdjustPolicy(QComboBox.SizeAdjustPolicy.AdjustToMinimumContentsLengthWithIcon)
        self.setMinimumContentsLength(12)
        events = session.viewer.layers.events
        for emitter in (events.inserted, events.removed, events.reordered, events.renamed):
            lifetime.connect(emitter, self._refresh)
        self.activated.connect(self._activate)

    @property
    def layer(self) -> Any | None:
        """The chosen layer, or None."""
        index = self.currentIndex()
        return self._layers[index] if 0 <= index < len(self._layers) else None

    def set_layer(self, layer: Any) -> None:
        """Choose a layer; raises `ValueError` if the viewer does not have it."""
        raise NotImplementedError

    def _wanted(self) -> Any | None:
        raise NotImplementedError

    def _activate(self, index: int) -> None:
        self.set_layer(self._layers[index])

    def _refresh(self, _event: Any = None) -> None:
        before, self._layers = self.layer, self._list_layers()
        self.blockSignals(True)
        self.clear()
        image = self._session.image
        for number, layer in enumerate(self._layers):
            self.addItem(_title(layer, image))
            self.setItemData(number, layer.name, Qt.ItemDataRole.ToolTipRole)
        wanted = self._wanted()
        there = [i for i, layer in enumerate(self._layers) if same(layer, wanted)]
        self.setCurrentIndex(there[0] if there else -1)
        self.blockSignals(False)
        if not same(before, self.layer):
            self.layer_changed.emit()


def _title(layer: Any, image: Any | None) -> str:
    """Name a layer by what tells it from the others of its image, which a narrow box shows first."""
    name = str(layer.name)
    if image is None or same(layer, image) or not name.startswith(f"{image.name} "):
        return name
    return f"{name.removeprefix(image.name).strip()} ({image.name})"


class LayerCombo(_Layers):
    """The image or the annotation that all widgets of a viewer share.

    Parameters
    ----------
    session
        Of the viewer; knows the chosen layer.
    role
        "image" or "annotation".
    """

    def __init__(self, session: Session, role: str, lifetime: Lifetime) -> None:
        list_layers = session.images if role == "image" else session.labels
        self._role = role
        super().__init__(session, list_layers, lifetime)
        lifetime.connect(getattr(session, f"{role}_changed"), self._refresh)
        self._refresh()

    def set_layer(self, layer: Any) -> None:
        """Choose a layer for all widgets; raises `ValueError` if the viewer does not have it."""
        self._session.choose(self._role, layer)

    def _wanted(self) -> Any | None:
        return getattr(self._session, self._role)


class LayerChoice(_Layers):
    """A layer that one widget alone asks for; at first, and when it is gone, the last of the list.

    Parameters
    ----------
    session
        Of the viewer.
    list_layers
        Gives the layers to choose from.
    """

    def __init__(
        self, session: Session, list_layers: Callable[[], list[Any]], lifetime: Lifetime
    ) -> None:
        super().__init__(session, list_layers, lifetime)
        self._choice: Any | None = None
        self._refresh()

    def set_layer(self, layer: Any) -> None:
        """Choose a layer; raises `ValueError` if the list does not have it."""
        if not any(same(layer, other) for other in self._list_layers()):
            raise ValueError(f"{layer!r} cannot be chosen here; choose one of the list.")
        self._choice = layer
        self._refresh()

    def _wanted(self) -> Any | None:
        if not any(same(layer, self._choice) for layer in self._layers):
            self._choice = self._layers[-1] if self._layers else None
        return self._choice
