"""What the dock widgets of one viewer share: the model that was trained last.

No widget knows another: Train says which model is ready, Predict listens.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from psygnal import Signal

if TYPE_CHECKING:
    import napari

__all__ = ["Lifetime", "Session", "same", "session", "unwrap"]

_sessions: dict[int, Session] = {}


class Session:
    """The state of one viewer."""

    model_changed = Signal(str)

    def __init__(self) -> None:
        self._model: Path | None = None

    @property
    def model(self) -> Path | None:
        """The run folder or model file that was ready last."""
        return self._model

    @model.setter
    def model(self, path: Path) -> None:
        self._model = path
        self.model_changed.emit(str(path))


class Lifetime:
    """What ends with a widget; holds no reference to it.

    A deleted Qt widget still hears napari's events through its Python half; `end` cuts that.
    """

    def __init__(self) -> None:
        self._endings: list[Callable[[], Any]] = []

    def connect(self, emitter: Any, callback: Callable[..., Any]) -> None:
        """Connect until the end."""
        emitter.connect(callback)
        self._endings.append(lambda: emitter.disconnect(callback))

    def at_end(self, call: Callable[[], Any]) -> None:
        """Call this when the widget is gone."""
        self._endings.append(call)

    def end(self, *_: object) -> None:
        """End everything; more calls do nothing."""
        while self._endings:
            self._endings.pop()()


def unwrap(thing: Any) -> Any:
    """Return the napari object behind the proxy that napari hands to plugins."""
    return getattr(thing, "__wrapped__", thing)


def same(one: Any, other: Any) -> bool:
    """Whether both are one napari object, seen through proxies or not."""
    return unwrap(one) is unwrap(other)


def session(viewer: napari.viewer.Viewer) -> Session:
    """Return the state of this viewer; the same for every widget in it."""
    raw = unwrap(viewer)
    key = id(raw)
    if key not in _sessions:
        _sessions[key] = Session()
        weakref.finalize(raw, _sessions.pop, key, None)
    return _sessions[key]
