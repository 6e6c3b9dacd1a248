"""The layers of a viewer that are kept, also those that are gone but not saved yet."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any
from weakref import WeakKeyDictionary

from napari_jnet.plugin.keeping.layer import KeptLayer

__all__ = ["KeptLayers"]


class KeptLayers:
    """Finds what is kept of a layer, and holds it until it is on disk."""

    def __init__(self) -> None:
        self._by_layer: WeakKeyDictionary[Any, KeptLayer] = WeakKeyDictionary()
        self._left: list[KeptLayer] = []  # their layers hold other labels now

    def __iter__(self) -> Iterator[KeptLayer]:
        return iter([*self._by_layer.values(), *self._left])

    def __contains__(self, kept: object) -> bool:
        """Whether the layer still holds these labels."""
        return any(kept is mine for mine in self._by_layer.values())

    def of(self, layer: Any | None) -> KeptLayer | None:
        """Return what is kept of a layer."""
        return None if layer is None else self._by_layer.get(layer)

    def add(self, kept: KeptLayer) -> None:
        """Keep a layer."""
        self._by_layer[kept.layer] = kept

    def forget(self, kept: KeptLayer) -> None:
        """Keep a layer no longer."""
        self._by_layer.pop(kept.layer, None)

    def part(self, kept: KeptLayer) -> None:
        """Keep until it is saved what was in a layer that holds other labels now."""
        self.forget(kept)
        self._left.append(kept)

    @property
    def projects(self) -> set[str]:
        """The folders of the projects that layers have."""
        return {str(kept.project.path) for kept in self._by_layer.values() if kept.project}

    def drop_saved(self, there: Iterable[Any]) -> None:
        """Let go of what is saved and of no layer that is there."""
        ids = {id(layer) for layer in there}
        for kept in [one for one in self if not one.unsaved]:
            if kept in self._left:
                self._left.remove(kept)
                kept.release()
            elif id(kept.layer) not in ids:
                self.forget(kept)
                kept.release()
