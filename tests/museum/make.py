"""How the files of this folder were made: ``python make.py FOLDER``, with the code of commit 3c8f135.

It is kept as the record of what they are.  A later program writes other files: do not run it to
renew the museum.
"""

from __future__ import annotations

import hashlib
import json
import shlex
import shutil
import sys
from pathlib import Path

import numpy as np
import tifffile
from PIL import Image

from napari_jnet import (
    Config,
    Project,
    annotated_frames,
    array_stack,
    load_model,
    open_stack,
    predict,
    preset,
    train,
)
from napari_jnet.cli import main
from napari_jnet.config.presets import PRESETS
from napari_jnet.data.synthetic import em_membranes, lines_and_ellipses, write_cells_sequence
from napari_jnet.events import EpochEnd
from napari_jnet.run_folder import RunFolder

QUICK = {
    "training.device": "cpu",
    "training.threads": 1,
    "training.epochs": 2,
    "training.batches_per_epoch": 400,
    "training.learning_rate": 5e-3,
    "training.batch_size": 4,
    "training.patch_size": 64,
    "targets.dt_bound": 4.0,
}
LEVELS = {"network.resolution_levels": (-2, -1, 0)}
UNET = preset("unet").replace({**QUICK, **LEVELS, "network.channels": 3})
JNET = preset("jnet").replace(
    {**QUICK, **LEVELS, "network.structure": [[4, 8, 3], [2, 4, 3], [2, 4, 3]]}
)


def call(*words: object) -> None:
    try:
        main([str(word) for word in words])
    except SystemExit as left:
        assert not left.code, words


def learn(frames: list, run: Path, config: Config, *, epochs: int | None = None) -> None:
    """Train; with ``epochs``, stop after so many as the window's Stop does."""
    job = train(frames, run, config)
    for event in job:
        if isinstance(event, EpochEnd) and event.epoch == epochs:
            job.close()
            break


def images(root: Path) -> None:
    write_cells_sequence(root / "cells", frames=(5, 2), shape=(96, 96), cells=10, diameter=24.0)
    (root / "volume").mkdir()
    image, _ = em_membranes(3, (64, 64), cells=12)
    tifffile.imwrite(root / "volume/stack.tif", image, photometric="minisblack", compression="zlib")
    (root / "pictures").mkdir()
    pictures, _ = lines_and_ellipses(3, (64, 80))
    for number, picture in enumerate(pictures):
        Image.fromarray(picture).save(root / f"pictures/Img_{number}.png")


def classes(root: Path) -> Project:
    """Three classes, painted on colour pictures, with pixels that nobody knows."""
    _, labels = lines_and_ellipses(3, (64, 80))
    legend = [("ground", "#000000"), ("line", "#00ff00"), ("ellipse", "#ff0000")]
    project = Project.create(
        root / "projects/classes", open_stack(root / "pictures"), "classes", legend=legend
    )
    for number, painted in enumerate(labels.astype(np.int32)):
        painted[:4] = -1
        project.write_frame(project.stack.frame_numbers[number], painted)
    return project


def scribbles(root: Path) -> Project:
    """Scribbles on a volume: 1 = background (membrane), 2 = inside."""
    _, labels = em_membranes(3, (64, 64), cells=12)
    legend = [("unlabelled", "#000000"), ("membrane", "#0000ff"), ("inside", "#ffff00")]
    project = Project.create(
        root / "projects/scribbles",
        open_stack(root / "volume/stack.tif"),
        "scribbles",
        legend=legend,
    )
    for number in (0, 2):
        painted = np.zeros((64, 64), np.int32)
        painted[::6] = labels[number, ::6] + 1
        project.write_frame(number, painted)
        project.set_role(number, "training")
    return project


def instances(root: Path) -> Project:
    """Cells on a CTC dataset, with every role, a partial frame, settings, and two runs."""
    stack = open_stack(root / "cells", sequence="01")
    project = Project.create(root / "projects/instances", stack, "instances", partial=[3])
    roles = {0: "training", 1: "training", 2: "validation", 3: "training", 4: "unused"}
    for number, role in roles.items():
        labels = stack.annotation("gold").frame(number)
        if number == 3:
            labels = np.where(labels <= 3, labels, 0)
        project.write_frame(number, labels)
        project.set_role(number, role)
    project.set_settings({"brush": 7, "names": ["a", "b"], "nested": {"on": True}})
    return project


def in_memory(root: Path) -> Project:
    """Two frames of three sections that were in no file."""
    volume = np.stack([em_membranes(3, (32, 40), cells=6, seed=seed)[0] for seed in (1, 2)])
    project = Project.create(
        root / "projects/memory", array_stack(volume, axes="TZYX"), "instances"
    )
    labels = np.zeros((3, 32, 40), np.int32)
    labels[0, 4:12, 5:15], labels[0, 12:20, 5:15], labels[1] = 1, 70000, -1
    project.write_frame(1, labels)
    return project


