"""Forms: fields that follow from the configuration, what was chosen in them, and what does not fit."""

from __future__ import annotations

from pathlib import Path

import pytest
from qtpy.QtCore import Qt
from qtpy.QtWidgets import QFormLayout, QLabel, QSlider, QWidget

from napari_jnet.config import Config
from napari_jnet.plugin.ui.form import Form, PathEdit

TIMEOUT = 5000


@pytest.fixture
def rows(qtbot):
    page = QWidget()
    qtbot.addWidget(page)
    yield QFormLayout(page)  # qtbot keeps a weak reference only


def make(rows, *names):
    form = Form(rows)
    for name in names:
        form.add(name, name)
    return form


def type_in(qtbot, form, name, text):
    line = form[name].native
    line.clear()
    qtbot.keyClicks(line, text)


def labels(rows):
    found = rows.parentWidget().findChildren(QLabel)
    return [label.text() for label in found if not label.isHidden()]


def test_a_field_has_default_limits_choices_and_tooltip_of_the_configuration(rows):
    form = make(rows, "training.batch_size", "training.device")
    assert form.values() == {"training.batch_size": 4, "training.device": "auto"}
    assert (form["training.batch_size"].min, form["training.batch_size"].max) == (1, 65536)
    assert form["training.device"].choices == ("auto", "cpu", "cuda", "mps")
    assert form["training.device"].native.toolTip() == "Where to compute."
    assert form.config == Config()


def test_every_field_of_the_configuration_has_a_widget_and_shows_its_default(rows):
    names = [
        f"{section}.{field}" for section, part in Config() for field in type(part).model_fields
    ]
    form = make(rows, *names)
    assert len(form.values()) == len(names) > 50
    assert form.config == Config()
    assert form.chosen() == {}


@pytest.mark.parametrize("name", ["targets.dt_bound", "training.minutes", "training.epochs"])
def test_an_optional_number_is_empty_and_not_0(rows, qtbot, name):
    form = make(rows, name)
    assert form.value(name) is None
    assert form[name].native.placeholderText() == "automatic"
    type_in(qtbot, form, name, "12")
    assert form.value(name) == 12
    form[name].native.clear()
    assert form.value(name) is None


@pytest.mark.parametrize(
    ("text", "levels"),
    [("", ()), ("-1", (-1,)), ("-2, -1, 0", (-2, -1, 0)), ("[-2, -1]", (-2, -1)), ("(-1, 0)", (-1, 0))],
)  # fmt: skip
def test_a_tuple_is_a_line_of_numbers(rows, qtbot, text, levels):
    form = make(rows, "network.resolution_levels")
    type_in(qtbot, form, "network.resolution_levels", text)
    assert form.config.network.resolution_levels == levels
    assert labels(rows) == ["network.resolution_levels"]


def test_nested_tuples_are_typed_as_they_are_shown(rows):
    form = make(rows, "network.structure")
    form.show({"network.structure": ((4, 8, 3), (2, 4, 3))})
    shown = form["network.structure"].native.text()
    form["network.structure"].native.clear()
    assert form.chosen() == {}
    form["network.structure"].native.setText(shown)
    assert form.config.network.structure == ((4, 8, 3), (2, 4, 3))


def test_what_does_not_fit_is_written_below_the_field_and_taken_away(rows, qtbot):
    form = make(rows, "targets.dt_bound", "training.seed")
    type_in(qtbot, form, "targets.dt_bound", "0")
    said = "targets.dt_bound is 0; it should be greater than or equal to 1."
    assert said in labels(rows)
    with pytest.raises(ValueError, match="dt_bound is 0"):
        _ = form.config
    type_in(qtbot, form, "targets.dt_bound", "low")
    said = "targets.dt_bound is 'low'; it should be a valid number, or leave it empty."
    assert said in labels(rows)
    with pytest.raises(ValueError, match="or leave it empty"):
        _ = form.config
    type_in(qtbot, form, "targets.dt_bound", "7")
    assert labels(rows) == ["targets.dt_bound (px)", "training.seed"]


def test_a_value_is_exactly_what_was_set_until_somebody_changes_it(rows):
    form = make(rows, "training.learning_rate", "network.dropout")
    form.add("instances.seed_threshold", "Seeds", widget_type="FloatSlider", step=0.01)
    form.show({"training.learning_rate": 1.23e-6, "instances.seed_threshold": 0.123456789})
    assert form.value("training.learning_rate") == 1.23e-6
    assert form.value("instances.seed_threshold") == 0.123456789
    for hundredths in range(101):  # 0.57 is 0.569999 to magicgui
        form["instances.seed_threshold"].value = hundredths / 100
        assert form.value("instances.seed_threshold") == hundredths / 100


