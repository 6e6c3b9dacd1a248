"""TIFF files as tifffile writes them: the same pixels, whatever type, axes, layout and compression."""

from __future__ import annotations

import numpy as np
import tifffile
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from napari_jnet.project.open import open_stack

AXES = ("YX", "TYX", "ZYX", "TZYX", "YXS", "TYXS")
TYPES = "bBhHiIlLfd?"
LAYOUTS = ("plain", "ome", "imagej")


@settings(
    max_examples=40,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(st.data())
def test_what_tifffile_writes_opens_to_the_same_pixels(tmp_path, data):
    axes, dtype = data.draw(st.sampled_from(AXES)), np.dtype(data.draw(st.sampled_from(TYPES)))
    layout = data.draw(st.sampled_from(LAYOUTS))
    sizes = {"T": 2, "Z": 3, "S": 3} | {a: data.draw(st.integers(5, 40)) for a in "YX"}
    shape = tuple(sizes[axis] for axis in axes)
    rng = np.random.default_rng(data.draw(st.integers(0, 9)))
    pixels = rng.integers(0, 100, shape).astype(dtype)
    options = {
        "compression": data.draw(st.sampled_from([None, "zlib", "lzw", "packbits"])),
        "bigtiff": data.draw(st.booleans()),
        "byteorder": data.draw(st.sampled_from("<>")),
        "tile": data.draw(st.sampled_from([None, (16, 16)])),
        "photometric": "rgb" if "S" in axes else "minisblack",
        "metadata": {"axes": axes},
    }
    if layout == "imagej":  # knows few types, and neither tiles nor compression
        pixels = pixels.astype(np.uint8 if "S" in axes else data.draw(st.sampled_from("BHf")))
        options |= {"imagej": True, "compression": None, "bigtiff": False, "tile": None}
    elif layout == "ome":
        options["ome"] = True
        if dtype.char in "?lL":  # OME has no such types
            pixels = pixels.astype(np.uint8)
    elif dtype.kind == "b":
        options["compression"] = options["tile"] = None
    path = tmp_path / f"stack.{'ome.tif' if layout == 'ome' else 'tif'}"
    tifffile.imwrite(path, pixels, **options)

    given_axes = axes.replace("S", "C")
    stack = open_stack(path, axes=given_axes if layout == "plain" else None)
    frames = np.stack([stack.frame(n) for n in range(len(stack))])
    wanted = pixels
    if not {"T", "Z"} & set(axes):  # sections of a single volume are its frames
        wanted = wanted[None]
    assert frames.shape == wanted.shape, (stack.axes, layout)
    np.testing.assert_array_equal(frames, wanted)
