"""V_rand and V_info against loops over pixels."""

from __future__ import annotations

from collections import deque

import numpy as np
import pytest
import skimage

from napari_jnet.evaluation import rand
from napari_jnet.evaluation.rand import best_scores, section_sums


def scores(reference, proposal):
    """Return V_rand and V_info of one section, or of several together."""
    if reference.ndim == 2:
        reference, proposal = reference[None], proposal[None]
    sections = zip(reference, proposal, strict=True)
    return best_scores(sum(section_sums(*section) for section in sections))


def v_rand(*given, **more):
    return scores(*given, **more)[0]


def v_info(*given):
    return scores(*given)[1]


def halves(width: int = 9) -> np.ndarray:
    labels = np.ones((6, width), np.int32)
    labels[:, width // 2] = 0
    return labels


def flooded(proposal):
    """Grow objects pixel by pixel, the first reached first; a pixel between two of them stays a line."""
    grown = proposal.astype(np.int64)
    around = ((-1, 0), (0, -1), (0, 1), (1, 0))

    def beside(place):
        there = [(place[0] + step[0], place[1] + step[1]) for step in around]
        return [p for p in there if 0 <= p[0] < grown.shape[0] and 0 <= p[1] < grown.shape[1]]

    queue = deque(tuple(place) for place in np.argwhere(grown > 0))
    seen = set(queue)
    while queue:
        place = queue.popleft()
        touched = {int(grown[p]) for p in beside(place)} - {0}
        if not grown[place]:
            if len(touched) > 1:
                continue
            grown[place] = touched.pop()
        for other in beside(place):
            if other not in seen:
                seen.add(other)
                queue.append(other)
    return grown


def brute_force(reference, proposal):
    """Both scores by sets of pixels: reference components, line pixels as clusters of their own."""
    from scipy import ndimage

    cells, _ = ndimage.label(reference > 0)
    lines = proposal  # with lines one pixel wide already
    inside = np.argwhere(reference > 0)
    first = [int(cells[tuple(p)]) for p in inside]
    second = [int(lines[tuple(p)]) or -k for k, p in enumerate(inside, 1)]
    counts = {"s": {}, "t": {}, "p": {}}
    for s, t in zip(first, second, strict=True):
        for name, key in (("s", s), ("t", t), ("p", (s, t))):
            counts[name][key] = counts[name].get(key, 0) + 1
    square = {name: sum(n * n for n in table.values()) for name, table in counts.items()}
    count = len(inside)
    entropy = {
        name: -sum(n / count * np.log(n / count) for n in table.values())
        for name, table in counts.items()
    }
    v_rand = square["p"] / (0.5 * square["s"] + 0.5 * square["t"])
    information = entropy["s"] + entropy["t"] - entropy["p"]
    return v_rand, information / (0.5 * entropy["s"] + 0.5 * entropy["t"])


@pytest.mark.parametrize("seed", range(6))
def test_equals_brute_force(seed):
    from scipy import ndimage

    rng = np.random.default_rng(seed)
    reference = (ndimage.gaussian_filter(rng.random((20, 22)), 1.5) > 0.49).astype(np.int32)
    proposal, _ = ndimage.label(ndimage.gaussian_filter(rng.random((20, 22)), 1.5) > 0.5)
    proposal = flooded(proposal)
    of_pairs, information = brute_force(reference, proposal)
    assert v_rand(reference, proposal) == pytest.approx(of_pairs, rel=1e-12)
    assert v_info(reference, proposal) == pytest.approx(information, rel=1e-9)


def test_thick_membranes_are_thinned_to_lines():
    reference = halves(21)
    thick = np.ones(reference.shape)
    thick[:, 7:14] = 0
    assert v_rand(reference, thick) == 1
    assert v_info(reference, thick) == pytest.approx(1)
    assert (rand.thin(skimage.measure.label(thick > 0, connectivity=1)) == 0).sum() == 6


def test_a_hole_in_the_membrane_merges_two_cells():
    reference = halves()
    leaking = reference.astype(float)
    leaking[3, 4] = 1
    assert v_rand(reference, leaking) == pytest.approx(2 * 24**2 / (0.5 * (2 * 24**2 + 48**2)))
    assert v_info(reference, leaking) == pytest.approx(0)


def test_the_best_threshold_is_reported():
    reference = halves()
    probability = np.where(reference > 0, 0.75, 0.55)
    assert v_rand(reference, np.ones(reference.shape)) < 0.7
    assert v_rand(reference, probability) == 1


def test_sections_are_summed_before_dividing():
    reference = np.stack([halves(), halves()])
    proposal = np.stack([halves(), np.ones_like(halves())]).astype(float)
    sums = section_sums(reference[0], proposal[0]) + section_sums(reference[1], proposal[1])
    assert v_rand(reference, proposal) == (sums[:, 0] / sums[:, 1]).max()


def test_unknown_pixels_do_not_count_and_touching_ids_stay_apart():
    reference = np.ones((4, 6), np.int32)
    reference[:, 3:] = 2
    objects = reference.copy()
    assert v_rand(reference, objects) == 1
    reference[:, 5] = -1
    objects[:, 5] = 3
    assert v_rand(reference, objects) == 1


def test_no_object_proposed_makes_every_pixel_its_own():
    reference = halves()
    sums = section_sums(reference, np.zeros(reference.shape))
    assert sums.shape == (10, 4)
    assert v_rand(reference, np.zeros(reference.shape)) == pytest.approx(
        48 / (0.5 * 2 * 24**2 + 0.5 * 48)
    )


def test_one_cluster_each_share_everything():
    whole = np.ones((4, 4), np.int32)
    assert v_info(whole, whole.astype(float)) == 1


def test_bad_input_is_named():
    assert np.isnan(v_rand(np.zeros((3, 3), np.int32), np.ones((3, 3))))
    with pytest.raises(ValueError, match="section by section"):
        section_sums(np.ones((1, 2, 3, 3), np.int32), np.ones((1, 2, 3, 3)))
    with pytest.raises(ValueError, match="same frame"):
        v_rand(np.zeros((3, 3), np.int32), np.ones((3, 4)))
