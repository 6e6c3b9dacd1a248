"""What a person can do: the title, tooltip and shortcut of each command, and what it does in a viewer."""

from __future__ import annotations

import inspect
import weakref
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import yaml
from app_model.types import KeyBinding, KeyCode
from napari.settings import get_settings
from psygnal import Signal

from napari_jnet.plugin.settings import plugin_settings

_MANIFEST = Path(__file__).parents[1] / "napari.yaml"
_NO_SHORTCUT = " Empty for no shortcut."  # for the preferences only


@dataclass(frozen=True)
class Command:
    """Something that a person can do: its button, shortcut, hint and guide refer to this object."""

    id: str  # in napari's settings; it stays, or users lose the shortcut that they chose
    title: str  # in the preferences, and on the button where there is room
    tooltip: str  # what it does, in one sentence
    shortcut: str  # the default


def _read_commands() -> dict[str, Command]:
    """Read the commands from the manifest, whence napari's preferences have them too."""
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    manifest = yaml.load(_MANIFEST.read_text(encoding="utf-8"), loader)
    keys = manifest["contributions"]["configurations"]["keys"]["properties"]
    return {
        name: Command(
            name, key["title"], key["description"].removesuffix(_NO_SHORTCUT), key["default"]
        )
        for name, key in keys.items()
    }


COMMANDS: dict[str, Command] = _read_commands()


class Commands:
    """The commands of one viewer: what they do there, and which shortcuts they have now.

    A shortcut is bound only while it is free: what napari, the user or a script has bound stays theirs.
    Of two widgets with the same command, the newer one acts.  The viewer is not kept alive.
    """

    changed = Signal()  # the user has changed a shortcut

    def __init__(self, viewer: Any) -> None:
        self._viewer = weakref.ref(viewer)
        self._actions: list[tuple[str, Callable[[], Callable[[], Any] | None]]] = []
        self._bound: dict[str, Callable[[Any], None]] = {}  # by shortcut
        self._settings = plugin_settings("keys")
        if hasattr(self._settings, "events"):
            self._settings.events.connect(self._settings_changed)
        get_settings().shortcuts.events.shortcuts.connect(self._bind)

    def attach(self, actions: Mapping[str, Callable[[], Any]]) -> Callable[[], None]:
        """Set what to call, by the id of a command; return what takes it away again.

        Methods are not kept alive.
        """
        mine = [(name, _weak(action)) for name, action in actions.items()]
        self._actions += mine
        self._bind()

        def detach() -> None:
            self._actions = [entry for entry in self._actions if entry not in mine]
            self._bind()

        return detach

    def run(self, name: str) -> bool:
        """Do what a command does; False where no widget offers it now."""
        for known, find in reversed(self._actions):
            action = find() if known == name else None
            if action is not None:
                action()
                return True
        return False

    def shortcut(self, name: str) -> str:
        """Return the shortcut of a command as napari writes it; "" for none, or one it cannot read."""
        return _normalized(getattr(self._settings, name, COMMANDS[name].shortcut))

    def tooltip(self, name: str) -> str:
        """Return the tooltip of a command, with its shortcut: "Cut the cell … (Shift+X)"."""
        text, key = COMMANDS[name].tooltip, self.shortcut(name)
        return f"{text} ({key})" if key else text

    def _settings_changed(self, _event: Any = None) -> None:
        self._bind()
        self.changed.emit()

    def _bind(self, _event: Any = None) -> None:
        viewer = self._viewer()
        if viewer is None:
            return
        for key, function in self._bound.items():
            if viewer.keymap.get(_binding(key)) is function:
                viewer.bind_key(key, None)
        self._bound.clear()
        napari_has = {
            _written(key) for keys in get_settings().shortcuts.shortcuts.values() for key in keys
        }
        first: dict[str, str] = {}  # shortcut -> command; napari's preferences refuse no second one
        for name in COMMANDS:
            first.setdefault(self.shortcut(name), name)
        attached = dict(self._actions)
        for key, name in first.items():
            free = key and key not in napari_has and viewer.keymap.get(_binding(key)) is None
            if free and name in attached:
                self._bound[key] = function = self._function(name)
                viewer.bind_key(key, function)

    def _function(self, name: str) -> Callable[[Any], None]:
        def pressed(_viewer: Any) -> None:
            self.run(name)

        pressed.__doc__ = COMMANDS[name].title
        return pressed


# Kept, as they take long: a key as napari writes it, and the key of such a text.
_written, _binding = cache(str), cache(KeyBinding.from_str)


@cache
def _normalized(text: str) -> str:
    """Return a shortcut as napari writes it; "" for none, or one that cannot be read."""
    key = KeyBinding.from_str(text.strip()) if text.strip() else None
    if key is None or len(key.parts) != 1:
        return ""
    return "" if key.part0.key is KeyCode.UNKNOWN or key.part0.is_modifier_key() else str(key)


def _weak(action: Callable[[], Any]) -> Callable[[], Callable[[], Any] | None]:
    """Refer to a method without keeping its widget alive."""
    return weakref.WeakMethod(action) if inspect.ismethod(action) else lambda: action
