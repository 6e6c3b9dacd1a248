"""Every key of the plugin: what it does, which key it is now, and who else has that key.

napari's own keys for painting are single letters and digits; ours are Shift and a letter, and they
act whichever layer is active.  They are changed in the dialog of `keys_dialog` or in napari's
preferences, which remember them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from app_model.types import KeyBinding, KeyCode
from napari.settings import get_plugin_settings, get_settings
from psygnal import Signal

__all__ = ["KEYS", "KeyAction", "KeyTable", "key_table", "keys_of_napari", "parse_key", "with_key"]


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
