"""Keys act in the viewer, can be changed, and are never taken from anybody."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

pytest.importorskip("napari")

from app_model.types import KeyBinding
from napari.components import ViewerModel
from napari.settings import get_settings
from npe2 import PluginManifest
from psygnal import Signal

from napari_jnet.plugin import command as module
from napari_jnet.plugin.command import (
    KEYS,
    KeyTable,
    bind_keys,
    key_table,
    keyboard,
    keys_of_napari,
    parse_key,
    with_key,
)
from napari_jnet.plugin.open_workspace import open_workspace
from napari_jnet.plugin.ui.shortcuts import KeysDialog
from napari_jnet.plugin.workspace import Lifetime


class SaveResult(SimpleNamespace):
    """What napari's settings give for the keys: attributes, and events when they change."""

    class Events:
        connected = Signal(object)

        def connect(self, callback):
            self.connected.connect(callback)

    def __init__(self):
        super().__init__(**{name: action.default for name, action in KEYS.items()})
        self.__dict__["events"] = self.Events()

    def __setattr__(self, name, value):
        super().__setattr__(name, value)
        self.events.connected.emit(name)


@pytest.fixture
def table(monkeypatch):
    """Give every test its own keys, in memory."""
    fresh = KeyTable()
    monkeypatch.setattr(module, "key_table", lambda: fresh)
    monkeypatch.setattr("napari_jnet.plugin.command.key_table", lambda: fresh)
    return fresh


@pytest.fixture
def viewer():
    return ViewerModel()


def press(viewer, key: str) -> bool:
    """Press a key as the viewer's keymap sees it; False where nothing is bound."""
    function = viewer.keymap.get(KeyBinding.from_str(key))
    if function is None:
        return False
    function(viewer)
    return True


def test_the_first_keys_are_free_and_differ() -> None:
    defaults = [action.default for action in KEYS.values()]
    assert len(set(defaults)) == len(defaults)
    assert not set(defaults) & set(keys_of_napari())
    assert all(str(parse_key(key)) == key for key in defaults)


def test_the_manifest_offers_every_key() -> None:
    manifest = PluginManifest.from_distribution("napari-jnet")
    offered = manifest.contributions.configurations["keys"].properties
    assert {name: (p.title, p.default) for name, p in offered.items()} == {
        name: (action.title, action.default) for name, action in KEYS.items()
    }


def test_a_key_acts_until_the_widget_ends(viewer, table) -> None:
    done: list[str] = []
    lifetime = Lifetime()
    bind_keys(open_workspace(viewer), {"train": lambda: done.append("train")}, lifetime)
    assert press(viewer, "Shift+T")
    assert done == ["train"]
    lifetime.end()
    assert not press(viewer, "Shift+T")
    assert not keyboard(open_workspace(viewer)).press("train")


def test_of_two_widgets_the_newer_one_acts_and_the_older_one_again_after_it(viewer, table) -> None:
    done: list[int] = []
    bind_keys(open_workspace(viewer), {"train": lambda: done.append(1)})
    unbind = bind_keys(open_workspace(viewer), {"train": lambda: done.append(2)})
    press(viewer, "Shift+T")
    unbind()
    unbind()
    press(viewer, "Shift+T")
    assert done == [2, 1]


def test_methods_are_not_kept_alive(viewer, table) -> None:
    class Widget:
        def train(self) -> None:
            raise AssertionError("gone")

    widget = Widget()
    bind_keys(open_workspace(viewer), {"train": widget.train})
    del widget
    assert press(viewer, "Shift+T")


def test_a_changed_key_acts_at_once(viewer, table) -> None:
    done: list[int] = []
    bind_keys(open_workspace(viewer), {"delete": lambda: done.append(1)})
    table.set("delete", "shift-w")
    assert table["delete"] == "Shift+W"
    assert press(viewer, "Shift+W")
    assert not press(viewer, "Shift+D")
    table.set("delete", "")
    assert not press(viewer, "Shift+W")
    table.reset()
    assert press(viewer, "Shift+D")
    assert done == [1, 1]


