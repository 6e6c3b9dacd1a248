"""Axes, units, several images and files: what a TIFF file says, and what somebody says of it."""

from __future__ import annotations

import numpy as np
import pytest
import tifffile

from napari_jnet.io.axes import array_stack
from napari_jnet.io.stack import AmbiguousInput
from napari_jnet.project.open import open_stack
from napari_jnet.project.places import list_projects
from napari_jnet.project.project import Project


def grey(shape, dtype=np.uint16):
    return np.arange(np.prod(shape)).reshape(shape).astype(dtype)


def write(path, array, **options):
    options.setdefault("photometric", "minisblack")
    tifffile.imwrite(path, array, **options)
    return path


def ome(path, array, **metadata):
    return write(path, array, ome=True, metadata=metadata)


# what the dimensions are


@pytest.mark.parametrize(
    ("axes", "shape", "stack_axes", "frames", "frame"),
    [
        ("TYX", (3, 16, 20), "TYX", 3, (16, 20)),
        ("ZYX", (3, 16, 20), "ZYX", 3, (16, 20)),
        ("CYX", (2, 16, 20), "TYXC", 1, (16, 20, 2)),
        ("TCYX", (3, 2, 16, 20), "TYXC", 3, (16, 20, 2)),
        ("CTYX", (2, 3, 16, 20), "TYXC", 3, (16, 20, 2)),
        ("CZYX", (2, 3, 16, 20), "ZYXC", 3, (16, 20, 2)),
        ("ZTYX", (4, 3, 16, 20), "TZYX", 3, (4, 16, 20)),
        ("tzyx", (3, 4, 16, 20), "TZYX", 3, (4, 16, 20)),
    ],
)
@pytest.mark.parametrize("compressed", [False, True])
def test_axes_that_are_said_hold_for_files_and_arrays(
    tmp_path, axes, shape, stack_axes, frames, frame, compressed
):
    array = grey(shape)
    path = write(tmp_path / "a.tif", array, compression="zlib" if compressed else None)
    along = axes.upper().find(stack_axes[0])
    last = array if frames == 1 else array.take(frames - 1, along)
    left = axes.upper().replace(stack_axes[0], "") if frames > 1 else axes
    expected = last.transpose([left.index(letter) for letter in stack_axes[1:]])
    for stack in (open_stack(path, axes=axes), array_stack(array, axes=axes)):
        assert (stack.axes, len(stack), stack.shape) == (stack_axes, frames, frame)
        assert len(stack.scale) == len(stack.units) == len(stack_axes.replace("C", ""))
        assert np.array_equal(stack.frame(frames - 1), expected)


@pytest.mark.parametrize("axes", ["TCYX", "TX", "TYY", "PYX", "XYT", "", "TZC"])
def test_impossible_axes_are_refused_with_the_sizes(tmp_path, axes):
    path = write(tmp_path / "a.tif", grey((3, 16, 20)))
    with pytest.raises(ValueError, match=r"do not fit .*a\.tif.* 3 × 16 × 20.*TYX, ZYX, CYX"):
        open_stack(path, axes=axes)
    with pytest.raises(ValueError, match="3 × 16 × 20"):
        array_stack(grey((3, 16, 20)), axes=axes)


def test_four_dimensions_that_nothing_is_known_of_are_asked_for(tmp_path):
    path = write(tmp_path / "a.tif", grey((3, 2, 16, 20)))
    with pytest.raises(ValueError, match=r"3 × 2 × 16 × 20.*--axes.*TZYX, TCYX"):
        open_stack(path)
    assert open_stack(path, axes="TCYX").shape == (16, 20, 2)


def test_the_files_of_a_dataset_may_be_sections(tmp_path):
    for k in range(3):
        write(tmp_path / f"slice{k}.tif", grey((16, 20)) + k)
    stack = open_stack(tmp_path, axes="ZYX")
    assert (stack.axes, len(stack)) == ("ZYX", 3)
    with pytest.raises(ValueError, match=r"'CYX' do not fit .*3 frames of 16 × 20.*TYX or ZYX"):
        open_stack(tmp_path, axes="CYX")
    with pytest.raises(ValueError, match="not a single file"):
        open_stack(tmp_path, series=2)


