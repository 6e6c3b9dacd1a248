"""Cases of the fuzz command: what is made, and which words the command line is given."""

from __future__ import annotations

import json
import random
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import tifffile
from harm import ODD_NAMES, ODD_VALUES, harm_archive, harm_bytes, harm_file, harm_json, harm_values
from numpy.typing import NDArray
from PIL import Image

MUSEUM = Path(__file__).resolve().parents[1] / "museum/files/3c8f135"
SMALL = (
    "network.channels=2", "network.structure=[[1,4,3],[1,2,3]]", "training.batches_per_epoch=1",
    "training.batch_size=1", "training.patch_size=32",
)  # fmt: skip


@dataclass
class Case:
    """Words for the command line, where they write, and a look at what it did.

    ``look`` says what is wrong after status 0; "" if nothing is.
    """

    words: list[str]
    output: Path | None = None
    look: Callable[[], str] = str


def draw(rng: random.Random, area: str, folder: Path) -> Case:
    """Make a case of an area within an empty folder."""
    case = AREAS[area](rng, folder)
    if case.output is not None and case.look is str and case.words[0] in ("predict", "train"):
        looks = {"predict": look_at_prediction, "train": look_at_run}
        case.look = lambda output=case.output: looks[case.words[0]](output)
    return case


def look_at_prediction(output: Path) -> str:
    """Say what is wrong with the files that predict has written."""
    for name in ("instances", "probability", "distance"):
        pages = tifffile.imread(output / f"{name}.tif")
        if not np.isfinite(pages).all():
            return f"{name}.tif is not finite"
    return ""


def look_at_run(output: Path) -> str:
    """Say what is wrong with the model that train has written."""
    from napari_jnet import load_model

    network = load_model(output, device="cpu").network
    finite = all(bool(value.isfinite().all()) for value in network.state_dict().values())
    return "" if finite else "model.pt is not finite"


# images and labels


def cells(rng: random.Random, shape: tuple[int, ...]) -> tuple[NDArray[Any], NDArray[Any]]:
    """Return noise with bright discs, (..., Y, X) float, and their numbers."""
    noise = np.random.default_rng(rng.randrange(2**32))
    height, width = shape[-2:]
    image, labels = noise.normal(0.2, 0.03, shape), np.zeros(shape, np.int32)
    rows, columns = np.ogrid[:height, :width]
    for number in range(1, rng.randint(3, 6)):
        radius = rng.randint(3, 8)
        row, column = rng.randrange(height), rng.randrange(width)
        disc = (rows - row) ** 2 + (columns - column) ** 2 < radius**2
        image[..., disc] += 0.5
        labels[..., disc] = number
    return image.clip(0, 1), labels


TYPES = ("uint8",) * 5 + ("uint16",) * 4 + ("float32",) * 2 + (
    "int8", "int16", "uint32", "int32", "float16", "float64", "uint64", "int64", "complex64", "bool",
)  # fmt: skip


def as_type(rng: random.Random, image: NDArray[Any], name: str) -> NDArray[Any]:
    """Return an image of values from 0 to 1 in a type."""
    kind = np.dtype(name)
    if kind.kind == "b":
        return image > 0.4
    if kind.kind in "ui":
        most = min(np.iinfo(kind).max, rng.choice((255, 4000, 60000, 2**31)))
        return (image * most * 0.9).astype(kind)
    scale, offset = rng.choice((1, 1, 1, 100, 1e-9, 1e9)), rng.choice((0, 0, 0, 1000, -5))
    with np.errstate(over="ignore"):
        changed = (image * scale + offset).astype(kind)
    odd = rng.random()
    if odd < 0.15:
        changed[..., rng.randrange(image.shape[-1])] = rng.choice((np.nan, np.inf, 0))
    elif odd < 0.2:
        changed[...] = rng.choice((0, 1, np.nan))
    return changed


def size(rng: random.Random) -> tuple[int, int]:
    usual = rng.random() < 0.88
    sides = (40, 48, 56, 64, 71) if usual else (1, 2, 3, 7, 16, 150)
    return rng.choice(sides), rng.choice(sides)


