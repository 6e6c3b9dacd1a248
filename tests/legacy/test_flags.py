"""The command line of the original's script: what is read, and what is refused."""

from __future__ import annotations

import json
import re
import shlex

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from napari_jnet.config import Config, FieldError, OriginalAugmentation, options, preset
from napari_jnet.legacy.flags import Flags, parse_flags

TOY = """
--images_idx '{"01":["002","005","021"],"02":["006","007","014"]}' --load_dataset_to_ram 1
--num_workers 0 --dataset_len_multiplier 2 --batch_size 2 --num_epochs 100 --save_model_frequency 10
--aug_elastic_params "[[50,5,5],[-1,-1,1]]" --resolution_levels "[-2,-1]"
--structure "[[3,16,3],[2,8,3]]" --dt_bound 3 --validation_percentage 0.17 --mode train
--dataset_root DIC-C2DH-HeLa_training --output_dir results
"""
LEAST = """--mode train --dataset_root d --images_idx '{"01":["2"]}' --output_dir o
--resolution_levels "[0]" --structure "[[1,2,3]]" """


def test_the_toy_example_is_read_verbatim() -> None:
    flags = parse_flags(shlex.split(TOY))
    assert flags.mode == "train"
    assert dict(flags.images_idx) == {"01": ("002", "005", "021"), "02": ("006", "007", "014")}
    assert flags.structure == ((3, 16, 3), (2, 8, 3))
    assert flags.resolution_levels == (-2, -1)
    assert flags.aug_elastic_params == ((50, 5, 5), (-1, -1, 1))
    assert (flags.dt_bound, flags.validation_percentage) == (3.0, 0.17)
    assert (flags.batch_size, flags.num_epochs, flags.save_model_frequency) == (2, 100, 10)


def test_defaults_are_the_original_s() -> None:
    flags = parse_flags(shlex.split(LEAST))
    expected = {
        "dt_bound": 9, "batch_size": 1, "batchnorm_momentum": 0.1, "learning_rate": 0.0001,
        "num_epochs": 5000, "save_model_frequency": 200, "validation_percentage": 0,
        "dataset_len_multiplier": 1, "load_dataset_to_ram": 0, "num_workers": 0, "cuda": 0,
        "model_file": "", "non_decreasing_output_file": "", "aug_crop_params": (),
        "aug_elastic_params": (), "aug_intensity_params": (), "aug_rotation": 0,
        "aug_rotation_flip": 0,
    }  # fmt: skip
    assert {name: getattr(flags, name) for name in expected} == expected


@pytest.mark.parametrize("words", ["--cuda", "--cuda 1", "--cuda True", "--cuda=1"])
def test_a_switch_stands_alone_or_has_a_value(words: str) -> None:
    flags = parse_flags([*shlex.split(words), *shlex.split(LEAST)])
    assert flags.cuda == 1 and flags.mode == "train"
    assert parse_flags([*shlex.split(LEAST), "--cuda", "0"]).cuda == 0