def test_channels_of_imagej_are_no_frames(tmp_path):
    path = write(tmp_path / "a.tif", grey((2, 16, 20)), imagej=True, metadata={"axes": "CYX"})
    stack = open_stack(path)
    assert (stack.axes, len(stack), stack.shape) == ("TYXC", 1, (16, 20, 2))
    write(tmp_path / "a_mask.tif", np.ones((16, 20), np.uint8))
    assert open_stack(path, kind="instances").annotation().frame(0).shape == (16, 20)


def test_frames_stored_as_colours_are_told_apart_by_their_labels(tmp_path):
    tifffile.imwrite(tmp_path / "a.tif", grey((3, 16, 20), np.uint8), photometric="rgb")
    write(tmp_path / "a_mask.tif", grey((3, 16, 20), np.uint8))
    with pytest.raises(ValueError, match=r"stored as the colours of one image.*--axes TYX"):
        open_stack(tmp_path / "a.tif", kind="instances").annotation().frame(0)
    stack = open_stack(tmp_path / "a.tif", axes="TYX", kind="instances")
    assert len(stack.annotation().frame_numbers) == 3


def test_labels_of_one_image_are_not_those_of_another(positions):
    masks = grey((2, 16, 20)) % 4
    write(positions.with_name("m_mask.ome.tif"), masks)
    assert np.array_equal(open_stack(positions, kind="classes").annotation().frame(1), masks[1])
    with pytest.raises(ValueError, match="labels of one image"):
        open_stack(positions, series=2, kind="classes").annotation().frame(1)
    with tifffile.TiffWriter(positions.with_name("m_mask.ome.tif"), ome=True) as writer:
        for count in (2, 5):
            writer.write(grey((count, 16, 20)) % count, metadata={"axes": "TYX"})
    second = open_stack(positions, series=2, kind="classes").annotation()
    assert np.array_equal(second.frame(4), (grey((5, 16, 20)) % 5)[4])


# how large pixels are, and how far frames are apart


@pytest.mark.parametrize(
    ("metadata", "scale", "unit"),
    [
        ({"PhysicalSizeZ": 500.0, "PhysicalSizeZUnit": "nm"}, (0.5, 0.1, 0.1), "micrometer"),
        ({"PhysicalSizeZ": -0.5}, (0.5, 0.1, 0.1), "micrometer"),
        ({"PhysicalSizeZ": 0.5, "PhysicalSizeZUnit": "mm"}, (500.0, 0.1, 0.1), "micrometer"),
        ({"PhysicalSizeY": 100.0, "PhysicalSizeYUnit": "nm"}, (1.0, 0.1, 0.1), "micrometer"),
        (
            {"PhysicalSizeXUnit": "mm", "PhysicalSizeYUnit": "mm", "PhysicalSizeZ": 300.0},
            (300.0, 100.0, 100.0),
            "micrometer",
        ),
    ],
)
def test_ome_sizes_have_one_unit(tmp_path, metadata, scale, unit):
    sizes = {"axes": "ZYX", "PhysicalSizeX": 0.1, "PhysicalSizeY": 0.1, **metadata}
    stack = open_stack(ome(tmp_path / "a.ome.tif", grey((3, 16, 20)), **sizes))
    assert stack.scale == pytest.approx(scale)
    assert stack.units[1:] == (unit, unit)


@pytest.mark.parametrize(
    ("unit", "per_unit", "metadata", "scale", "units"),
    [
        ("um", 2.0, {"spacing": -2.0}, (2.0, 0.5, 0.5), ("micrometer",) * 3),
        ("\\u00B5m", 2.0, {"spacing": 0.0}, (1.0, 0.5, 0.5), ("pixel", *("micrometer",) * 2)),
        ("micron", 2.0, {"spacing": 1.0}, (1.0, 0.5, 0.5), ("micrometer",) * 3),
        ("nm", 0.01, {"spacing": 300.0}, (0.3, 0.1, 0.1), ("micrometer",) * 3),
        ("cm", 1e5, {"spacing": 1e-4}, (1.0, 0.1, 0.1), ("micrometer",) * 3),
        ("um", 2.0, {"spacing": 500, "zunit": "nm"}, (0.5, 0.5, 0.5), ("micrometer",) * 3),
        ("inch", 72.0, {}, (1.0, 1.0, 1.0), ("pixel",) * 3),
        ("pixel", 2.0, {}, (1.0, 1.0, 1.0), ("pixel",) * 3),
        ("furlong", 2.0, {"spacing": 2.0}, (1.0, 1.0, 1.0), ("pixel",) * 3),
    ],
)
def test_imagej_sizes(tmp_path, unit, per_unit, metadata, scale, units):
    path = write(
        tmp_path / "a.tif",
        grey((3, 16, 20)),
        imagej=True,
        resolution=(per_unit, per_unit),
        metadata={"axes": "ZYX", "unit": unit, **metadata},
    )
    stack = open_stack(path)
    assert stack.scale == pytest.approx(scale)
    assert stack.units == units