def write_tiff(rng: random.Random, path: Path, image: NDArray[Any], axes: str) -> None:
    """Write a TIFF of one of many kinds; of a plainer one where that cannot be."""
    kinds: list[dict[str, Any]] = [
        {}, {}, {"compression": rng.choice(("zlib", "lzw", "zstd", "packbits", "lzma", "deflate"))},
        {"compression": "zlib", "predictor": True}, {"tile": (16, 16)}, {"bigtiff": True},
        {"byteorder": ">"}, {"rowsperstrip": 3}, {"compression": "jpeg"}, {"compression": "webp"},
        {"ome": True, "metadata": {"axes": axes}}, {"imagej": True, "metadata": {"axes": axes}},
        {"ome": True, "metadata": {"axes": axes, "PhysicalSizeX": rng.choice((0.2, 0, -1, "x")),
                                   "PhysicalSizeXUnit": rng.choice(("µm", "nm", "furlong"))}},
        {"metadata": None}, {"photometric": "miniswhite"}, {"planarconfig": "separate"},
        {"metadata": {"axes": axes}}, {"resolution": (rng.choice((0, 1e9, 5e4)), 1)},
    ]  # fmt: skip
    options = rng.choice(kinds)
    if axes.endswith("S"):
        options = {**options, "photometric": "rgb"}
    try:
        tifffile.imwrite(path, image, **options)
    except Exception:  # noqa: BLE001 - this kind cannot hold such an image
        tifffile.imwrite(path, image, photometric="rgb" if axes.endswith("S") else "minisblack")


def write_labels(rng: random.Random, path: Path, labels: NDArray[Any]) -> None:
    kind = rng.choice(("ids", "ids", "ids", "binary", "gaps", "minus", "float", "colours", "small"))
    stored: NDArray[Any] = labels.astype(rng.choice((np.uint8, np.uint16, np.int32)))
    if kind == "binary":
        stored = (labels > 0).astype(np.uint8) * rng.choice((1, 255))
    elif kind == "gaps":
        stored = labels.astype(np.uint32) * rng.choice((7, 1000, 2**29))
    elif kind == "minus":
        stored = labels.astype(np.int16) - 1
    elif kind == "float":
        stored = labels.astype(np.float32) + rng.choice((0, 0, 0.5))
    elif kind == "colours" and path.suffix != ".tif":
        table = np.array([(0, 0, 0), (200, 0, 0), (0, 200, 0), (0, 0, 200), (9, 9, 9), (1, 2, 3)])
        stored = table[labels].astype(np.uint8)
    elif kind == "small" and labels.shape[-2] > 1:
        stored = stored[..., 1:, :]
    if path.suffix == ".tif":
        tifffile.imwrite(path, stored, photometric="minisblack")
    else:
        whole = stored if stored.dtype in (np.uint8, np.uint16) else stored.astype(np.uint8)
        Image.fromarray(whole).save(path)


