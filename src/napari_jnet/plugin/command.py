"""What a person can do, with its key."""

from __future__ import annotations

import inspect
import weakref
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from app_model.types import KeyBinding, KeyCode
from napari.settings import get_plugin_settings, get_settings
from psygnal import Signal

from napari_jnet.plugin.workspace import Lifetime, Workspace


@dataclass(frozen=True)
class KeyAction:
    """Something that a key does."""

    name: str
    default: str
    title: str
    help: str
    group: str


def _actions(group: str, *rows: tuple[str, str, str, str]) -> dict[str, KeyAction]:
    return {row[0]: KeyAction(*row, group) for row in rows}


KEYS: dict[str, KeyAction] = {
    **_actions(
        "Annotate",
        ("next_frame", "Shift+N", "Next frame to annotate", "Go to the frame that helps most"),
        ("unknown_brush", "Shift+Q", "Unknown brush", "Paint pixels of which nobody knows"),
        ("rest_unknown", "Shift+E", "Everything else is unknown", "In this frame, what is 0"),
        ("copy_before", "Shift+C", "Copy from the frame before", "Never over painted pixels"),
    ),
    **_actions(
        "Train and predict",
        ("train", "Shift+T", "Train", "Start a training with what is annotated"),
        ("predict", "Shift+R", "Predict this frame", "Run the network on the frame shown"),
        ("use_as_annotation", "Shift+U", "Use as annotation", "Copy this frame's predicted cells"),
        (
            "toggle_overlays",
            "Shift+O",
            "Show or hide the prediction",
            "Segmentation, distance, cells",
        ),
    ),
    **_actions(
        "Correct",
        ("delete", "Shift+D", "Delete the cell", "Under the pointer"),
        ("merge", "Shift+M", "Merge cells", "Drag from one cell over the others"),
        ("split", "Shift+X", "Split a cell", "Drag across it from side to side"),
        ("fill", "Shift+F", "Fill holes of the cell", "Under the pointer"),
        ("smooth", "Shift+G", "Smooth the cell's outline", "Under the pointer"),
    ),
}


def parse_key(text: str) -> KeyBinding | None:
    """Read a key such as "Shift+T" or "F5"; None for "".

    Raises
    ------
    ValueError
        If it is no key, only a modifier, or more than one after the other.
    """
    if not text.strip():
        return None
    key = KeyBinding.from_str(text.strip())
    if len(key.parts) != 1 or key.parts[0].key is KeyCode.UNKNOWN or key.part0.is_modifier_key():
        raise ValueError(
            f"{text!r} is not one key; press a letter, a digit or F1 to F12, "
            "with Shift, Ctrl or Alt or without."
        )
    return key


class KeyTable:
    """Which key each action has now; what is changed is remembered by napari's settings.

    Parameters
    ----------
    stored
        An object with the keys as attributes and psygnal ``events``; None keeps changes in memory.
    """

    changed = Signal()

    def __init__(self, stored: Any = None) -> None:
        self._stored = stored
        self._memory = {name: action.default for name, action in KEYS.items()}
        if stored is not None:
            stored.events.connect(self._on_stored)

    @property
    def remembered(self) -> bool:
        """Whether changes outlive the window."""
        return self._stored is not None

    def __getitem__(self, name: str) -> str:
        """Return the key of an action as napari writes it; "" for none, or one it cannot read."""
        text = self._memory[name] if self._stored is None else getattr(self._stored, name)
        try:
            key = parse_key(text)
        except ValueError:
            return ""
        return str(key or "")

    def owner(self, text: str) -> str:
        """Return the name of the action that has this key, "" if none has."""
        wanted = str(parse_key(text) or "")
        return next((name for name in KEYS if wanted and self[name] == wanted), "")

    def set(self, name: str, text: str) -> None:
        """Give an action another key, or none ("").

        Raises
        ------
        ValueError
            If it is no key, or another action or napari has it.
        """
        key = str(parse_key(text) or "")
        if key:
            owner = self.owner(key)
            if owner not in ("", name):
                raise ValueError(f"{key} is the key of “{KEYS[owner].title}”; take another one.")
            theirs = keys_of_napari().get(key)
            if theirs:
                raise ValueError(f"napari has {key} for “{theirs}”; take another one.")
        self._write({name: key})

    def reset(self) -> None:
        """Give every action its first key again."""
        self._write({name: action.default for name, action in KEYS.items()})

    def _write(self, keys: dict[str, str]) -> None:
        if self._stored is None:
            self._memory.update(keys)
            self.changed.emit()
            return
        for name, key in keys.items():
            setattr(self._stored, name, key)  # tells `_on_stored`

    def _on_stored(self, _event: Any = None) -> None:
        self.changed.emit()


_tables: dict[int, KeyTable] = {}


def key_table() -> KeyTable:
    """Return the keys of napari's settings for this plugin; in memory where it has none."""
    try:
        stored = get_plugin_settings("napari-jnet").keys
    except (KeyError, AttributeError):  # the plugin is not installed, as in some tests
        stored = None
    key = id(stored)
    if key not in _tables:
        _tables.clear()
        _tables[key] = KeyTable(stored)
    return _tables[key]


def keys_of_napari() -> dict[str, str]:
    """Return the keys that napari has, as the user set them, each with what it does in words."""
    found: dict[str, str] = {}
    for action, keys in get_settings().shortcuts.shortcuts.items():
        words = action.removeprefix("napari:").replace("_", " ")
        found.update({str(key): words for key in keys})
    return found


def with_key(name: str, text: str, table: KeyTable | None = None) -> str:
    """Add the key of an action to a text such as a tooltip: "Split a cell (Shift+X)"."""
    key = (table or key_table())[name]
    return f"{text} ({key})" if key else text


class Keyboard:
    """The keys of one viewer.

    A key is bound only while it is free: what napari, the user or a script has bound stays theirs.
    Of two widgets with the same action, the newer one acts.
    """

    def __init__(self, workspace: Workspace) -> None:
        self._workspace = weakref.ref(workspace)
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
        workspace = self._workspace()
        return None if workspace is None else workspace.viewer


def _weak(action: Callable[[], Any]) -> Callable[[], Callable[[], Any] | None]:
    """Refer to a method without keeping its widget alive."""
    return weakref.WeakMethod(action) if inspect.ismethod(action) else lambda: action


_keyboards: dict[int, Keyboard] = {}


def keyboard(workspace: Workspace) -> Keyboard:
    """Return the keys of a session; the same for every widget in it."""
    key = id(workspace)
    if key not in _keyboards:
        _keyboards[key] = Keyboard(workspace)
        weakref.finalize(workspace, _keyboards.pop, key, None)
    return _keyboards[key]


def bind_keys(
    workspace: Workspace,
    actions: Mapping[str, Callable[[], Any]],
    lifetime: Lifetime | None = None,
) -> Callable[[], None]:
    """Let the keys of some actions act in the viewer of a session.

    Parameters
    ----------
    workspace
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
    unbind = keyboard(workspace).bind(actions)
    if lifetime is not None:
        lifetime.at_end(unbind)
    return unbind