def test_workers_may_be_minus_one() -> None:
    assert parse_flags([*shlex.split(LEAST), "--num_workers", "-1"]).num_workers == -1


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("--num_epoch 3", "did you mean '--num_epochs'"),
        ("--elastic 1", "has no '--elastic'"),
        ("train", "'train' is not a flag"),
        ("--batch_size", "--batch_size has no value; Samples in a batch."),
        ("--batch_size two", "--batch_size is 'two'; it "),
        ("--batch_size 1.5", "--batch_size is 1.5; it "),
        ("--batch_size 0", "--batch_size is 0; it should be greater than or equal to 1"),
        ("--dt_bound 0", "--dt_bound is 0; it should be greater than or equal to 1"),
        ("--num_workers -2", "it should be greater than or equal to -1"),
        ("--learning_rate []", "--learning_rate is []; it "),
        ("--learning_rate nan", "--learning_rate is 'nan'; it "),
        ("--learning_rate None", "--learning_rate is None; it "),
        ("--aug_elastic_params [(1e300,5,1)]", "it should be less than or equal to 1000000"),
        ("""--aug_elastic_params "[(50,5,'5')]" """, "write it as [[50, 5, 5], [-1, -1, 1]]"),
        (
            "--structure [[1,2,2.5]]",
            "--structure is [[1, 2, 2.5]]; it should be a valid integer: write it as [[3, 16, 3]",
        ),
        ("--images_idx '{1:[2]}'", "must name frames of sequences"),
        ("--cuda 2", "it should be less than or equal to 1"),
        ("--mode test", "it should be 'train', 'eval' or 'vis'"),
        ("--images_idx [1]", "must name frames of sequences"),
        ("""--images_idx '{"01":["a"]}'""", "must name frames of sequences"),
        ("""--images_idx '{"01":[]}'""", "only in --mode vis"),
        ("--images_idx '{01}'", "must name frames of sequences"),
        ("--resolution_levels -1", "write it as"),
        ("--structure [1,2,3]", "write it as"),
        ("--aug_elastic_params [[50,5]]", "it is too short: write it as [[50, 5, 5], [-1, -1, 1]]"),
        ("--aug_elastic_params [[50,0,1]]", "sigma must be above 0"),
        ("--aug_elastic_params [[50,5,0]]", "no weight above 0"),
        ("--aug_elastic_params [[50,5,-1]]", "it should be greater than or equal to 0"),
        ("--aug_crop_params [[64.5,64,1]]", "integers, in pixels"),
        ("--aug_symmetries 7", "it should be a multiple of 2"),
        ("--mode eval", "--model_file must be given"),
        ("--structure []", "--structure must be given"),
        ("--output_dir ''", "--output_dir must be given"),
        ("--non_decreasing_output_file f", "--validation_percentage is 0"),
    ],
)
def test_what_does_not_fit_is_refused(words: str, said: str) -> None:
    with pytest.raises(ValueError, match=re.escape(said)):
        parse_flags([*shlex.split(LEAST), *shlex.split(words)])


@pytest.mark.parametrize(
    ("words", "name", "value"),
    [
        (
            "--aug_elastic_params '[(50,5,5),(-1,-1,1)]'",
            "aug_elastic_params",
            ((50, 5, 5), (-1, -1, 1)),
        ),
        (
            "--aug_elastic_params '((50, 5, 5), [-1, -1, 1],)'",
            "aug_elastic_params",
            ((50, 5, 5), (-1, -1, 1)),
        ),
        ("--aug_elastic_params=' [ ( 5e1 , 5. , .5 ) , ]'", "aug_elastic_params", ((50, 5, 0.5),)),
        ("--aug_elastic_params '(50,5,5),'", "aug_elastic_params", ((50, 5, 5),)),
        ("--aug_intensity_params '[(0.1,0.2,1)]'", "aug_intensity_params", ((0.1, 0.2, 1),)),
        ("--aug_crop_params '[(256,256,1)]'", "aug_crop_params", ((256, 256, 1),)),
        ("--aug_crop_params None", "aug_crop_params", ()),
        ("--aug_crop_params '()'", "aug_crop_params", ()),
        ("--resolution_levels '(-1,0)'", "resolution_levels", (-1, 0)),
        ("--resolution_levels '-1, 0'", "resolution_levels", (-1, 0)),
        ("--structure '[(3,16,3),(2,8,3)]'", "structure", ((3, 16, 3), (2, 8, 3))),
        (
            """--images_idx "{'01': ('002', 5), '02': [],}" """,
            "images_idx",
            (("01", ("002", "5")), ("02", ())),
        ),
        ("--learning_rate 1e-3", "learning_rate", 1e-3),
        ("--learning_rate .001", "learning_rate", 1e-3),
        ("--dt_bound +9", "dt_bound", 9.0),
        ("--seed ' -1'", "seed", -1),
        ("--aug_rotation true", "aug_rotation", 1),
    ],
)
def test_whatever_python_writes_is_read(words: str, name: str, value: object) -> None:
    assert getattr(parse_flags([*shlex.split(LEAST), *shlex.split(words)]), name) == value


