"""Shortcuts act in the viewer, can be changed, and are never taken from anybody."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

pytest.importorskip("napari")

from app_model.types import KeyBinding
from napari.components import ViewerModel
from napari.settings import get_settings
from npe2 import PluginManifest
from psygnal import Signal

from napari_jnet.plugin.command import COMMANDS
from napari_jnet.plugin.open_workspace import open_workspace


class Settings(SimpleNamespace):
    """What napari's settings give for the shortcuts: attributes, and events when they change."""

    class Events:
        changed = Signal(object)

        def connect(self, callback):
            self.changed.connect(callback)

    def __init__(self):
        super().__init__(**{c.id: c.shortcut for c in COMMANDS.values() if c.shortcut})
        self.__dict__["events"] = self.Events()

    def __setattr__(self, name, value):
        super().__setattr__(name, value)
        self.events.changed.emit(name)


@pytest.fixture
def settings(monkeypatch):
    """Give every test its own shortcuts."""
    fresh = Settings()
    monkeypatch.setattr("napari_jnet.plugin.command.plugin_settings", lambda _: fresh)
    return fresh


@pytest.fixture
def viewer(settings):
    return ViewerModel()


@pytest.fixture
def commands(viewer):
    return open_workspace(viewer).commands


def press(viewer, key: str) -> bool:
    """Press a key as the viewer's keymap sees it; False where nothing is bound."""
    function = viewer.keymap.get(KeyBinding.from_str(key))
    if function is None:
        return False
    function(viewer)
    return True


def test_the_default_shortcuts_are_free_and_differ() -> None:
    defaults = [c.shortcut for c in COMMANDS.values() if c.shortcut]
    assert len(set(defaults)) == len(defaults)
    taken = {str(key) for keys in get_settings().shortcuts.shortcuts.values() for key in keys}
    assert not set(defaults) & taken
    assert all(str(KeyBinding.from_str(key)) == key for key in defaults)


def test_the_commands_are_those_of_napari_s_preferences() -> None:
    manifest = PluginManifest.from_distribution("napari-jnet")
    offered = manifest.contributions.configurations["keys"].properties
    assert {name: (p.title, p.default, p.description) for name, p in offered.items()} == {
        c.id: (c.title, c.shortcut, f"{c.tooltip} Empty for no shortcut.")
        for c in COMMANDS.values()
    }


def test_a_shortcut_acts_until_the_widget_ends(viewer, commands) -> None:
    done: list[str] = []
    detach = commands.attach({"train": lambda: done.append("train")})
    assert press(viewer, "Shift+T")
    assert done == ["train"]
    detach()
    assert not press(viewer, "Shift+T")
    assert not commands.run("train")


def test_of_two_widgets_the_newer_one_acts_and_the_older_one_again_after_it(
    viewer, commands
) -> None:
    done: list[int] = []
    commands.attach({"train": lambda: done.append(1)})
    detach = commands.attach({"train": lambda: done.append(2)})
    press(viewer, "Shift+T")
    detach()
    detach()
    press(viewer, "Shift+T")
    assert done == [2, 1]


def test_methods_are_not_kept_alive(viewer, commands) -> None:
    class Widget:
        def train(self) -> None:
            raise AssertionError("gone")

    widget = Widget()
    commands.attach({"train": widget.train})
    del widget
    assert press(viewer, "Shift+T")


def test_a_changed_shortcut_acts_at_once(viewer, commands, settings) -> None:
    done: list[int] = []
    told: list[str] = []
    commands.changed.connect(lambda: told.append(commands.shortcut("delete")))
    commands.attach({"delete": lambda: done.append(1)})
    settings.delete = "shift-w"
    assert press(viewer, "Shift+W")
    assert not press(viewer, "Shift+D")
    settings.delete = ""
    assert not press(viewer, "Shift+W")
    settings.delete = "Shift+D"
    assert press(viewer, "Shift+D")
    assert done == [1, 1]
    assert told == ["Shift+W", "", "Shift+D"]


def test_a_shortcut_that_a_script_bound_stays_its_own(viewer, commands) -> None:
    done: list[str] = []
    viewer.bind_key("Shift-T", lambda _: done.append("script"))
    detach = commands.attach({"train": lambda: done.append("train")})
    press(viewer, "Shift+T")
    assert done == ["script"]
    detach()
    assert press(viewer, "Shift+T")


def test_a_shortcut_bound_over_ours_later_is_not_taken_away(viewer, commands) -> None:
    done: list[str] = []
    detach = commands.attach({"train": lambda: done.append("train")})
    viewer.bind_key("Shift-T", lambda _: done.append("script"), overwrite=True)
    detach()
    press(viewer, "Shift+T")
    assert done == ["script"]


def test_a_shortcut_that_the_user_gives_to_napari_is_napari_s(viewer, commands) -> None:
    commands.attach({"train": lambda: None})
    napari = get_settings().shortcuts
    before = dict(napari.shortcuts)
    try:
        napari.shortcuts = {**before, "napari:toggle_grid": [KeyBinding.from_str("Shift+T")]}
        assert not press(viewer, "Shift+T")
    finally:
        napari.shortcuts = before
    assert press(viewer, "Shift+T")


@pytest.mark.parametrize("text", ["Shift+", "Shift", "Shift+A Shift+B", "nonsense", " "])
def test_what_is_not_one_key_is_no_shortcut(commands, settings, text) -> None:
    settings.delete = text  # in napari's preferences, which refuse nothing
    assert commands.shortcut("delete") == ""
    commands.attach({"delete": lambda: None})


def test_of_two_commands_with_one_shortcut_the_first_of_the_list_has_it(
    viewer, commands, settings
) -> None:
    done: list[str] = []
    commands.attach({name: lambda name=name: done.append(name) for name in ("delete", "train")})
    settings.delete = "shift+t"
    press(viewer, "Shift+T")
    assert done == ["train"]
    assert not press(viewer, "Shift+D")


def test_tooltips_name_the_shortcut(commands, settings) -> None:
    assert commands.tooltip("train") == "Train a network on what is annotated. (Shift+T)"
    settings.train = ""
    assert commands.tooltip("train") == "Train a network on what is annotated."
