"""The configuration: checked when made, plain when saved."""

from __future__ import annotations

import copy
import json
import pickle
import re
from pathlib import Path
from typing import get_origin

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from napari_jnet.cli.train import make_config
from napari_jnet.config import PRESETS, RENAMED, SECTIONS, Config, FieldError, options, preset
from napari_jnet.io.stack import AnnotatedFrame
from napari_jnet.labels import UNKNOWN, LabelKind
from napari_jnet.training.estimate import adapt, typical_diameter


@pytest.mark.parametrize("name", PRESETS)
def test_presets_survive_json(name: str) -> None:
    config = preset(name)
    assert Config.from_dict(json.loads(json.dumps(config.to_dict()))) == config


def test_every_option_has_help() -> None:
    for section in SECTIONS.values():
        for option in options(section).values():
            assert option.help.endswith((".", ")")), option.name


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"training.learning_rate": -1.0},
            r"learning_rate is -1.0; it should be greater than or equal to 0.00000001",
        ),
        ({"training.epochs": 0}, r"epochs is 0; it should be greater than or equal to 1"),
        ({"training.epochs": "many"}, r"epochs is 'many'; it should be a valid integer"),
        (
            {"training.device": "gpu"},
            r"device is 'gpu'; it should be 'auto', 'cpu', 'cuda' or 'mps'",
        ),
        ({"training.learning_rat": 1}, r"did you mean 'learning_rate'"),
        ({"trainin.epochs": 1}, r"did you mean 'training'"),
        ({"network.resolution_levels": [-1, -2]}, r"consecutive and ascending"),
        (
            {"network.resolution_levels": [0, 1]},
            r"is \[0, 1\]; it should be less than or equal to 0: write it as \[-2, -1, 0\]",
        ),
        ({"training.seed": None}, r"seed is None; it should be a valid integer"),
        ({"targets.dt_bound": float("nan")}, r"dt_bound is nan"),
        ({"training.best_by": "clas:2"}, r"best_by is 'clas:2'; it is auto, loss, iou"),
    ],
)
def test_bad_values_are_refused(changes: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Config().replace(changes)


def test_unknown_preset() -> None:
    with pytest.raises(ValueError, match=r"did you mean 'unet'"):
        preset("unett")


def discs(diameter: int, size: int = 256) -> AnnotatedFrame:
    rows, columns = np.ogrid[:size, :size]
    labels = np.zeros((size, size), np.int32)
    labels[(rows - 60) ** 2 + (columns - 60) ** 2 < (diameter / 2) ** 2] = 1
    labels[(rows - 190) ** 2 + (columns - 190) ** 2 < (diameter / 2) ** 2] = 2
    return AnnotatedFrame("t0", labels.astype(np.float32), labels)


def test_the_size_of_the_objects_decides() -> None:
    small, large = (adapt(Config(), [discs(diameter)]) for diameter in (20, 110))
    assert small.network.resolution_levels[-1] == 0
    assert large.network.resolution_levels[-1] < small.network.resolution_levels[-1]
    assert small.targets.dt_bound < large.targets.dt_bound < 55
    assert 0 < small.instances.min_size < 0.5 * np.pi * 10**2


def test_what_is_given_stays() -> None:
    given = Config().replace(
        {
            "targets.dt_bound": 7.0,
            "network.resolution_levels": (-1, 0),
            "instances.min_size": 3,
        }
    )
    found = adapt(given, [discs(110)])
    assert found.targets.dt_bound == 7
    assert found.network.resolution_levels == (-1, 0)
    assert found.instances.min_size == 3


def test_classes_are_measured_by_their_connected_parts() -> None:
    frame = discs(40)
    binary = AnnotatedFrame("t0", frame.image, np.minimum(frame.labels, 1), LabelKind.CLASSES)
    assert adapt(Config(), [binary]).targets == adapt(Config(), [frame]).targets


def test_a_frame_full_of_classes_is_measured_class_by_class() -> None:
    frame = discs(40)
    full = AnnotatedFrame("t0", frame.image, np.where(frame.labels > 0, 2, 1), LabelKind.CLASSES)
    assert typical_diameter([full]) < 100  # not the 256 px of the frame
    assert adapt(Config(), [full]).instances.min_size < 0.5 * np.pi * 20**2


def test_a_network_of_thin_lines_is_as_wide_as_its_lines() -> None:
    labels = np.zeros((256, 256), np.int32)
    labels[::32], labels[:, ::32] = 1, 1
    labels = np.maximum(labels, np.roll(labels, 3, (0, 1)))  # lines of 4 px, all connected
    labels = np.maximum(np.maximum(labels, np.roll(labels, 1, 0)), np.roll(labels, 1, 1))
    lines = AnnotatedFrame("t0", labels.astype(float), labels, LabelKind.CLASSES)
    assert typical_diameter([lines]) < 15
    assert adapt(Config(), [lines]).network.resolution_levels[-1] == 0


def scribbled(length: int) -> AnnotatedFrame:
    """Return a frame with two strokes in cells and one on the background; the rest is unknown."""
    labels = np.full((256, 256), UNKNOWN, np.int32)
    labels[60:63, 20 : 20 + length] = 1
    labels[160 : 160 + length, 120:123] = 1
    labels[120:123, 100:200] = 0
    return AnnotatedFrame("t0", np.zeros((256, 256)), labels, LabelKind.CLASSES)


def test_strokes_are_measured_by_their_length() -> None:
    assert typical_diameter([scribbled(80)]) == pytest.approx(80, abs=1)
    assert typical_diameter([discs(40)]) == pytest.approx(40, abs=1)


def test_specks_have_the_smallest_diameter_that_a_configuration_takes() -> None:
    labels = np.zeros((64, 64), np.int32)
    labels[::8, ::8] = np.arange(1, 65).reshape(8, 8)
    specks = AnnotatedFrame("t0", labels.astype(float), labels, LabelKind.INSTANCES)
    assert typical_diameter([specks]) == adapt(Config(), [specks]).network.diameter == 3
    tops = [
        adapt(Config(), [scribbled(length)]).network.resolution_levels[-1]
        for length in (30, 80, 90)
    ]
    assert tops == [0, -1, -1]


def test_strokes_teach_no_distance_but_cells_painted_whole_do() -> None:
    assert not adapt(Config(), [scribbled(60)]).network.distance
    assert adapt(Config(), [scribbled(60)]).instances.min_size == 0  # a stroke is no object
    whole = AnnotatedFrame(
        "t1", np.zeros((256, 256)), np.minimum(discs(40).labels, 1), LabelKind.CLASSES
    )
    assert adapt(Config(), [scribbled(60), whole]).network.distance


def test_colour_frames_have_their_channels() -> None:
    frame = discs(40)
    colour = AnnotatedFrame("t0", np.stack([frame.image] * 3, -1), frame.labels)
    assert adapt(Config(), [colour]).network.in_channels == 3


ODD = [
    None, True, False, 0, 1, -1, 2.5, 1.0, 10**30, 10**5000, 1e300, float("nan"), float("inf"), "", "no", "1",
    "None", "\ud800", "x" * 10000, b"x", [], [1], [[1]], [[1, 2, 3]], [None], [0.5, 0.5], [3, 1], [[["a"]]],
    [-1, 0], [0, -1], {}, {"a": 1}, {1: 2}, {1, 2}, 1j, object(), np.int64(3), np.float32(0.5), range(3),
    [["line", "#ff0000"]], ["line", "#ff0000"], [[8, 32]], [[8, 32, 2.0]], [[8, 32, True]],
]  # fmt: skip
FIELDS = [f"{section}.{name}" for section, cls in SECTIONS.items() for name in options(cls)]


@pytest.mark.parametrize("field", FIELDS)
def test_a_value_fits_or_is_refused_in_one_sentence(field: str) -> None:
    section, name = field.split(".")
    option = options(SECTIONS[section])[name]
    for value in ODD:
        try:
            config = Config().replace({field: value})
        except ValueError as error:
            assert type(error) in (ValueError, FieldError)
            assert str(error).startswith(field), error
            assert "\n" not in str(error) and len(str(error)) < 800
            continue
        kept = getattr(getattr(config, section), name)
        if option.choices:
            assert kept in option.choices and type(kept) is type(option.default)
        else:
            assert kept is None or isinstance(kept, get_origin(option.kind) or option.kind)
        assert Config.from_dict(json.loads(json.dumps(config.to_dict()))) == config


_PLAIN = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8)
_TREE = st.recursive(
    _PLAIN,
    lambda part: st.lists(part, max_size=4) | st.dictionaries(st.text(max_size=3), part),
    max_leaves=6,
)