@pytest.mark.parametrize(
    ("options", "seconds"),
    [
        ({"imagej": True, "metadata": {"axes": "TYX", "finterval": 90.0}}, 90.0),
        ({"imagej": True, "metadata": {"axes": "TYX", "finterval": 2, "tunit": "min"}}, 120.0),
        ({"ome": True, "metadata": {"axes": "TYX", "TimeIncrement": 1.5}}, 1.5),
        (
            {
                "ome": True,
                "metadata": {"axes": "TYX", "TimeIncrement": 250, "TimeIncrementUnit": "ms"},
            },
            0.25,
        ),
    ],
)
def test_the_interval_of_a_film_is_kept(tmp_path, options, seconds):
    stack = open_stack(write(tmp_path / "a.tif", grey((3, 16, 20)), **options))
    assert (stack.scale[0], stack.units[0]) == (seconds, "second")


def test_a_name_of_isbi_does_not_override_the_file(tmp_path):
    path = write(
        tmp_path / "train-volume.tif",
        grey((3, 16, 20)),
        imagej=True,
        resolution=(2, 2),
        metadata={"axes": "TYX", "unit": "um"},
    )
    stack = open_stack(path)
    assert (stack.axes, stack.scale[1:], stack.units[1]) == ("TYX", (0.5, 0.5), "micrometer")


def test_what_is_painted_has_the_size_of_its_image(tmp_path):
    sizes = {"axes": "TYX", "PhysicalSizeX": 0.2, "PhysicalSizeY": 0.2}
    stack = open_stack(ome(tmp_path / "a.ome.tif", grey((2, 16, 20)), **sizes))
    project = Project.create(tmp_path / "project", stack, "instances")
    project.write_frame(1, np.ones((16, 20), np.int32))
    painted = open_stack(project.path / "annotations" / "t001.tif")
    assert (painted.scale[1:], painted.units[1]) == ((0.2, 0.2), "micrometer")


# several images, several files


@pytest.fixture
def positions(tmp_path):
    with tifffile.TiffWriter(tmp_path / "m.ome.tif", ome=True) as writer:
        for k, count in enumerate((2, 5)):
            array = grey((count, 16, 20)) + 1000 * k
            sizes = {"PhysicalSizeX": 0.1 * (k + 1), "PhysicalSizeY": 0.1 * (k + 1)}
            writer.write(array, photometric="minisblack", metadata={"axes": "TYX", **sizes})
    return tmp_path / "m.ome.tif"


def test_several_images_are_said_and_chosen(positions):
    first, second = open_stack(positions), open_stack(positions, series=2)
    assert (len(first), len(second)) == (2, 5)
    assert any("1 of 2" in note for note in first.notes)
    assert not second.notes
    assert (first.scale[1], second.scale[1]) == (0.1, 0.2)
    assert second.frame(4)[0, 0] == 1000 + 4 * 320
    with pytest.raises(ValueError, match=r"no image 3.*1 is TYX 2 × 16 × 20 uint16; 2 is TYX 5"):
        open_stack(positions, series=3)


def test_positions_are_no_frames(tmp_path):
    path = write(tmp_path / "a.tif", grey((2, 3, 16, 20)), metadata={"axes": "RTYX"})
    with pytest.raises(AmbiguousInput, match=r"axes RTYX and size 2 × 3 × 16 × 20.*--axes"):
        open_stack(path)