def test_a_key_that_a_script_bound_stays_its_own(viewer, table) -> None:
    done: list[str] = []
    viewer.bind_key("Shift-T", lambda _: done.append("script"))
    unbind = bind_keys(open_workspace(viewer), {"train": lambda: done.append("train")})
    press(viewer, "Shift+T")
    assert done == ["script"]
    assert keyboard(open_workspace(viewer)).taken("train") == "a script or another plugin"
    unbind()
    assert press(viewer, "Shift+T")


def test_a_key_bound_over_ours_later_is_not_taken_away(viewer, table) -> None:
    done: list[str] = []
    unbind = bind_keys(open_workspace(viewer), {"train": lambda: done.append("train")})
    viewer.bind_key("Shift-T", lambda _: done.append("script"), overwrite=True)
    unbind()
    press(viewer, "Shift+T")
    assert done == ["script"]


def test_a_key_that_the_user_gives_to_napari_is_napari_s(viewer, table) -> None:
    bind_keys(open_workspace(viewer), {"train": lambda: None})
    settings = get_settings().shortcuts
    before = dict(settings.shortcuts)
    try:
        settings.shortcuts = {
            **before,
            "napari:toggle_grid": [KeyBinding.from_str("Shift+T")],
        }
        assert not press(viewer, "Shift+T")
        assert keyboard(open_workspace(viewer)).taken("train") == "napari (toggle grid)"
    finally:
        settings.shortcuts = before
    assert press(viewer, "Shift+T")


@pytest.mark.parametrize(
    ("key", "words"),
    [
        ("Shift+X", "is the key of “Split a cell”"),
        ("Shift+V", "napari has Shift\\+V for “toggle unselected visibility”"),
        ("m", "napari has M for “new label”"),
        ("Shift+", "is not one key"),
        ("Shift", "is not one key"),
        ("Shift+A Shift+B", "is not one key"),
        ("nonsense", "is not one key"),
    ],
)
def test_keys_of_others_and_no_keys_are_refused(table, key, words) -> None:
    with pytest.raises(ValueError, match=words):
        table.set("delete", key)
    assert table["delete"] == "Shift+D"


def test_keys_are_kept_in_the_settings() -> None:
    stored = SaveResult()
    table = KeyTable(stored)
    told = []
    table.changed.connect(lambda: told.append(table["delete"]))
    assert table.remembered
    table.set("delete", "Shift+W")
    assert stored.delete == "Shift+W"
    stored.delete = "Ctrl+Nonsense"  # typed in napari's preferences
    assert table["delete"] == ""
    assert told == ["Shift+W", ""]


def test_of_two_actions_with_one_key_the_first_of_the_list_has_it(viewer, monkeypatch) -> None:
    stored = SaveResult()
    fresh = KeyTable(stored)
    monkeypatch.setattr("napari_jnet.plugin.command.key_table", lambda: fresh)
    done: list[str] = []
    actions = {name: lambda name=name: done.append(name) for name in ("delete", "train")}
    bind_keys(open_workspace(viewer), actions)
    stored.delete = "shift+t"  # in napari's preferences, which refuse nothing
    press(viewer, "Shift+T")
    assert done == ["train"]
    assert keyboard(open_workspace(viewer)).taken("delete") == "“Train”"


def test_actions_without_a_name_in_the_list_are_refused(viewer, table) -> None:
    with pytest.raises(ValueError, match=r"'dance' is no action.*known are next_frame"):
        bind_keys(open_workspace(viewer), {"dance": print})


def test_tooltips_name_the_key(table) -> None:
    assert with_key("delete", "Delete the cell", table) == "Delete the cell (Shift+D)"
    table.set("delete", "")
    assert with_key("delete", "Delete the cell", table) == "Delete the cell"


def test_there_is_one_table() -> None:
    assert key_table() is key_table()


def test_the_list_opens_where_napari_names_its_actions_otherwise(
    qtbot, viewer, monkeypatch
) -> None:
    other = SimpleNamespace(shortcuts=SimpleNamespace(shortcuts={"napari:new_name": []}))
    monkeypatch.setattr("napari_jnet.plugin.ui.shortcuts.get_settings", lambda: other)
    dialog = KeysDialog(open_workspace(viewer), None)
    qtbot.addWidget(dialog)
    assert dialog.fields.keys() == KEYS.keys()