@settings(deadline=None, max_examples=300)
@given(st.sampled_from([*FIELDS, "training", "", "network.", "x.y"]), _TREE)
def test_json_and_settings_give_a_configuration_or_one_sentence(field: str, value: object) -> None:
    """Of ``--set`` too, as JSON, as Python and as plain words."""
    section, _, name = field.partition(".")
    tries = [
        lambda: Config.from_dict({section: {name: value}}),
        lambda: Config.from_dict({section: value}),
        lambda: Config.from_dict(value),
        *(
            lambda text=text: make_config(settings=[f"{field}={text}"])
            for text in (json.dumps(value), repr(value), str(value))
        ),
    ]
    for attempt in tries:
        try:
            assert isinstance(attempt(), Config)
        except ValueError as error:
            assert type(error) in (ValueError, FieldError) and "\n" not in str(error)


class TestSettings:
    """What the text of ``--set`` means, by the type of its field."""

    @pytest.mark.parametrize(
        "field", ["augmentation.flip", "network.distance", "training.tensorboard"]
    )
    def test_truth_values_are_understood_or_refused(self, field: str) -> None:
        section, name = field.split(".")
        for text, value in (
            ("true", True),
            (" True ", True),
            ("false", False),
            ("False", False),
        ):
            config = make_config(settings=[f"{field}={text}"])
            assert getattr(getattr(config, section), name) is value
        for text in ("", "1", "None", "[true]", "no", "0.0", "falsch"):
            with pytest.raises(ValueError, match=rf"{field} is .*; it should be true or false"):
                make_config(settings=[f"{field}={text}"])

    @pytest.mark.parametrize("field", ["training.minutes", "targets.dt_bound", "prediction.tile"])
    def test_a_word_for_no_value_is_refused_with_the_right_one(self, field: str) -> None:
        with pytest.raises(ValueError, match=rf"{field} is 'none'; .*, or null for none\."):
            make_config(settings=[f"{field}=none"])
        assert make_config(settings=[f"{field}=null"])

    @pytest.mark.parametrize(
        ("setting", "value"),
        [
            ("training.epochs=None", None),
            ("training.minutes=null", None),
            ("targets.dt_bound=7", 7.0),
            ("training.learning_rate=1e-3", 1e-3),
            ("training.loss=bce+mse", "bce+mse"),
            ("network.padding='valid'", "valid"),
            ('network.padding="valid"', "valid"),
            ("training.pretrained=1", "1"),
            ("network.resolution_levels=[-2, -1]", (-2, -1)),
            ("network.resolution_levels=(-2, -1)", (-2, -1)),
            ("network.resolution_levels=-2,-1", (-2, -1)),
            ("network.structure=[(8,32,3), (2,8,3),]", ((8, 32, 3), (2, 8, 3))),
            ("augmentation.scale=(1, 1.5)", (1.0, 1.5)),
            ("targets.classes=[('a', '#ff0000')]", (("a", "#ff0000"),)),
        ],
    )
    def test_values_are_read_as_their_field_wants_them(self, setting: str, value: object) -> None:
        section, _, name = setting.partition("=")[0].partition(".")
        found = getattr(getattr(make_config(settings=[setting]), section), name)
        assert found == value and type(found) is type(value)

    @pytest.mark.parametrize(
        ("setting", "said"),
        [
            ("training.batch_size=2.5", "training.batch_size is 2.5; it should be a valid integer"),
            ("training.seed=true", "training.seed is True; it should be a valid integer"),
            ("training.seed=None", "training.seed is None; it should be a valid integer"),
            ("training.epochs=inf", "training.epochs is 'inf'; it should be a valid integer"),
            ("training.minutes=Infinity", "training.minutes is inf; it should be a finite number"),
            ("training.minutes=1e30", "it should be less than or equal to 10000000"),
            ("network.structure=99", "network.structure is 99; it should be a list: write it as [["),
            ("network.structure=[[8,32]]", "network.structure is [[8, 32]]; it is too short: write it as [["),
            ("network.distance=[1]", "it should be true or false"),
            ("targets.classes=[1]", "targets.classes is [1]; it should be a list: write it as"),
            ("augmentation.elastic_alpha=-1", "it should be greater than or equal to 0"),
            ("augmentation.original={'aug_rotation': 3}", "it should be less than or equal to 1"),
            ("training.epochs=" + "9" * 5000, "it should be a valid integer"),
            ("network.structure=" + "[" * 5000, "write it as"),
        ],
    )  # fmt: skip
    def test_what_does_not_fit_is_refused_with_its_rule(self, setting: str, said: str) -> None:
        with pytest.raises(ValueError, match=re.escape(said)):
            make_config(settings=[setting])