def test_a_project_remembers_which_image_and_axes(positions, tmp_path):
    stack = open_stack(positions, series=2, axes="ZYX")
    project = Project.create(tmp_path / "projects" / "one", stack, "instances")
    again = Project.open(project.path).open_stack()
    assert (len(again), again.axes, again.series) == (5, "ZYX", 2)
    assert np.array_equal(again.frame(3), stack.frame(3))
    assert open_stack(project.path, series=2).series == 2
    alone = write(tmp_path / "one.tif", grey((2, 16, 20)))
    single = Project.create(tmp_path / "projects" / "single", open_stack(alone), "instances")
    assert len(open_stack(single.path, series=1)) == 2
    with pytest.raises(ValueError, match="image 1 of a file"):
        open_stack(project.path, series=1)
    with pytest.raises(ValueError, match="'TYX' do not fit"):
        open_stack(project.path, axes="TYX")
    moved = tmp_path / "moved.ome.tif"
    positions.rename(moved)
    project.relocate(moved)
    assert len(project.open_stack()) == 5


def test_the_project_of_one_position_is_not_that_of_another(tmp_path):
    with tifffile.TiffWriter(tmp_path / "m.ome.tif", ome=True) as writer:
        for k in range(2):
            writer.write(grey((2, 16, 20)) + k, metadata={"axes": "TYX"})
    root = tmp_path / "projects"
    project = Project.create(root / "m", open_stack(tmp_path / "m.ome.tif"), "instances")
    (listed,) = list_projects(open_stack(tmp_path / "m.ome.tif", series=1), [root])
    assert listed.path == project.path
    assert list_projects(open_stack(tmp_path / "m.ome.tif", series=2), [root]) == ()


def test_pages_that_differ_are_not_dropped(tmp_path):
    for name, pages in {
        "size": [grey((16, 20)), grey((8, 20)), grey((16, 20))],
        "type": [grey((16, 20), np.uint8), grey((16, 20), np.float32)],
    }.items():
        with tifffile.TiffWriter(tmp_path / f"{name}.tif") as writer:
            for page in pages:
                writer.write(page, photometric="minisblack", metadata=None, contiguous=False)
        with pytest.raises(ValueError, match=r"pages of different size or type.*--series"):
            open_stack(tmp_path / f"{name}.tif")
    assert open_stack(tmp_path / "type.tif", series=2).dtype == np.float32


def test_levels_of_a_pyramid_and_thumbnails_are_no_images(tmp_path):
    with tifffile.TiffWriter(tmp_path / "p.ome.tif", ome=True) as writer:
        writer.write(grey((2, 32, 32)), subifds=1, metadata={"axes": "TYX"})
        writer.write(grey((2, 16, 16)), subfiletype=1)
    with tifffile.TiffWriter(tmp_path / "t.tif") as writer:
        writer.write(grey((32, 32)), metadata=None)
        writer.write(grey((8, 8)), subfiletype=1, metadata=None)
    for name, count in (("p.ome.tif", 2), ("t.tif", 1)):
        stack = open_stack(tmp_path / name)
        assert (len(stack), stack.shape, stack.notes) == (count, (32, 32), ())


def members(folder, names, count=3):
    """Write the files of one film as Micro-Manager does: each names all of them."""
    folder.mkdir(parents=True)
    ids = [f"urn:uuid:00000000-0000-0000-0000-00000000000{k}" for k in range(count)]
    data = "".join(
        f'<TiffData FirstT="{k}" IFD="0" PlaneCount="1"><UUID FileName="{name}">{id_}</UUID></TiffData>'
        for k, (name, id_) in enumerate(zip(names, ids, strict=True))
    )
    for k, (name, id_) in enumerate(zip(names, ids, strict=True)):
        xml = (
            '<?xml version="1.0" encoding="UTF-8"?><OME xmlns="http://www.openmicroscopy.org/Schemas'
            f'/OME/2016-06" UUID="{id_}"><Image ID="Image:0"><Pixels ID="Pixels:0" Type="uint16" '
            f'DimensionOrder="XYZCT" SizeX="20" SizeY="16" SizeZ="1" SizeC="1" SizeT="{count}" '
            'PhysicalSizeX="0.2" PhysicalSizeY="0.2" TimeIncrement="30">'
            f'<Channel ID="C:0" SamplesPerPixel="1"/>{data}</Pixels></Image></OME>'
        )
        if "/" not in name:
            write(folder / name, grey((16, 20)) + 1000 * k, description=xml, metadata=None)
    return folder