def make_stack(rng: random.Random, folder: Path, *, annotated: bool) -> tuple[Path, list[str], int]:
    """Make a stack of some kind.

    Returns
    -------
    path, words, channels
        Where it is, which options open it, and how many channels it has.
    """
    kind = rng.choices(("tiff", "folder", "ctc", "volume"), (8, 5, 5, 4))[0]
    height, width = size(rng)
    frames = rng.randint(2, 4)
    if kind == "ctc":
        root = folder / rng.choice(ODD_NAMES)
        (root / "01").mkdir(parents=True)
        (root / "01_GT/SEG").mkdir(parents=True)
        kept, digits = rng.choice(TYPES), rng.choice((3, 3, 4))
        for number in range(frames):
            image, labels = cells(rng, (height, width))
            write_tiff(rng, root / f"01/t{number:0{digits}d}.tif", as_type(rng, image, kept), "YX")
            if annotated and rng.random() < 0.9:
                truth = root / f"01_GT/SEG/man_seg{number:0{digits}d}.tif"
                tifffile.imwrite(truth, labels.astype(np.uint16), photometric="minisblack")
        return root, ["--sequence", "01"], 1
    if kind == "folder":
        root = folder / rng.choice(ODD_NAMES)
        (root / "images").mkdir(parents=True)
        colour = rng.random() < 0.3
        suffix = rng.choice((".png", ".png", ".tif", ".jpg", ".bmp", ".gif"))
        for number in range(frames):
            image, labels = cells(rng, (height, width))
            grey = (image * 255).astype(np.uint8)
            shown = np.stack([grey] * 3, axis=-1) if colour else grey
            if suffix == ".tif":
                axes = "YXS" if colour else "YX"
                write_tiff(rng, root / f"images/a{number}.tif", shown, axes)
            else:
                Image.fromarray(shown).save(root / f"images/a{number}{suffix}")
            if annotated:
                (root / "masks").mkdir(exist_ok=True)
                write_labels(rng, root / f"masks/a{number}{rng.choice(('.png', '.tif'))}", labels)
        return root, [], 3 if colour or suffix == ".gif" else 1
    axes = rng.choice(("YX", "TYX", "TYX", "ZYX", "TYXS", "YXS", "TCYX", "CYX", "TZYX"))
    if kind == "volume":
        axes = "ZYX"
    lengths = {"T": frames, "Z": rng.randint(1, 3), "C": rng.randint(1, 4), "Y": height, "X": width}
    image, labels = cells(rng, tuple(lengths[a] for a in axes if a != "S"))
    channels = lengths["C"] if "C" in axes else 1
    if axes.endswith("S"):
        channels = rng.choice((3, 3, 4))
        image = np.stack([image] * channels, axis=-1)
        channels = 3
    image = as_type(rng, image, rng.choice(TYPES))
    words = ["--axes", axes.replace("S", "C")] if rng.random() < 0.5 else []
    if kind == "volume":
        root = folder / rng.choice(ODD_NAMES)
        root.mkdir(parents=True)
        write_tiff(rng, root / "train-volume.tif", image, axes)
        if annotated:
            write_labels(rng, root / "train-labels.tif", labels)
        return root, [], 1
    path = folder / f"{rng.choice(ODD_NAMES)}.tif"
    path.parent.mkdir(exist_ok=True)
    write_tiff(rng, path, image, axes)
    if annotated:
        flat = labels.max(axis=axes.index("C")) if "C" in axes else labels
        truth = folder / "truth.tif"
        write_labels(rng, truth, flat)
        words += ["--truth", str(truth)]
    return path, words, channels


def files_of(path: Path) -> list[Path]:
    return sorted(p for p in path.rglob("*") if p.is_file()) if path.is_dir() else [path]


def small_training(rng: random.Random, *, network: str | None = None) -> list[str]:
    network = network or rng.choice(("unet", "unet", "jnet"))
    words = ["--network", network, "--epochs", "1"]
    for setting in SMALL:
        if not (network == "unet" and "structure" in setting):
            words += ["--set", setting]
    return words


def stack_case(rng: random.Random, folder: Path) -> Case:
    command = rng.choices(("predict", "train", "info", "evaluate"), (10, 9, 2, 2))[0]
    annotated = command in ("train", "evaluate") or rng.random() < 0.3
    path, words, channels = make_stack(rng, folder, annotated=annotated)
    if rng.random() < 0.33:
        harm_file(rng, rng.choice(files_of(path)))
    if command != "train" and command != "evaluate" and "--truth" in words:
        place = words.index("--truth")
        del words[place : place + 2]
    output = folder / rng.choice(("out", "out", "out", *ODD_NAMES)) / "result"
    if command == "info":
        return Case(["info", str(path), *words])
    if command == "train":
        said = rng.choice(([], [], [], ["--kind", "instances"], ["--unlabelled", "unknown"]))
        words = [str(path), *words, *said, *small_training(rng), "--output", str(output)]
        return Case(["train", *words], output)
    if command == "evaluate":
        result = folder / "result.tif"
        tifffile.imwrite(result, np.zeros((3, 40, 40), np.uint16))
        words = [*words, "--output", str(folder / "scores.json")]
        return Case(["evaluate", str(result), str(path), *words])
    run = "patches" if channels == 3 else rng.choice(("unet", "unet", "jnet", "fcn8"))
    words = [str(MUSEUM / "runs" / run), str(path), *words]
    more = rng.choice(([], [], ["--tile", "32"], ["--tta", "4"], ["--frames", "0-1"]))
    return Case(["predict", *words, *more, "--output", str(output)], output)


# models

SOURCES = ("runs/unet/model.pt", "runs/jnet/model.pt", "runs/fcn8/model.pt", "runs/stopped/last.pt")