def runs(root: Path) -> None:
    cells = annotated_frames(open_stack(root / "cells", sequence="01"))
    models = root / "runs"
    learn(cells, models / "unet", UNET)
    learn(cells, models / "jnet", JNET)
    small = {"network.width": 0.01, "network.dropout": 0.0, "training.patch_size": 64}
    for name in ("fcn8", "fcn16", "fcn32"):
        learn(cells, models / name, preset(name).replace({**QUICK, **small}))
    paper = {"network.channels": 2, "training.batches_per_epoch": 80, "training.patch_size": 52}
    learn(cells, models / "unet-paper", preset("unet-paper").replace({**QUICK, **paper}))
    often = {"training.batches_per_epoch": 20}  # so that a test can go on with it for an epoch
    learn(cells, models / "stopped", UNET.replace({**often, "training.epochs": 12}), epochs=10)

    project = instances(root)
    learn(project.frames(), project.new_run(), UNET)
    project.set_model(project.last_run.path)
    minutes = UNET.replace({**often, "training.minutes": 9, "training.epochs": None})
    learn(project.frames(), project.new_run(), minutes, epochs=10)

    patches = {"network.channels": 2, "network.in_channels": 3, "network.classes": 3}
    patches |= {"prediction.tile": 48, "training.patch_size": 48, "training.batches_per_epoch": 40}
    project = classes(root)
    learn(project.frames(), models / "patches", preset("patches").replace({**QUICK, **patches}))

    project = scribbles(root)
    config = UNET.replace({"network.distance": False, "training.loss": "bce"})
    learn(project.frames(), project.new_run(), config)
    project.set_model(project.last_run.path)
    in_memory(root)

    line = """--mode train --images_idx '{"01":["000","001","002"]}' --num_epochs 1
    --dataset_len_multiplier 150 --batch_size 2 --learning_rate 0.004 --resolution_levels "[-2,-1,0]"
    --structure "[[4,8,3],[2,4,3],[2,4,3]]" --dt_bound 4"""
    out = root.parent / "original"
    call("jnet", "--dataset_root", root / "cells", "--output_dir", out, *shlex.split(line))
    (root / "original").mkdir()
    shutil.copy(out / "model_final", root / "original/model_final")


def presets(root: Path) -> None:
    for name in PRESETS:
        RunFolder(root / "presets" / name, resume=False).write_start(preset(name), {"training": []})
        (root / "presets" / name / "config.json").rename(root / "presets" / f"{name}.json")
        shutil.rmtree(root / "presets" / name)


def expectations(root: Path) -> None:
    """Write the maps that each model gave; keys are path of the model, of the stack, and frame."""
    where = {f"runs/{name}": ("cells", 4) for name in ("unet", "jnet", "fcn8", "fcn16", "fcn32")}
    where |= {f"runs/{name}": ("cells", 4) for name in ("unet-paper", "stopped")}
    where |= {"original/model_final": ("cells", 4), "projects/instances/runs/001": ("cells", 4)}
    where |= {
        "runs/patches": ("pictures", 1),
        "projects/scribbles/runs/001": ("volume/stack.tif", 1),
    }
    index = []
    (root / "expected").mkdir()
    for model, (stack, frame) in where.items():
        facts = {"resolution_levels": [-2, -1, 0], "dt_bound": 4.0} if "original" in model else {}
        loaded = load_model(root / model, device="cpu", **facts)
        (made,) = predict(loaded, open_stack(root / stack), frames=[frame])
        maps = {"segmentation": made.segmentation.astype(np.float16), "distance": made.distance}
        maps["instances"] = made.instances.astype(np.uint8)
        if made.classes is not None:
            maps["classes"] = made.classes
        name = model.replace("/", "-")
        np.savez_compressed(root / "expected" / f"{name}.npz", **maps)
        index.append({"model": model, "facts": facts, "stack": stack, "frame": frame, "maps": name})
        cells, part = made.instances.max(), (made.segmentation > 0.5).mean()
        print(model, cells, "cells", round(float(part), 3), round(float(made.distance.max()), 2))
    (root / "expected/index.json").write_text(json.dumps(index, indent=1) + "\n")


def results(root: Path) -> None:
    call(
        "predict",
        root / "runs/unet",
        root / "cells",
        "--sequence",
        "01",
        "--output",
        root / "results/cells",
    )
    call("evaluate", root / "results/cells", root / "cells", "--sequence", "01")
    call("predict", root / "projects/scribbles", "--output", root / "results/volume")


def make(root: Path) -> None:
    images(root)
    runs(root)
    presets(root)
    expectations(root)
    results(root)
    for name in ("fcn8", "fcn16", "fcn32", "unet-paper", "patches"):  # they are large
        (root / "runs" / name / "last.pt").unlink()
    (root / "projects/scribbles/runs/001/last.pt").unlink()
    sums = [
        f"{hashlib.sha256(path.read_bytes()).hexdigest()}  {path.relative_to(root).as_posix()}"
        for path in sorted(root.rglob("*"))
        if path.is_file()
    ]
    (root / "SHA256SUMS").write_text("\n".join(sums) + "\n")


if __name__ == "__main__":
    made = Path(sys.argv[1]).resolve()
    made.mkdir(parents=True)
    make(made)
