"""Plans: the time that is said, and a network that the computer trains in it."""

import pytest

from napari_jnet.budgets import PLANS, Hardware, default_plan, plan_changes, plan_words
from napari_jnet.config import PRESETS, preset

CPU, SMALL, LARGE = Hardware("cpu", 2), Hardware("cuda", 8, 4.0), Hardware("cuda", 16, 80.0)


@pytest.mark.parametrize("hardware", [CPU, SMALL, LARGE, Hardware("mps", 8)])
@pytest.mark.parametrize("name", list(PRESETS))
def test_every_plan_fits_every_preset(hardware, name):
    for plan in PLANS:
        config = preset(name).replace(plan_changes(plan, hardware, name))
        assert config.training.minutes == PLANS[plan].minutes
        assert plan_words(plan, hardware)


def test_more_memory_or_more_time_makes_a_wider_network():
    def width(plan, hardware):
        return preset("unet").replace(plan_changes(plan, hardware)).network.channels

    assert width("coffee", CPU) == width("quick", SMALL) == 16
    assert width("night", CPU) == width("quick", LARGE) == 32
    assert width("lunch", LARGE) == 64


def test_a_gpu_takes_larger_batches_where_it_has_the_memory():
    assert "training.batch_size" not in plan_changes("coffee", CPU)
    assert "training.batch_size" not in plan_changes("coffee", SMALL)
    assert plan_changes("coffee", Hardware("cuda", 8, 12.0))["training.batch_size"] == 8
    assert plan_changes("coffee", LARGE)["training.batch_size"] == 16


def test_presets_of_papers_stay_as_published():
    assert plan_changes("night", LARGE, "unet-paper") == {"training.minutes": 480.0}


def test_the_proposed_plan_is_there_and_an_unknown_one_is_refused():
    assert default_plan(CPU) == "coffee"
    assert default_plan(LARGE) in PLANS
    with pytest.raises(ValueError, match="did you mean 'lunch'"):
        plan_changes("launch", CPU)