def model_case(rng: random.Random, folder: Path) -> Case:
    import torch

    from napari_jnet import load_model

    original = rng.random() < 0.12
    source = MUSEUM / ("original/model_final" if original else rng.choice(SOURCES))
    run = folder / rng.choice(ODD_NAMES)
    run.mkdir(parents=True)
    model = run / source.name
    shutil.copy(source, model)
    kind = rng.choices(
        ("whole", "bytes", "archive", "values", "network", "config", "other"), (8, 3, 2, 4, 4, 6, 1)
    )[0]
    kind = "bytes" if original and kind in ("archive", "config") else kind
    before = torch.load(source, weights_only=True)
    if kind == "bytes":
        model.write_bytes(harm_bytes(rng, model.read_bytes()))
    elif kind == "archive":
        harm_archive(rng, model)
    elif kind == "other":
        harm_file(rng, model)
    elif kind != "whole":
        content = dict(before)
        if kind == "config":
            content["config"] = harm_values(rng, content["config"])
        elif kind == "network":
            key = "state_dict" if original else "network"
            content[key] = harm_weights(rng, content[key])
        else:
            content = harm_values(rng, content, (*ODD_VALUES, torch.zeros(3)))
        torch.save(content, model, _use_new_zipfile_serialization=rng.random() < 0.8)
    given = ["--resolution-levels=-2,-1,0", "--dt-bound", "9"] if original else []
    output = folder / "out"
    command = rng.choices(("predict", "info", "train", "resume"), (8, 3, 3, 3))[0]

    def same_weights() -> str:
        if kind not in ("bytes", "archive") or original or not model.is_file():
            return ""
        now = load_model(model, device="cpu").network.state_dict()
        old = before["network"]
        same = all(torch.equal(now[name], value) for name, value in old.items())
        return "" if same else "a damaged model was read as another one"

    place = model if original or rng.random() < 0.6 else run
    if command == "info":
        return Case(["info", str(place)], look=same_weights)
    words = [str(MUSEUM / "cells"), "--sequence", "01"]
    if command == "predict":
        words = ["predict", str(place), *words, *given, "--frames", "0", "--output", str(output)]
        return Case(words, output, lambda: look_at_prediction(output) or same_weights())
    quick = ["--set", "training.batches_per_epoch=1", "--set", "training.batch_size=1"]
    if command == "train":
        words = ["train", *words, "--model", str(place), "--epochs", "1", *quick]
        return Case([*words, "--output", str(output)], output)
    if model.name != "last.pt":
        shutil.copy(MUSEUM / "runs/stopped/model.pt", run / "model.pt")
        if model.exists():
            model.replace(run / "last.pt")
    words = ["train", *words, "--resume", "--epochs", "11", *quick]
    return Case([*words, "--output", str(run)], run)


def harm_weights(rng: random.Random, state: dict[str, Any]) -> dict[str, Any]:
    import torch

    changed = dict(state)
    name = rng.choice(sorted(changed))
    value = changed[name]
    kind = rng.choice(
        ("nan", "inf", "lost", "more", "type", "shape", "text", "sparse", "huge", "zero")
    )
    if kind == "lost":
        del changed[name]
    elif kind == "more":
        changed[f"{name}.more"] = value
    else:
        changed[name] = {
            "nan": lambda: torch.full_like(value.float(), float("nan")),
            "inf": lambda: value.float() * float("inf"),
            "type": lambda: value.to(rng.choice((torch.float64, torch.int8, torch.complex64))),
            "shape": lambda: value.reshape(-1)[:1],
            "text": lambda: rng.choice(("weights", 3, None, [1.0])),
            "sparse": lambda: value.to_sparse(),
            "huge": lambda: torch.zeros(1).expand(2**40),
            "zero": lambda: torch.zeros_like(value),
        }[kind]()
    return changed


# projects


