"""The project's own files agree with each other, and its tools do what they say."""

from __future__ import annotations

import configparser
import importlib.util
import re
from pathlib import Path
from types import ModuleType

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

import napari_jnet

REPOSITORY = Path(__file__).resolve().parents[1]


def text(name: str) -> str:
    return (REPOSITORY / name).read_text(encoding="utf-8")


def tool(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, REPOSITORY / "tools" / f"{name}.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def libraries() -> ModuleType:
    return tool("system_libraries")


def setup_requirements() -> dict[str, list[Requirement]]:
    setup = configparser.ConfigParser()
    setup.read_string(text("setup.cfg"))
    sections = {"core": setup["options"]["install_requires"]}
    sections.update(setup["options.extras_require"])
    return {
        name: [Requirement(line) for line in lines.split("\n") if line.strip()]
        for name, lines in sections.items()
    }


def pins() -> dict[str, str]:
    lines = [line.split("#")[0].strip() for line in text("constraints.txt").splitlines()]
    pairs = [line.split("==") for line in lines if line]
    return {canonicalize_name(name): version for name, version in pairs}


def test_every_requirement_is_pinned_to_a_version_it_allows() -> None:
    tested = pins()
    for part, requirements in setup_requirements().items():
        for requirement in requirements:
            name = canonicalize_name(requirement.name)
            assert name in tested, f"{name} of {part} has no pin in constraints.txt"
            assert requirement.specifier.contains(tested[name]), f"{part}: {requirement}"


def test_the_core_brings_no_window() -> None:
    names = {canonicalize_name(r.name) for r in setup_requirements()["core"]}
    assert not names & {"napari", "pyqt6", "pyside6"}  # the user's choice


def test_the_manifest_lies_inside_the_package_and_at_the_top() -> None:
    assert (REPOSITORY / "napari.yaml").resolve() == (
        REPOSITORY / "src" / "napari_jnet" / "napari.yaml"
    )
    assert "name: napari-jnet" in text("napari.yaml")


def test_one_version_everywhere() -> None:
    version = napari_jnet.__version__
    assert re.search(rf"^version: {re.escape(version)}$", text("CITATION.cff"), re.MULTILINE)
    assert f"## [{version}]" in text("CHANGELOG.md")


def test_readme_has_the_two_commands_and_ci_runs_the_second() -> None:
    readme = text("README.md")
    assert "python -m pip install tox && python -m tox run -e demo" in readme
    assert "python -m pip install tox && python -m tox run -e test" in readme
    ci = text(".ci/run")
    assert "-m pip install tox" in ci and "-m tox run -e test" in ci


def test_links_in_the_documents_lead_somewhere() -> None:
    for name in ("README.md", "CONTRIBUTING.md", "CHANGELOG.md", "docs/benchmarks.md"):
        folder = (REPOSITORY / name).parent
        for target in re.findall(r"\]\(([^)#]+)\)", text(name)):
            if "://" not in target:
                assert (folder / target).exists(), f"{name} links to {target}"


class FakeMachine:
    """What a machine has, what it lets a user do, and what was run on it."""

    def __init__(self, missing: list[str], *, root: list[str] | None, works: bool = True) -> None:
        self.left, self.prefix, self.works = missing, root, works
        self.ran: list[list[str]] = []

    def missing(self) -> list[str]:
        return self.left

    def root(self) -> list[str] | None:
        return self.prefix

    def run(self, command: list[str]) -> int:
        self.ran.append(command)
        if self.works and "install" in command:
            self.left = []
        return 0 if self.works else 100

    def main(self, libraries: ModuleType, platform: str = "linux") -> int:
        return int(libraries.main(platform, self.missing, self.root, self.run))


@pytest.fixture
def debian(libraries: ModuleType, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.setattr(libraries.shutil, "which", lambda name: f"/usr/bin/{name}")
    return libraries


def test_root_installs_what_is_missing_without_a_question(debian: ModuleType) -> None:
    machine = FakeMachine(["libegl1", "xvfb"], root=[])
    assert machine.main(debian) == 0
    update, install = machine.ran
    assert update[-1] == "update"
    assert install[:2] == ["env", "DEBIAN_FRONTEND=noninteractive"]
    assert {"--yes", "--no-install-recommends", "libegl1", "xvfb"} <= set(install)


def test_passwordless_sudo_is_used(debian: ModuleType) -> None:
    machine = FakeMachine(["xvfb"], root=["sudo", "-n"])
    assert machine.main(debian) == 0
    assert all(command[:2] == ["sudo", "-n"] for command in machine.ran)


def test_without_rights_the_exact_command_is_printed(
    debian: ModuleType, capsys: pytest.CaptureFixture[str]
) -> None:
    machine = FakeMachine(["libegl1", "xvfb"], root=None)
    assert machine.main(debian) == 1
    assert not machine.ran
    said = capsys.readouterr().err
    assert "apt-get install --yes --no-install-recommends libegl1 xvfb" in said


def test_a_failed_installation_is_no_success(
    debian: ModuleType, capsys: pytest.CaptureFixture[str]
) -> None:
    machine = FakeMachine(["xvfb"], root=[], works=False)
    assert machine.main(debian) == 1
    assert "This failed" in capsys.readouterr().err


def test_elsewhere_than_debian_nothing_is_run(
    libraries: ModuleType, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(libraries.shutil, "which", lambda name: None)
    machine = FakeMachine(["xvfb"], root=[])
    assert machine.main(libraries) == 1
    assert not machine.ran
    assert "dnf install" in capsys.readouterr().err


@pytest.mark.parametrize("platform", ["darwin", "win32"])
def test_other_systems_need_nothing(libraries: ModuleType, platform: str) -> None:
    machine = FakeMachine(["xvfb"], root=[])
    assert machine.main(libraries, platform) == 0
    assert not machine.ran


def test_a_complete_machine_is_left_alone(debian: ModuleType) -> None:
    machine = FakeMachine([], root=[])
    assert machine.main(debian) == 0
    assert not machine.ran


def test_missing_packages_asks_the_loader_then_dpkg(libraries: ModuleType) -> None:
    def no_egl(name: str) -> str | None:
        return None if name == "EGL" else f"lib{name}.so"

    def everything(name: str) -> str:
        return f"/usr/bin/{name}"

    assert libraries.missing_packages(no_egl, everything, lambda package: False) == [
        "libegl1",
        "libgl1-mesa-dri",
    ]
    assert libraries.missing_packages(no_egl, everything, lambda package: True) == []
    # Without dpkg the driver, which only dpkg knows of, is not called missing.
    assert libraries.missing_packages(no_egl, everything, lambda package: None) == ["libegl1"]
    assert libraries.missing_packages(lambda n: n, lambda n: None, lambda package: True) == [
        "xauth",
        "xvfb",
    ]


@pytest.mark.parametrize(
    ("expected", "changes"),
    [
        (True, {}),
        (False, {"requirements": ["torch-em", "numpy"]}),
        (False, {"environ": {"PIP_FIND_LINKS": "/wheels"}}),
        (False, {"environ": {"PIP_INDEX_URL": "https://mirror.example/simple"}}),
        (False, {"system": ("Darwin", "arm64")}),
        (False, {"system": ("Linux", "aarch64")}),
        (False, {"has_nvidia_driver": True}),
    ],
)
def test_torch_comes_without_cuda_where_there_is_no_driver(
    expected: bool, changes: dict[str, object]
) -> None:
    machine: dict[str, object] = {
        "requirements": ["numpy>=2.0", "torch>=2.8"],
        "environ": {},
        "system": ("Linux", "x86_64"),
        "has_nvidia_driver": False,
    }
    assert tool("install").wants_cpu_torch(**{**machine, **changes}) is expected


def test_an_index_that_is_not_there_does_not_answer() -> None:
    assert not tool("install").answers("http://127.0.0.1:9")  # the discard port: nobody listens
