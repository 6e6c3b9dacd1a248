"""The plugin's keys in one viewer: bound while a widget has an action for them, and no longer."""

from __future__ import annotations

import inspect
import weakref
from collections.abc import Callable, Mapping
from typing import Any

from napari.settings import get_settings

from napari_jnet.plugin.keys.listing import KEYS, key_table, keys_of_napari, parse_key
from napari_jnet.plugin.session import Lifetime, Session

__all__ = ["Keyboard", "bind_keys", "keyboard"]


class Keyboard:
    """The keys of one viewer.

    A key is bound only while it is free: what napari, the user or a script has bound stays theirs.
    Of two widgets with the same action, the newer one acts.
    """

    def __init__(self, session: Session) -> None:
        self._session = weakref.ref(session)
        self._actions: list[tuple[str, Callable[[], Callable[[], Any] | None]]] = []
        self._bound: dict[str, tuple[str, Any]] = {}  # of each action: its key, what is bound
        self._listening = False

    def bind(self, actions: Mapping[str, Callable[[], Any]]) -> Callable[[], None]:
        """Let keys act; returns what takes them away again."""
        unknown = [name for name in actions if name not in KEYS]
        if unknown:
            known = ", ".join(KEYS)
            raise ValueError(f"{unknown[0]!r} is no action with a key; known are {known}.")
        mine = [(name, _weak(action)) for name, action in actions.items()]
        self._actions += mine
        self._listen()
        self.renew()

        def unbind() -> None:
            gone = {id(entry) for entry in mine}
            self._actions = [entry for entry in self._actions if id(entry) not in gone]
            self.renew()

        return unbind

    def press(self, name: str) -> bool:
        """Do what the key of an action does; False where no widget has it now."""
        for known, find in reversed(self._actions):
            action = find() if known == name else None
            if action is not None:
                action()
                return True
        return False

    def taken(self, name: str) -> str:
        """Say who else has the key of an action, so that it is not bound; "" if nobody has."""
        key, viewer = parse_key(key_table()[name]), self._viewer()
        if key is None:
            return ""
        words = keys_of_napari().get(str(key), "")
        if words:
            return f"napari ({words})"
        first = key_table().owner(str(key))  # two may have one key in napari's preferences
        if first != name:
            return f"“{KEYS[first].title}”"
        mine = {id(function) for _, function in self._bound.values()}
        bound = viewer.keymap.get(key) if viewer is not None else None
        if bound is not None and id(bound) not in mine:
            return "a script or another plugin"
        return ""

    def renew(self, _event: Any = None) -> None:
        """Bind the keys as they are now."""
        viewer = self._viewer()
        if viewer is None:
            return
        for key, function in self._bound.values():
            if viewer.keymap.get(parse_key(key)) is function:
                viewer.bind_key(key, None)
        self._bound.clear()
        table = key_table()
        for name in dict.fromkeys(name for name, _ in self._actions):
            key = table[name]
            if key and not self.taken(name):
                function = self._function(name)
                viewer.bind_key(key, function)
                self._bound[name] = (key, function)

    def _function(self, name: str) -> Callable[[Any], None]:
        def pressed(_viewer: Any) -> None:
            self.press(name)

        pressed.__doc__ = KEYS[name].title
        return pressed

    def _listen(self) -> None:
        if not self._listening:
            self._listening = True
            key_table().changed.connect(self.renew)
            get_settings().shortcuts.events.shortcuts.connect(self.renew)

    def _viewer(self) -> Any:
        session = self._session()
        return None if session is None else session.viewer


def _weak(action: Callable[[], Any]) -> Callable[[], Callable[[], Any] | None]:
    """Refer to a method without keeping its widget alive."""
    return weakref.WeakMethod(action) if inspect.ismethod(action) else lambda: action


_keyboards: dict[int, Keyboard] = {}


def keyboard(session: Session) -> Keyboard:
    """Return the keys of a session; the same for every widget in it."""
    key = id(session)
    if key not in _keyboards:
        _keyboards[key] = Keyboard(session)
        weakref.finalize(session, _keyboards.pop, key, None)
    return _keyboards[key]


def bind_keys(
    session: Session,
    actions: Mapping[str, Callable[[], Any]],
    lifetime: Lifetime | None = None,
) -> Callable[[], None]:
    """Let the keys of some actions act in the viewer of a session.

    Parameters
    ----------
    session
        Of the viewer.
    actions
        What to call for each name of `KEYS`; methods are not kept alive.
    lifetime
        Of the widget: at its end the keys are free again.

    Returns
    -------
    callable
        Frees the keys; more calls do nothing.

    Raises
    ------
    ValueError
        If `KEYS` has no such name.
    """
    unbind = keyboard(session).bind(actions)
    if lifetime is not None:
        lifetime.at_end(unbind)
    return unbind