def project_case(rng: random.Random, folder: Path) -> Case:
    for name in ("cells", "volume", "pictures"):
        shutil.copytree(MUSEUM / name, folder / name)
    name = rng.choices(("instances", "scribbles", "classes", "memory"), (5, 3, 1, 1))[0]
    project = folder / "projects" / rng.choice((name, *ODD_NAMES[:12]))
    shutil.copytree(MUSEUM / "projects" / name, project)
    for _ in range(rng.choice((0, 1, 1, 1))):
        kind = rng.choices(
            ("json", "bytes", "file", "annotation", "run", "links"), (6, 2, 1, 4, 3, 1)
        )[0]
        files = {
            "annotation": sorted((project / "annotations").iterdir()),
            "run": sorted(p for p in project.glob("runs/*/*") if p.is_file()),
        }
        stored = project / "project.json"
        if kind == "json" and stored.is_file():
            rng.random()  # as before, so that a seed draws the same cases
            try:
                harm_json(rng, stored)
            except ValueError:
                continue
        elif kind == "bytes" and stored.is_file():
            stored.write_bytes(harm_bytes(rng, stored.read_bytes()))
        elif kind == "file" and stored.is_file():
            harm_file(rng, stored)
        elif kind == "links" and not (folder / "elsewhere").exists():
            (project / "annotations").rename(folder / "elsewhere")
            (project / "annotations").symlink_to(
                rng.choice((folder / "elsewhere", Path("annotations")))
            )
        elif files.get(kind):
            file = rng.choice(files[kind])
            if file.is_file():
                harm_file(rng, file)
    command = rng.choices(("train", "predict", "info", "resume", "evaluate"), (7, 6, 3, 2, 1))[0]
    quick = ["--set", "training.batches_per_epoch=1", "--set", "training.batch_size=1"]
    output = folder / "out"
    if command == "info":
        return Case(["info", str(project)])
    if command == "predict":
        return Case(["predict", str(project), "--frames", "0", "--output", str(output)], output)
    if command == "train":
        words = ["train", str(project), *small_training(rng), "--output", str(output)]
        return Case(words, output)
    if command == "resume":
        return Case(["train", str(project), "--resume", "--epochs", "11", *quick])
    results = MUSEUM / "results" / ("volume" if name == "scribbles" else "cells")
    return Case(["evaluate", str(results), str(project), "--output", str(folder / "scores.json")])


# configuration


def configuration_case(rng: random.Random, folder: Path) -> Case:
    from napari_jnet.config import SECTIONS, options

    output = folder / "run"
    words = ["train", str(MUSEUM / "cells"), "--sequence", "01", "--output", str(output)]
    presets = sorted((MUSEUM / "presets").glob("*.json"))
    whole = rng.random() < 0.4
    if whole:
        file = folder / "config.json"
        shutil.copy(rng.choice((presets[3], presets[-1], MUSEUM / "runs/unet/config.json")), file)
        how = rng.random()
        if how < 0.7:
            harm_json(rng, file)
        elif how < 0.9:
            harm_file(rng, file)
        words += ["--config", str(file)]
    for _ in range(rng.randint(0 if whole else 1, 3)):
        section = rng.choice(
            ("training", "training", "network", "augmentation", "targets", "instances")
        )
        key, told = rng.choice(sorted(options(SECTIONS[section]).items()))
        if key in ("minutes", "tensorboard", "device"):
            continue
        words += ["--set", f"{section}.{key}={value_for(rng, told)}"]
    words += ["--epochs", "1"]
    for setting in SMALL[2:] if rng.random() < 0.9 else SMALL[2:3]:
        words += ["--set", setting]
    return Case(words, output)


def value_for(rng: random.Random, told: Any) -> str:
    """Draw the text of a value that often suits a parameter."""
    kind, least, most = told.kind, told.minimum, told.maximum
    if rng.random() < 0.25:
        odd = rng.choice(ODD_VALUES)
        return odd if isinstance(odd, str) else json.dumps(odd) if odd != 10**400 else "1e999"
    if kind is bool:
        return rng.choice(("true", "false", "True", "1", "yes"))
    if told.choices:
        return str(rng.choice(list(told.choices)))
    if kind is int and least is not None:
        return str(rng.choice((least, least + 1, min(most or 8, least + 8), most or 3)))
    if kind is float and least is not None:
        high = most if most is not None and most < 100 else least + 1
        return repr(rng.choice((least, rng.uniform(least, high), high, most or high)))
    if isinstance(told.default, tuple):
        return json.dumps(told.example if rng.random() < 0.5 and told.example else told.default)
    return str(told.default)