def test_a_file_of_several_is_one_frame_in_a_folder_and_the_film_by_itself(tmp_path):
    names = [f"t00{k}.tif" for k in range(3)]
    folder = members(tmp_path / "data" / "01", names)
    stack = open_stack(folder)
    assert (stack.format, stack.axes, len(stack), stack.shape) == ("ctc", "TYX", 3, (16, 20))
    assert [int(stack.frame(n)[0, 0]) for n in range(3)] == [0, 1000, 2000]
    assert stack.scale[1:] == (0.2, 0.2)
    film = open_stack(members(tmp_path / "film", names) / "t001.tif")
    assert (film.axes, len(film), film.scale) == ("TYX", 3, (30.0, 0.2, 0.2))
    assert [int(film.frame(n)[0, 0]) for n in range(3)] == [0, 1000, 2000]


def test_a_film_lacks_the_files_that_are_gone(tmp_path):
    folder = members(tmp_path / "film", [f"t00{k}.tif" for k in range(3)])
    (folder / "t002.tif").unlink()
    stack = open_stack(folder / "t000.tif")
    assert stack.frame_numbers == (0, 1)
    assert any("missing in the file: 1 skipped" in note for note in stack.notes)
    assert int(stack.frame(1)[0, 0]) == 1000
    members(tmp_path / "copy", [f"t00{k}.tif" for k in range(3)])
    (tmp_path / "copy" / "t002.tif").rename(folder / "t002.tif")
    stack = open_stack(folder / "t000.tif")  # the acquisition went on
    assert [int(stack.frame(n)[0, 0]) for n in range(len(stack))] == [0, 1000, 2000]


def test_files_of_another_folder_are_not_read(tmp_path):
    members(tmp_path / "other", ["x.tif"], 1)
    folder = members(tmp_path / "film", ["t000.tif", "../other/x.tif"], 2)
    stack = open_stack(folder / "t000.tif")
    assert len(stack) == 1
    assert np.array_equal(stack.frame(0), grey((16, 20)))


def test_planes_that_are_promised_and_missing(tmp_path):
    xml = tifffile.OmeXml()
    xml.addimage("uint16", (7, 16, 20), (7, 1, 1, 16, 20, 1), axes="TYX")
    with tifffile.TiffWriter(tmp_path / "a.tif") as writer:
        for k in range(5):
            description = xml.tostring() if k == 0 else None
            writer.write(
                grey((16, 20)) + k, metadata=None, contiguous=False, description=description
            )
    stack = open_stack(tmp_path / "a.tif")
    assert stack.frame_numbers == (0, 1, 2, 3, 4)
    assert any("missing in the file: 2 skipped" in note for note in stack.notes)
    assert np.array_equal(stack.frame(4), grey((16, 20)) + 4)


# what pixels are


def test_the_numbers_of_a_palette_are_read(tmp_path):
    indices = grey((16, 20)).astype(np.uint8) % 3
    table = np.zeros((3, 256), np.uint16)
    table[:, :3] = np.array([[0, 65535, 0], [0, 0, 65535], [0, 0, 0]])
    tifffile.imwrite(tmp_path / "a.tif", indices, photometric="palette", colormap=table)
    tifffile.imwrite(tmp_path / "a_mask.tif", indices, photometric="palette", colormap=table)
    stack = open_stack(tmp_path / "a.tif")
    assert (stack.axes, stack.shape, stack.dtype) == ("TYX", (16, 20), np.uint8)
    assert np.array_equal(stack.frame(0), indices)
    assert set(np.unique(stack.annotation().frame(0))) == {0, 1, 2}


def test_complex_images_are_refused(tmp_path):
    write(tmp_path / "a.tif", np.ones((2, 16, 20), np.complex64))
    with pytest.raises(ValueError, match=r"a\.tif holds values of type complex64.*magnitude"):
        open_stack(tmp_path / "a.tif")
    with pytest.raises(ValueError, match="complex"):
        array_stack(np.ones((2, 16, 20), complex))


def test_a_file_without_pages_is_refused_in_words(tmp_path):
    (tmp_path / "a.tif").write_bytes(b"II*\0\x08\0\0\0\0\0\0\0\0\0")
    with pytest.raises(ValueError, match=r"a\.tif"):
        open_stack(tmp_path / "a.tif")