def test_what_the_form_does_not_show_stays(rows):
    form = make(rows, "instances.min_size")
    form.config = Config().replace({"instances.smoothing": 0.3, "instances.min_size": 8})
    form["instances.min_size"].value = 9
    assert form.config == Config().replace({"instances.smoothing": 0.3, "instances.min_size": 9})


def test_defaults_change_where_nobody_chose_another_value(rows):
    form = make(rows, "training.batch_size", "training.patch_size")
    form["training.patch_size"].value = 64
    form.set_defaults({"training.batch_size": 2, "training.patch_size": 128})
    assert form.values() == {"training.batch_size": 2, "training.patch_size": 64}
    assert form.chosen() == {"training.patch_size": 64}


def test_changes_are_told_with_their_name_but_not_what_is_shown(rows, qtbot):
    form = make(rows, "training.seed", "training.average_weights")
    told: list[str] = []
    form.changed.connect(told.append)
    form.show({"training.seed": 3})
    form.set_defaults({"training.seed": 4})
    assert (told, form.touched) == ([], set())
    form["training.average_weights"].native.click()
    assert told == ["training.average_weights"]
    assert form.touched == {"training.average_weights"}
    form.set({"training.seed": 5})
    assert told == ["training.average_weights", "training.seed"]
    assert form.value("training.seed") == 5


def test_changes_in_a_row_are_throttled(rows, qtbot):
    form = Form(rows)
    form.add("instances.min_size", "Smallest", widget_type="Slider", max=5000)
    told: list[int] = []
    form.throttled.connect(lambda: told.append(form.value("instances.min_size")))
    for size in range(1, 100):
        form["instances.min_size"].value = size
    qtbot.waitUntil(lambda: told[-1] == 99, timeout=TIMEOUT)
    assert len(told) < 99


def test_a_slider_obeys_the_keyboard_and_takes_a_value_beyond_its_end(rows, qtbot):
    form = Form(rows)
    form.add("instances.seed_threshold", "Seeds", widget_type="FloatSlider", step=0.01)
    form.add("instances.min_size", "Smallest", widget_type="Slider", max=5000)
    slider = form["instances.seed_threshold"].native.findChild(QSlider)
    qtbot.keyClick(slider, Qt.Key.Key_Right)
    assert form.value("instances.seed_threshold") == 0.51
    qtbot.keyClick(slider, Qt.Key.Key_PageUp)
    assert form.value("instances.seed_threshold") == 0.56
    form.show({"instances.min_size": 9000})
    assert form["instances.min_size"].max == 9000
    assert form.value("instances.min_size") == 9000


def test_another_choice_is_refused_with_those_there_are(rows):
    form = make(rows, "training.device")
    with pytest.raises(ValueError, match="'tpu'; it must be one of auto, cpu, cuda, mps"):
        form.set({"training.device": "tpu"})
    assert form.value("training.device") == "auto"


def test_a_path_is_typed_chosen_or_none(rows, qtbot, monkeypatch, tmp_path):
    form = Form(rows)
    form.add("model", "Model", widget_type=PathEdit, mode="either", placeholder="run folder")
    assert form.value("model") is None
    form["model"].line_edit.value = " ~/runs/001 "
    assert form.value("model") == Path("~/runs/001").expanduser()
    form.show({"model": Path("runs/001")})
    assert form.value("model") == Path("runs/001")
    asked = []
    for action in form["model"].choose_btn.native.menu().actions():
        form["model"]._show_file_dialog = lambda mode, **_: asked.append(mode.name) or tmp_path
        action.trigger()
    assert asked == ["EXISTING_FILE", "EXISTING_DIRECTORY"]
    assert form.value("model") == tmp_path
    assert form["model"].choose_btn.text == "…"


def test_a_row_is_hidden_with_its_error(rows, qtbot):
    form = make(rows, "targets.dt_bound")
    rows.parentWidget().show()
    type_in(qtbot, form, "targets.dt_bound", "0")
    form.set_visible("targets.dt_bound", False)
    assert not any(label.isVisible() for label in rows.parentWidget().findChildren(QLabel))
    form.set_visible("targets.dt_bound", True)
    assert form["targets.dt_bound"].native.isVisible()