def test_a_file_names_the_key_that_does_not_fit(tmp_path: Path) -> None:
    file = tmp_path / "config.json"
    for text, said in (
        (
            '{"augmentation": {"flip": "no"}}',
            "augmentation.flip is 'no'; it should be true or false",
        ),
        (
            '{"training": {"batch_size": 2.0}}',
            "training.batch_size is 2.0; it should be a valid integer",
        ),
        ('{"training": {"batchsize": 2}}', "did you mean 'batch_size'"),
        ('{"training": {"epochs": ' + "1" * 5000 + "}}", "cannot be read as a JSON file"),
        ("[" * 100000, "cannot be read as a JSON file"),
        ('\ufeff{"training": {"seed": 0.5}}', "training.seed is 0.5; it should be a valid integer"),
    ):
        file.write_text(text, encoding="utf-8")
        with pytest.raises(ValueError, match=re.escape(said)) as caught:
            make_config(file=file)
        assert str(file) in str(caught.value)


def test_a_configuration_cannot_be_changed_but_kept_and_compared() -> None:
    config = Config().replace({"training.epochs": 3, "network.structure": [[1, 2, 3]]})
    with pytest.raises(ValueError, match="frozen"):
        config.training.epochs = 4  # type: ignore[misc]
    assert pickle.loads(pickle.dumps(config)) == copy.deepcopy(config) == config
    assert len({config, config.replace({"training.epochs": 3})}) == 1
    assert config.training.given() == {"epochs": 3}
    assert config != config.replace({"training.epochs": 4})


