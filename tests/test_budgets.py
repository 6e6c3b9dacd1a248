"""Budgets: the time that is named, and a network that the computer trains in it."""

import pytest

from napari_jnet.budgets import BUDGETS, budget_settings, default_budget, describe_budget
from napari_jnet.config import PRESETS, preset
from napari_jnet.hardware import Hardware

CPU, SMALL, LARGE = Hardware("cpu", 2), Hardware("cuda", 8, 4.0), Hardware("cuda", 16, 80.0)


@pytest.mark.parametrize("hardware", [CPU, SMALL, LARGE, Hardware("mps", 8)])
@pytest.mark.parametrize("name", list(PRESETS))
def test_every_budget_fits_every_preset(hardware, name):
    for budget in BUDGETS:
        config = preset(name).replace(budget_settings(budget, hardware, name))
        assert config.training.minutes == BUDGETS[budget].minutes
        assert describe_budget(budget, hardware)


def test_more_memory_or_more_time_makes_a_wider_network():
    def width(budget, hardware):
        return preset("unet").replace(budget_settings(budget, hardware)).network.channels

    assert width("standard", CPU) == width("quick", SMALL) == 16
    assert width("overnight", CPU) == width("quick", LARGE) == 32
    assert width("long", LARGE) == 64


def test_a_gpu_takes_larger_batches_where_it_has_the_memory():
    assert "training.batch_size" not in budget_settings("standard", CPU)
    assert "training.batch_size" not in budget_settings("standard", SMALL)
    assert budget_settings("standard", Hardware("cuda", 8, 12.0))["training.batch_size"] == 8
    assert budget_settings("standard", LARGE)["training.batch_size"] == 16


def test_presets_of_papers_stay_as_published():
    assert budget_settings("overnight", LARGE, "unet-paper") == {"training.minutes": 480.0}


def test_the_proposed_budget_is_there():
    assert default_budget(CPU) == "standard"
    assert default_budget(LARGE) in BUDGETS
