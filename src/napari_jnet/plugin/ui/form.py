"""Forms of magicgui widgets; type, limits, choices, default and tooltip come from the configuration."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from functools import partial
from operator import attrgetter
from pathlib import Path
from typing import Any

from magicgui.widgets import FileEdit, FloatSlider, LineEdit, create_widget
from magicgui.widgets.bases import CategoricalWidget, RangedWidget, SliderWidget
from psygnal import Signal
from qtpy.QtWidgets import QAbstractSpinBox, QComboBox, QDoubleSpinBox, QFormLayout, QMenu, QSlider
from superqt.utils import qthrottled

from napari_jnet.config import SECTIONS, Config, FieldError, Option, options, read_literal
from napari_jnet.plugin.ui.theme import set_style
from napari_jnet.plugin.ui.widgets import WrappedLabel

FILE, FOLDER, EITHER = "r", "d", "either"
_THROTTLE_MS = 25
_READOUT = "background: transparent; border: 0; min-width: 40px; padding: 0;"  # napari: 70 px
_ARGUMENTS = ("annotation", "value", "widget_type")  # of create_widget; the rest are options


class LiteralEdit(LineEdit):
    """A line for lists and optional numbers, as Python or JSON write them; empty is the default.

    magicgui shows ``float | None`` as 0, and its own line of literals raises while one types.
    """

    default: Any = None

    def get_value(self) -> Any:
        """Return the value; text that cannot be read stays text, which the configuration refuses."""
        text = super().get_value().strip()
        value = read_literal(text) if text else self.default
        if isinstance(self.default, tuple) and not isinstance(value, str):
            return tuple(value) if isinstance(value, (list, tuple)) else (value,)
        return value

    def set_value(self, value: Any) -> None:
        """Show a value; the default as an empty line with a placeholder."""
        super().set_value("" if value == self.default else json.dumps(value))


class PathEdit(FileEdit):
    """A path to type or to choose: a file ("r"), a folder ("d") or "either"; None where nothing is typed.

    magicgui gives ``Path(".")`` for an empty line, and keeps "~" in what is typed.
    """

    def __init__(self, mode: str = FILE, placeholder: str = "", **options: Any) -> None:
        first = FOLDER if mode == EITHER else mode
        super().__init__(mode=first, **{**options, "nullable": True})
        self.line_edit.native.setPlaceholderText(placeholder)
        self.line_edit.changed.connect(lambda text: setattr(self.line_edit, "tooltip", text))
        self.choose_btn.tooltip = "Browse"
        self.choose_btn.text = "…"
        self.choose_btn.max_width = 28
        if mode == EITHER:
            menu = QMenu(self.choose_btn.native)
            menu.addAction("File…", partial(self._choose, FILE))
            menu.addAction("Folder…", partial(self._choose, FOLDER))
            self.choose_btn.native.setMenu(menu)
            self.choose_btn.native.setStyleSheet("QPushButton::menu-indicator { image: none; }")

    def get_value(self) -> Path | None:
        """Return the path, or None where nothing is typed."""
        text = self.line_edit.value.strip()
        return Path(text).expanduser() if text else None

    def set_value(self, value: Any) -> None:
        """Show a path as it is given; None empties the line."""
        self.line_edit.value = "" if value is None else str(value)

    def _choose(self, mode: str) -> None:
        self.mode = mode
        self.choose_btn.text = "…"  # the mode sets another text
        self.choose_btn.changed.emit(True)


class Form:
    """Rows of fields with names, such as ``training.seed``, in a layout of Qt."""

    changed = Signal(str)  # the name of a field that somebody changed or a script `set`
    throttled = Signal()  # after changes, at most forty times a second

    def __init__(self, rows: QFormLayout) -> None:
        self.rows = rows  # get the rows, until it is set to another layout
        self._widgets: dict[str, Any] = {}
        self._defaults: dict[str, Any] = {}
        self._shown: dict[str, tuple[Any, Any]] = {}  # what is read, of what was set
        self._errors: dict[str, WrappedLabel] = {}
        self.touched: set[str] = set()  # names of the fields that were changed
        self.start = Config()  # what the form does not show is as it is there
        self._throttle = qthrottled(
            self.throttled.emit, timeout=_THROTTLE_MS, parent=rows.parentWidget()
        )

    def __getitem__(self, name: str) -> Any:
        """Return the magicgui widget of a field."""
        return self._widgets[name]

    def add(self, name: str, title: str, *, hint: str = "", **given: Any) -> Any:
        """Add a row for a field of the configuration, ``section.field``, or any other; return its widget.

        ``given`` is for `magicgui.widgets.create_widget`: ``annotation``, ``value``, ``widget_type`` and the
        options of that widget, in place of what follows from the configuration.  A ``hint`` makes the field
        a `LiteralEdit`, which shows it where it is empty.
        """
        if "." in name:
            section, field = name.split(".")
            option = options(SECTIONS[section])[field]
            given = {**_widget_options(option, hint), **given}
            title += f" ({option.unit})" if option.unit else ""
        arguments = {key: given.pop(key) for key in _ARGUMENTS if key in given}
        widget: Any = create_widget(**arguments, options=given)
        native = widget.native
        native.setToolTip(widget.tooltip)
        if isinstance(widget, LiteralEdit):
            widget.default = arguments["value"]
            native.setPlaceholderText(hint or json.dumps(widget.default or "automatic").strip('"'))
        elif isinstance(widget, SliderWidget):
            slider = native.findChild(QSlider)
            slider.setPageStep((slider.maximum() - slider.minimum()) // 20)
            native.findChild(QAbstractSpinBox).setStyleSheet(_READOUT)
        elif isinstance(native, QDoubleSpinBox) and widget.max <= 1:
            native.setDecimals(4)
        elif isinstance(native, QComboBox):
            native.activated.connect(lambda _: self.touched.add(name))
            native.setSizeAdjustPolicy(
                native.SizeAdjustPolicy.AdjustToMinimumContentsLengthWithIcon
            )
            native.setMinimumContentsLength(8)  # a long title widens no dock
        self.rows.addRow(title, native)
        if isinstance(widget, LiteralEdit):  # other widgets hold only what fits
            self._errors[name] = error = WrappedLabel()
            set_style(error, "color: @error;")
            self.rows.addRow(error)
        self._widgets[name] = widget
        self._defaults[name] = arguments.get("value", widget.value)
        self.show({name: self._defaults[name]})
        widget.changed.connect(partial(self._on_changed, name))
        return widget

    def value(self, name: str) -> Any:
        """Return the value of a field; a number is exactly what was set, though fewer digits are shown."""
        value, (read, shown) = _read(self._widgets[name]), self._shown[name]
        return shown if isinstance(value, float) and value == read else value

    def values(self) -> dict[str, Any]:
        """Return all values by their names."""
        return {name: self.value(name) for name in self._widgets}

    def chosen(self) -> dict[str, Any]:
        """Return the values that differ from the defaults."""
        return {name: v for name, v in self.values().items() if v != self._defaults[name]}

    @property
    def config(self) -> Config:
        """`start` with the values of the form; reading raises `ValueError` where one does not fit."""
        return _replace(self.start, {n: v for n, v in self.values().items() if "." in n})

    @config.setter
    def config(self, config: Config) -> None:
        self.start = config
        self.show({name: attrgetter(name)(config) for name in self._widgets if "." in name})

    def set(self, values: Mapping[str, Any]) -> None:
        """Set values as a user does; raises `ValueError` where a name is not one of the choices."""
        for name, value in values.items():
            self.show({name: value})
            self._on_changed(name)

    def show(self, values: Mapping[str, Any]) -> None:
        """Set values that nobody chose, without `changed`; see `set`."""
        for name, value in values.items():
            widget = self._widgets[name]
            if isinstance(widget, CategoricalWidget) and value not in widget.choices:
                known = ", ".join(str(choice) for choice in widget.choices)
                raise ValueError(f"{name} is {value!r}; it must be one of {known}.")
            with widget.changed.blocked():
                if isinstance(widget, RangedWidget) and value > widget.max:
                    widget.max = value
                widget.value = value
            self._shown[name] = _read(widget), value
            self._show_error(name, "")

    def set_choices(self, name: str, choices: Sequence[tuple[str, Any]]) -> None:
        """Replace titles and choices; the value stays where it is one of them, else the first is chosen."""
        widget, value = self._widgets[name], self.value(name)
        with widget.changed.blocked():
            widget.choices = ()  # magicgui keeps the place of a title that is there already
            widget.choices = lambda _widget: choices  # a list would be reset with the parent
        self.show({name: value if value in widget.choices else widget.choices[0]})

    def set_defaults(self, values: Mapping[str, Any]) -> None:
        """Change defaults, and the values of those fields where nobody chose another."""
        chosen = self.chosen()
        self.show({name: value for name, value in values.items() if name not in chosen})
        self._defaults.update(values)

    def set_visible(self, name: str, visible: bool) -> None:
        """Show or hide a row."""
        self._layout(name).setRowVisible(self._widgets[name].native, visible)
        if error := self._errors.get(name):
            self._layout(name).setRowVisible(error, visible and bool(error.text()))

    def _show_error(self, name: str, text: str) -> None:
        """Write below a field what is wrong with it; "" where nothing is."""
        if error := self._errors.get(name):
            error.setText(text)
            self._layout(name).setRowVisible(error, bool(text))

    def _layout(self, name: str) -> Any:
        return self._widgets[name].native.parentWidget().layout()

    def _on_changed(self, name: str) -> None:
        self.touched.add(name)
        if name in self._errors:
            try:
                _replace(Config(), {name: self.value(name)})
                self._show_error(name, "")
            except ValueError as error:
                self._show_error(name, str(error))
        self.changed.emit(name)
        self._throttle()


def _replace(config: Config, values: Mapping[str, Any]) -> Config:
    try:
        return config.replace(values)
    except FieldError as error:
        raise ValueError(error.in_form) from error


def _widget_options(option: Option, hint: str) -> dict[str, Any]:
    """Return what `Form.add` needs for a field of the configuration."""
    made: dict[str, Any] = {"value": option.default, "tooltip": option.help}
    if hint or option.optional or isinstance(option.default, tuple):
        return {**made, "widget_type": LiteralEdit}
    if option.choices is not None:
        return {**made, "choices": list(option.choices)}
    if option.kind in (int, float):
        made |= {"min": option.minimum, "max": option.maximum}
    return {**made, "annotation": option.kind}


def _read(widget: Any) -> Any:
    """Return the value; magicgui's slider has 0.57 as 0.569999."""
    value = widget.value
    return round(value, 4) if isinstance(widget, FloatSlider) else value