def test_a_saved_configuration_means_what_it_meant_before_a_setting_was_there() -> None:
    saved = Config().to_dict()
    for section, name, before in (
        ("network", "standardization", "plain"),
        ("network", "halve_channels", False),
        ("network", "deep_supervision", False),
        ("targets", "relative", False),
        ("augmentation", "warped", 1.0),
    ):
        del saved[section][name]
        assert getattr(getattr(Config.from_saved(saved), section), name) == before
        assert getattr(getattr(Config(), section), name) != before


def test_earlier_names_are_read_everywhere(tmp_path: Path) -> None:
    for name, key in RENAMED.items():
        section, _, old = name.partition(".")
        field = options(SECTIONS[section])[key]
        assert old not in options(SECTIONS[section])
        value = field.choices[0] if field.choices else field.example
        expected = Config().replace({f"{section}.{key}": value})
        assert expected != Config()
        assert Config().replace({name: value}) == expected
        saved = Config.from_saved({section: {old: value}})
        assert getattr(getattr(saved, section), key) == getattr(getattr(expected, section), key)
        assert make_config(settings=[f"{name}={json.dumps(value)}"]) == expected
        file = tmp_path / "config.json"
        file.write_text(json.dumps({section: {old: value}}))
        assert make_config(file=file) == expected
        assert old not in expected.to_dict()[section]


@pytest.mark.parametrize("value", [None, 3, "training"])
def test_a_section_is_made_by_its_class(value: object) -> None:
    with pytest.raises(ValueError, match=r"^Config\.training is .*instance of TrainingConfig"):
        Config(training=value)  # type: ignore[arg-type]
    assert Config(training={"epochs": 1}).training.epochs == 1  # type: ignore[arg-type]
    with pytest.raises(
        ValueError, match=r"TrainingConfig\.epochs is 1\.5; it should be a valid integer"
    ):
        Config(training={"epochs": 1.5})  # type: ignore[arg-type]