def test_the_published_command_with_tuples_is_the_one_with_lists() -> None:
    lists = shlex.split(TOY)
    tuples = ["[(50,5,5),(-1,-1,1)]" if word == "[[50,5,5],[-1,-1,1]]" else word for word in lists]
    assert tuples != lists and parse_flags(tuples) == parse_flags(lists)


_WORDS = st.sampled_from(
    [
        "[]",
        "{}",
        "None",
        "True",
        "[None]",
        "nan",
        "-inf",
        "1e400",
        "9" * 5000,
        "[" * 3000,
        "()",
        "((),)",
        "[[[]]]",
        "{'01': 5}",
        "{1: [2]}",
        "{'01': {}}",
        "{'01': [True]}",
        "{1, 2}",
        "1j",
        "b'x'",
        "'x",
        "lambda: 1",
        "\x00",
        "\ud800",
        "__import__('os')",
        "[(1e300,1,1)]",
        "[(50,5,'5')]",
        "[[True,1,1]]",
        "[-12, -11]",
        "[-1.0, 0]",
        "0x1",
        "1_0",
        "",
    ]
) | st.text(max_size=12)


@settings(deadline=None, max_examples=400)
@given(st.sampled_from([*options(Flags), "", "flag"]), _WORDS, st.booleans())
def test_any_words_give_flags_or_one_sentence(name: str, text: str, joined: bool) -> None:
    words = [f"--{name}={text}"] if joined else [f"--{name}", text]
    try:
        assert isinstance(parse_flags([*shlex.split(LEAST), *words]), Flags)
    except ValueError as error:
        assert type(error) in (ValueError, FieldError)
        assert "\n" not in str(error) and len(str(error)) < 1200


def test_a_suggested_command_is_read_again() -> None:
    flags = parse_flags(shlex.split(TOY))
    again = parse_flags(
        shlex.split(flags.command("vis", "results/model_last", every_frame=True))[2:]
    )
    assert again.mode == "vis" and dict(again.images_idx) == {"01": (), "02": ()}
    assert again.dt_bound == 3 and again.resolution_levels == (-2, -1)
    scored = parse_flags(shlex.split(flags.command("eval", "m"))[2:])
    assert scored.images_idx == flags.images_idx


def test_flags_become_a_configuration_and_back() -> None:
    flags = parse_flags(shlex.split(TOY))
    config = flags.config(flags.structure)
    again = config.augmentation.original
    assert isinstance(again, OriginalAugmentation)
    assert again.aug_elastic_params == flags.aug_elastic_params
    assert Config.from_dict(json.loads(json.dumps(config.to_dict()))) == config
    assert config.training.loss == "bce+mse" and not config.training.average_weights


def test_the_preset_is_checked_when_it_is_made() -> None:
    config = preset("original")
    with pytest.raises(ValueError, match="did you mean 'aug_rotation'"):
        config.replace({"augmentation.original": '{"aug_rotate": 1}'})
    with pytest.raises(ValueError, match="it must hold values by their names"):
        config.replace({"augmentation.original": "rotation"})
    with pytest.raises(ValueError, match=r"network\.classes=1"):
        config.replace({"network.classes": 3})
    for name, value in (
        ("class_balance", True),
        ("border_weight", 10.0),
        ("loss", "dice+smooth_l1"),
    ):
        with pytest.raises(ValueError, match="weights of pixels"):
            config.replace({f"training.{name}": value})


def test_flags_may_be_given_as_an_object() -> None:
    config = preset("original").replace({"augmentation.original": {"aug_rotation": 1}})
    assert config.augmentation.original.aug_rotation == 1