# arguments


def argument_case(rng: random.Random, folder: Path) -> Case:
    output = folder / rng.choice(ODD_NAMES)
    cells_ = [str(MUSEUM / "cells"), "--sequence", "01"]
    numbers = (
        "0",
        "0-1",
        "1,0",
        "0-0",
        "4",
        "-1",
        "0-",
        "9",
        "a",
        "",
        "0,,1",
        "1-0",
        "0-99999999999999",
    )
    options: dict[str, tuple[str, ...]] = {
        "--frames": numbers,
        "--device": ("cpu", "auto", "cpu", "cuda", "tpu", ""),
        "--axes": ("TYX", "TYX", "ZYX", "XYT", "T", "", "QQQ"),
        "--sequence": ("01", "02", "03", "", "../01"),
        "--series": ("1", "0", "-1", "99", "x"),
    }
    command = rng.choices(
        ("predict", "train", "info", "evaluate", "jnet", "other"), (9, 8, 2, 2, 2, 2)
    )[0]
    if command == "predict":
        options |= {
            "--segmentation-threshold": ("0.5", "0", "1", "nan", "-1", "2", "x"),
            "--seed-threshold": ("0.4", "0", "1", "inf", "1e-9"),
            "--min-size": ("0", "5", "1000000000", "-1", "1e3"),
            "--tile": ("32", "64", "0", "1", "-5", "1000000", "16"),
            "--overlap": ("0.5", "0", "0.9", "1", "nan"),
            "--tta": ("1", "4", "8", "3", "0"),
            "--resolution-levels": ("-2,-1,0", "[0]", "1", "", "[[]]"),
            "--dt-bound": ("9", "0", "-1", "nan"),
        }
        words = ["predict", str(MUSEUM / "runs" / rng.choice(("unet", "jnet", "fcn32"))), *cells_]
        words += ["--output", str(output)]
    elif command == "train":
        options |= {
            "--truth": ("gold", "silver", "", "/", "truth.tif"),
            "--kind": ("instances", "instances", "classes", "scribbles", "x"),
            "--unlabelled": ("background", "unknown", "", "x"),
            "--seed": ("0", "7", "-1", str(2**63), "1.5"),
            "--preset": ("original", "patches", "unet", "none"),
            "--minutes": ("0.01", "0", "-1", "nan"),
            "--model": (str(MUSEUM / "runs/unet"), str(MUSEUM), "nothing", ""),
            "--resume": ("",),
        }
        words = ["train", *cells_, *small_training(rng), "--output", str(output)]
    elif command == "info":
        place = rng.choice(("cells", "runs/unet", "projects/memory", "presets", "SHA256SUMS", "no"))
        words = ["info", str(MUSEUM / place)]
    elif command == "evaluate":
        words = [
            "evaluate",
            str(MUSEUM / "results/cells"),
            *cells_,
            "--output",
            str(output / "m.json"),
        ]
    elif command == "jnet":
        words = [
            "jnet",
            "--train_images_dir",
            str(MUSEUM / "cells/01"),
            "--output_dir",
            str(output),
        ]
        options = {f"--{name}": ("1", "[]", "[[1,2,3]]", "x", "nan", "") for name in (
            "num_epochs", "learning_rate", "structure", "resolution_levels", "dt_bound", "seed", "zz"
        )}  # fmt: skip
    else:
        words = rng.choice((["relocate", str(MUSEUM)], ["nothing"], ["--version"], ["-h"], [""]))
        return Case(list(words))
    for name in rng.sample(sorted(options), rng.choice((0, 1, 1, 2, 3))):
        words += [name] if name == "--resume" else [name, rng.choice(options[name])]
    if rng.random() < 0.1:
        words.insert(
            rng.randrange(len(words) + 1), rng.choice(("--", "", "-x", "--nothing", "é", "[x]"))
        )
    return Case(words, output if command == "predict" else None)


AREAS: dict[str, Callable[[random.Random, Path], Case]] = {
    "stacks": stack_case,
    "models": model_case,
    "projects": project_case,
    "configuration": configuration_case,
    "arguments": argument_case,
}
SHARES = {"stacks": 0.35, "models": 0.2, "projects": 0.15, "configuration": 0.15, "arguments": 0.15}
