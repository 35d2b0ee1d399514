"""What stands after a backend's `@`, and the environment that it becomes: resolved once, built
once, checked before use.
"""

from __future__ import annotations

import functools
import json
import shutil
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from evenbench.harness import cli, testing
from evenbench.harness.collection import availability
from evenbench.harness.commands import progress
from evenbench.harness.core import artifact_store, exit_codes, registry
from evenbench.harness.core.cases import Entry
from evenbench.harness.core.errors import Unavailable, UsageError
from evenbench.harness.core.plans import PLANS
from evenbench.harness.core.registry import Row
from evenbench.harness.environment import environment_names, installers, lockfiles, virtualenvs
from evenbench.harness.environment.environment_names import Request
from evenbench.harness.environment.installers import InstallError, Pip, Uv
from evenbench.harness.runner import interpreters, prepared
from evenbench.harness.runner.preparation import Preparer
from evenbench.harness.runner.schedule import Event
from tests.unit.builders import Product, cell, register, work_here
from tests.unit.wheels import NUMPY, shelf, wheel

HERE = "tests.unit.environment.test_virtualenvs"


class Housed(Product):
    """A runtime whose distribution is on the shelf."""

    name = "housed"
    distributions = ("shelved-runtime", "something-else")
    environments = {"picky": ("picky-runtime",)}


class Pair(Product):
    """A runtime that comes in two distributions, of which the first has the version that people
    mean.
    """

    name = "pair"
    distributions = ("something-else",)
    environments = {"": ("shelved-runtime", "numpy")}


class Bare(Product):
    """A runtime that names no distribution."""

    name = "bare"


class Portable(Product):
    """A runtime that reads one file, whatever its release."""

    name = "portable"
    distributions = ("shelved-runtime",)
    portable_artifact = True

    def artifact_key(self, cell: Any) -> dict[str, str]:
        return {"format": "one file"}


KINDS = (Housed, Pair, Bare, Portable)


@pytest.fixture(autouse=True)
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty working folder and cache, and the runtimes above."""
    folder = tmp_path / "project"
    folder.mkdir()
    monkeypatch.chdir(folder)
    monkeypatch.setenv(artifact_store.VARIABLE, str(tmp_path / "cache"))
    register(monkeypatch, ",".join(f"{kind.name}={HERE}:{kind.__name__}" for kind in KINDS))
    return folder


def requirements(backend: str) -> tuple[str, ...]:
    asked = environment_names.request(backend)
    assert asked is not None
    return asked.requirements


# -- what a name asks for --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("backend", "wanted"),
    [
        ("housed@1.0", ("shelved-runtime==1.0", "numpy")),
        ("housed@1.24.1rc2", ("shelved-runtime==1.24.1rc2", "numpy")),
        ("housed@2.13.0+cpu", ("shelved-runtime==2.13.0+cpu", "numpy")),
        ("housed@picky", ("picky-runtime", "numpy")),
        ("pair@2.0", ("shelved-runtime==2.0", "numpy")),
        ("ort@1.24.1", ("onnxruntime==1.24.1", "numpy")),
        ("ort@openvino", ("onnxruntime-openvino", "numpy")),
        ("openvino@2025.4.1", ("openvino==2025.4.1", "numpy")),
        ("torch-compile@2.13.0", ("torch==2.13.0", "torchvision", "numpy")),
    ],
)
def test_a_name_is_made_of_these_requirements(backend: str, wanted: tuple[str, ...]) -> None:
    assert requirements(backend) == wanted


def test_a_plain_name_lives_here() -> None:
    assert environment_names.request("housed") is None
    assert interpreters.interpreter_for(cell("housed")) == sys.executable


@pytest.mark.parametrize("backend", ["housed@nowhere", "bare@1.0", "housed@1.0.x"])
def test_an_unknown_name_says_what_to_write(backend: str) -> None:
    with pytest.raises(Unavailable) as caught:
        environment_names.request(backend)
    name = backend.partition("@")[2]
    variable = environment_names.variable_of(name)
    assert f"no environment '{name}'" in str(caught.value)
    assert (
        f'[tool.evenbench.environments] "{name}" = ["distribution==version"]; '
        f"or set {variable} to its Python"
    ) in str(caught.value)
    assert (
        "expected picky, a version of shelved-runtime such as housed@1.2.3" in str(caught.value)
    ) == backend.startswith("housed")


def declare(folder: Path, text: str) -> None:
    (folder / "pyproject.toml").write_text(text)


def test_a_project_declares_its_own_and_they_come_before_those_of_the_backend(
    project: Path,
) -> None:
    lines = (
        'old = ["shelved-runtime<2"]',
        'picky = ["shelved-runtime", "numpy<3"]',
        '"1.0" = ["other"]',
    )
    declare(project, "\n".join(["[tool.evenbench.environments]", *lines]))
    assert requirements("housed@old") == ("shelved-runtime<2", "numpy")
    assert requirements("bare@old") == ("shelved-runtime<2", "numpy"), (
        "a name belongs to the project, not to a backend"
    )
    assert requirements("housed@picky") == ("shelved-runtime", "numpy<3")
    assert requirements("housed@1.0") == ("other", "numpy")


def test_the_nearest_project_with_the_table_counts(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    declare(project, '[tool.evenbench.environments]\nold = ["outer"]\n')
    inner = project / "a" / "b"
    inner.mkdir(parents=True)
    declare(project / "a", '[project]\nname = "without the table"\n')
    monkeypatch.chdir(inner)
    assert requirements("housed@old") == ("outer", "numpy")
    declare(inner, '[tool.evenbench.environments]\nold = ["inner"]\n')
    assert requirements("housed@old") == ("inner", "numpy")


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (
            "[tool.evenbench.environments]\nold = 'onnx'\n",
            "old is 'onnx'; expected a list of requirements",
        ),
        ("[tool.evenbench.environments]\nold = []\n", "old is []; expected a list of requirements"),
        (
            "[tool.evenbench.environments]\nold = [1]\n",
            "old is [1]; expected a list of requirements",
        ),
        ("[tool.evenbench]\nenvironments = 3\n", "is a int; expected a table"),
        ("[tool.evenbench\n", "cannot be read"),
    ],
)
def test_a_malformed_declaration_is_told_with_its_file(project: Path, text: str, told: str) -> None:
    declare(project, text)
    with pytest.raises(UsageError) as caught:
        environment_names.request("housed@old")
    assert told in str(caught.value)
    assert str(project / "pyproject.toml") in str(caught.value)


def test_a_python_that_somebody_made_comes_before_all_else(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    declare(project, '[tool.evenbench.environments]\npicky = ["outer"]\n')
    monkeypatch.setenv("EVENBENCH_PYTHON_PICKY", sys.executable)
    assert environment_names.request("housed@picky") == Request("picky", python=sys.executable)
    monkeypatch.setenv("EVENBENCH_PYTHON_PICKY", str(project))
    with pytest.raises(
        Unavailable, match=r"EVENBENCH_PYTHON_PICKY=.* is no Python; give the path of a Python"
    ):
        environment_names.request("housed@picky")


def test_a_row_may_live_in_an_environment_by_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    everything = {
        **registry.rows(),
        "away": Row("away", f"{HERE}:Housed", "nothing", environment="picky"),
    }
    monkeypatch.setattr(registry, "rows", lambda: everything)
    assert requirements("away") == ("picky-runtime", "numpy")
    assert requirements("away@1.0") == ("picky-runtime==1.0", "numpy"), (
        "a version is one of the distribution that the row lives with"
    )
    assert requirements("housed@1.0") == ("shelved-runtime==1.0", "numpy")
    assert "away" not in registry.runtimes(), "ALL downloads nothing"


@pytest.mark.parametrize(
    ("requirement", "name"),
    [
        ("numpy", "numpy"),
        ("NumPy>=2", "numpy"),
        ("my_runtime[gpu] == 1.0 ; python_version > '3'", "my-runtime"),
        ("a.b~=1", "a-b"),
        ("x @ file:///tmp/x-1.whl", "x"),
        ("x@file:///tmp/x-1.whl", "x"),
        ("x<2,!=1", "x"),
    ],
)
def test_the_distribution_of_a_requirement(requirement: str, name: str) -> None:
    assert installers.distribution_of(requirement) == name


# -- resolving and building, with wheels made here -------------------------------------------------


@pytest.fixture(params=["uv", "pip"])
def tool(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """Each of the two installers in turn, with a shelf of wheels and no index."""
    shelf(tmp_path / "shelf", monkeypatch)
    found = installers.find()
    if request.param == "pip":
        monkeypatch.setattr(installers, "find", lambda: Pip("pip"))
    else:
        assert isinstance(found, Uv), "the extra `dev` brings uv"
    return str(request.param)


def asked(backend: str) -> Request:
    found = environment_names.request(backend)
    assert found is not None
    return found


def version_in(python: str, module: str = "shelved_runtime") -> str:
    done = subprocess.run(
        [python, "-c", f"import {module}; print({module}.VERSION)"],
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout.strip()


def test_an_environment_holds_what_its_lock_says(tool: str) -> None:
    told: list[str] = []
    found = virtualenvs.ensure(asked("housed@1.0"), told.append)
    assert version_in(found.python) == "1.0"
    facts = found.facts()
    assert facts["packages"] == [f"numpy=={NUMPY}", "shelved-runtime==1.0"], (
        "numpy is the one that is used here, not the newest"
    )
    assert (facts["name"], facts["requirements"]) == ("1.0", ["shelved-runtime==1.0", "numpy"])
    assert facts["by"].startswith(tool)
    assert [words.split(":")[0] for words in told] == [
        "resolving environment 1.0",
        "building environment 1.0",
    ]
    assert list(Path(found.python).parents[1].glob("lib/*/site-packages/**/*.pyc")), (
        "a first import would be slower than the second"
    )


def test_another_numpy_where_the_runtime_wants_it(tool: str) -> None:
    assert virtualenvs.resolve(asked("housed@picky")).packages == (
        "numpy==1.0",
        "picky-runtime==1.0",
    )
    assert not list(lockfiles.root().glob("*/bin")), "a lock installs nothing"


def test_two_releases_live_side_by_side(tool: str) -> None:
    one, two = (virtualenvs.ensure(asked(f"housed@{version}")) for version in ("1.0", "2.0"))
    assert (version_in(one.python), version_in(two.python)) == ("1.0", "2.0")
    assert one.facts()["sha256"] != two.facts()["sha256"]


def test_what_cannot_be_had_is_unavailable_in_the_resolvers_own_words(tool: str) -> None:
    with pytest.raises(Unavailable) as caught:
        virtualenvs.ensure(asked("housed@7.0"))
    assert "environment 7.0 (shelved-runtime==7.0, numpy) could not be resolved" in str(
        caught.value
    )
    assert "shelved-runtime==7.0" in str(caught.value).partition("could not be resolved")[2], (
        "the resolver's message"
    )
    assert "that the package index can be reached" in str(caught.value)
    assert virtualenvs.find(asked("housed@7.0")) is None


def test_a_wheel_that_does_not_install_leaves_nothing_behind(tool: str, tmp_path: Path) -> None:
    lock = virtualenvs.resolve(asked("housed@1.0"))
    (tmp_path / "shelf" / "shelved_runtime-1.0-py3-none-any.whl").unlink()
    with pytest.raises(Unavailable, match="could not be built by"):
        virtualenvs.ensure(asked("housed@1.0"))
    assert not lock.folder.exists()
    wheel(tmp_path / "shelf", "shelved-runtime", "1.0")
    assert version_in(virtualenvs.ensure(asked("housed@1.0")).python) == "1.0"


def test_a_local_file_is_a_requirement_too(tool: str, project: Path, tmp_path: Path) -> None:
    file = wheel(tmp_path, "own-runtime", "0.1")
    declare(project, f'[tool.evenbench.environments]\nown = ["own-runtime @ {file.as_uri()}"]\n')
    found = virtualenvs.ensure(asked("bare@own"))
    assert version_in(found.python, "own_runtime") == "0.1"
    assert f"own-runtime @ {file.as_uri()}" in found.facts()["packages"]


# -- built once, and checked -----------------------------------------------------------------------


class Counting:
    """An installer that counts, and is quick: what it installs are records of files."""

    by = "counting 1"

    def __init__(self) -> None:
        self.resolved: list[tuple[str, ...]] = []
        self.installed: list[Path] = []
        self.before_install: Callable[[], None] = lambda: None

    def resolve(self, requirements: Any) -> list[str]:
        self.resolved.append(tuple(requirements))
        return ["numpy==1.0", "shelved-runtime==1.0"]

    def install(self, folder: Path, pinned: Path) -> None:
        self.installed.append(folder)
        self.before_install()
        (folder / "bin").mkdir(parents=True)
        (folder / "bin" / "python").symlink_to(sys.executable)
        site = folder / "lib" / "python3" / "site-packages"
        site.mkdir(parents=True)
        for package in pinned.read_text().split():
            with installers_wheel(package, pinned.parent) as archive:
                archive.extractall(site)


def installers_wheel(package: str, folder: Path) -> Any:
    import zipfile

    return zipfile.ZipFile(wheel(folder, *package.split("==")))


@pytest.fixture
def counting(monkeypatch: pytest.MonkeyPatch) -> Counting:
    made = Counting()
    monkeypatch.setattr(installers, "find", lambda: made)
    return made


def test_it_is_made_once(counting: Counting) -> None:
    first = virtualenvs.ensure(asked("housed@1.0"))
    told: list[str] = []
    assert (
        virtualenvs.ensure(asked("housed@1.0"), told.append)
        == first
        == virtualenvs.find(asked("housed@1.0"))
    )
    assert (len(counting.resolved), len(counting.installed), told) == (1, 1, [])


def test_equal_locks_share_a_folder_whatever_was_asked(counting: Counting, project: Path) -> None:
    declare(project, '[tool.evenbench.environments]\nsame = ["shelved-runtime"]\n')
    for _ in range(2):
        one, other = virtualenvs.ensure(asked("housed@1.0")), virtualenvs.ensure(asked("bare@same"))
        assert one.python == other.python
    assert len(counting.installed) == 1


def python_gone(folder: Path) -> None:
    (folder / "bin" / "python").unlink()


def base_python_gone(folder: Path) -> None:
    python_gone(folder)
    (folder / "bin" / "python").symlink_to("/no/such/python")


def module_gone(folder: Path) -> None:
    (folder / "lib" / "python3" / "site-packages" / "shelved_runtime.py").unlink()


def package_gone(folder: Path) -> None:
    shutil.rmtree(folder / "lib" / "python3" / "site-packages" / "shelved_runtime-1.0.dist-info")


def marker_gone(folder: Path) -> None:
    (folder / lockfiles.MARKER).unlink()


def marker_torn(folder: Path) -> None:
    (folder / lockfiles.MARKER).write_text('{"requirements": ["shel')


@pytest.mark.parametrize(
    ("harm", "told"),
    [
        (python_gone, "has no Python"),
        (base_python_gone, "has no Python"),
        (module_gone, "lacks files of shelved-runtime==1.0"),
        (package_gone, "lacks files of shelved-runtime==1.0"),
        (marker_gone, "was not finished"),
        (marker_torn, "was not finished"),
        (shutil.rmtree, "is not built"),
    ],
)
def test_one_that_is_broken_or_half_built_is_built_again_from_its_lock(
    counting: Counting, harm: Callable[[Path], None], told: str
) -> None:
    lock = virtualenvs.ensure(asked("housed@1.0")).lock
    assert lock is not None
    assert lockfiles.damage(lock) == ""
    harm(lock.folder)
    assert told in lockfiles.damage(lock)
    assert virtualenvs.find(asked("housed@1.0")) is None
    assert virtualenvs.ensure(asked("housed@1.0")).lock == lock
    assert lockfiles.damage(lock) == ""
    assert (len(counting.resolved), len(counting.installed)) == (1, 2), (
        "the lock stays: the same packages, not newer ones"
    )


def test_an_installer_that_dies_half_way_leaves_no_environment(counting: Counting) -> None:
    def die() -> None:
        raise KeyboardInterrupt

    counting.before_install = die
    with pytest.raises(KeyboardInterrupt):
        virtualenvs.ensure(asked("housed@1.0"))
    counting.before_install = lambda: None
    assert virtualenvs.find(asked("housed@1.0")) is None
    assert virtualenvs.ensure(asked("housed@1.0")).lock


def test_two_that_want_it_at_once_build_it_once(counting: Counting) -> None:
    begun, go_on = threading.Event(), threading.Event()

    def wait() -> None:
        begun.set()
        assert go_on.wait(20)

    counting.before_install = wait
    found: list[str] = []
    told: list[str] = []
    waiting = threading.Event()

    def first() -> None:
        found.append(virtualenvs.ensure(asked("housed@1.0")).python)

    def second() -> None:
        def tell(words: str) -> None:
            told.append(words)
            waiting.set()

        found.append(virtualenvs.ensure(asked("housed@1.0"), tell).python)

    threads = [threading.Thread(target=first), threading.Thread(target=second)]
    threads[0].start()
    assert begun.wait(20)
    threads[1].start()
    assert waiting.wait(20)
    go_on.set()
    for thread in threads:
        thread.join(20)
    assert len(counting.installed) == 1
    assert found[0] == found[1]
    assert told == ["waiting for another process that builds an environment"]


def test_another_python_has_another_lock(
    counting: Counting, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = virtualenvs.ensure(asked("housed@1.0"))
    monkeypatch.setattr(environment_names, "target", lambda: {"python": "3.99.0"})
    after = virtualenvs.ensure(asked("housed@1.0"))
    assert before.python != after.python
    assert after.facts()["python"] == "3.99.0"


def test_the_two_commands_of_uv_and_pip_fail_in_words(tmp_path: Path) -> None:
    with pytest.raises(InstallError, match="does not start"):
        Uv(str(tmp_path / "no-uv"), "uv").resolve(["x"])
    assert isinstance(installers.find(), (Uv, Pip))


def test_without_uv_it_is_pip_and_without_both_it_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(installers.sysconfig, "get_path", lambda name: "/no/such/folder")
    monkeypatch.setenv("PATH", "")
    assert isinstance(installers.find(), Pip)
    monkeypatch.setattr(installers.metadata, "version", functools.partial(_absent))
    with pytest.raises(Unavailable, match="needs uv or pip"):
        installers.find()


def _absent(name: str) -> str:
    raise installers.metadata.PackageNotFoundError(name)


# -- in a run --------------------------------------------------------------------------------------


@pytest.fixture
def here(counting: Counting, monkeypatch: pytest.MonkeyPatch) -> Counting:
    """Workers that do their jobs in this process, on environments that cost nothing."""
    work_here(monkeypatch)
    return counting


def test_a_cell_has_the_lock_and_a_portable_artifact_is_shared(here: Counting) -> None:
    told: list[tuple[str, str]] = []
    preparer = Preparer(30.0, lambda kind, text: told.append((kind, text)))
    own, other = preparer.prepare(cell("portable")), preparer.prepare(cell("portable@1.0"))
    assert (own.artifact, own.inputs, own.golden) == (other.artifact, other.inputs, other.golden)
    assert own.environment is None
    assert other.environment is not None
    assert other.environment["packages"] == ["numpy==1.0", "shelved-runtime==1.0"]
    assert own.key() != other.key(), "measurements of two environments are never pooled"
    assert (
        "environment",
        "building environment 1.0: shelved-runtime==1.0, numpy (2 packages)",
    ) in told


def test_an_artifact_that_belongs_to_a_release_is_made_for_each_lock(here: Counting) -> None:
    preparer = Preparer(30.0)
    assert (
        preparer.prepare(cell("housed")).artifact.path
        != preparer.prepare(cell("housed@1.0")).artifact.path
    )


def test_a_failure_is_found_out_once_per_run(
    counting: Counting, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(requirements: Any) -> list[str]:
        counting.resolved.append(tuple(requirements))
        raise InstallError("no route to the index")

    monkeypatch.setattr(counting, "resolve", fail)
    preparer = Preparer(30.0)
    for threads in (1, 2):
        with pytest.raises(prepared.Refusal) as caught:
            preparer.prepare(cell("housed@1.0", threads=threads))
        assert (caught.value.reply.outcome, caught.value.reply.phase) == ("unavailable", "prepare")
        assert (
            "could not be resolved by counting 1: no route to the index"
            in caught.value.reply.reason
        )
    assert len(counting.resolved) == 2, (
        "once with this numpy, once without; not again for the second cell"
    )


def test_what_an_environment_lacks_is_unavailable(
    here: Counting, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Housed, "requires", ("no_such_module",))
    with pytest.raises(prepared.Refusal) as caught:
        Preparer(30.0).prepare(cell("housed@1.0"))
    assert caught.value.reply.outcome == "unavailable"
    assert "no_such_module is not installed in environment 1.0" in caught.value.reply.reason


# -- the command -----------------------------------------------------------------------------------


def shown(capsys: pytest.CaptureFixture[str], *words: str) -> Any:
    assert cli.main(["environments", *words, "--json"]) == 0
    return json.loads(capsys.readouterr().out)


def test_the_command_lists_locks_builds_and_removes(
    counting: Counting, capsys: pytest.CaptureFixture[str]
) -> None:
    assert shown(capsys, "lock", "housed@1.0") == {
        "housed@1.0": ["numpy==1.0", "shelved-runtime==1.0"]
    }
    assert counting.installed == []
    python = shown(capsys, "build", "housed@1.0")["housed@1.0"]
    assert Path(python).exists()
    (listed,) = [entry for entry in shown(capsys) if entry["from"] == "a version"]
    assert (listed["state"], listed["python"], listed["name"]) == (
        "built",
        python,
        "shelved-runtime==1.0",
    )
    named = {(entry["name"], entry["from"]): entry["state"] for entry in shown(capsys)}
    assert named["picky", "backend housed"] == "not built"
    assert shown(capsys, "remove", "housed@1.0") == ["shelved-runtime==1.0, numpy"]
    assert not Path(python).exists()
    assert not [entry for entry in shown(capsys) if entry["from"] == "a version"]


def test_fresh_resolves_again_and_all_removes_all(
    counting: Counting, capsys: pytest.CaptureFixture[str]
) -> None:
    shown(capsys, "build", "housed@1.0")
    shown(capsys, "build", "--fresh", "housed@1.0")
    assert (len(counting.resolved), len(counting.installed)) == (2, 2)
    assert len(shown(capsys, "remove", "all")) == 1
    assert lockfiles.built() == []


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (
            ["build", "housed"],
            "housed lives in this environment; name another one, such as housed@1.2.3",
        ),
        (["build", "housed@nowhere"], "no environment 'nowhere'"),
        (["remove", "housed@1.0"], "nothing was built for it"),
        (["build", "unheard-of@1"], "unknown backend 'unheard-of'"),
    ],
)
def test_misuse_is_one_line(
    counting: Counting, capsys: pytest.CaptureFixture[str], words: list[str], told: str
) -> None:
    assert cli.main(["environments", *words]) == exit_codes.USAGE
    assert told in capsys.readouterr().err


def test_the_list_for_people_has_one_line_each(
    counting: Counting, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["environments", "build", "housed@1.0"]) == 0
    assert "building environment 1.0" in capsys.readouterr().err
    assert cli.main(["environments"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert any(line.split()[:2] == ["shelved-runtime==1.0", "built"] for line in lines)
    assert any(line.split()[:3] == ["picky", "not", "built"] for line in lines)


def test_the_list_of_cells_says_which_environments_nobody_knows(counting: Counting) -> None:
    known, unknown = availability.prospects(
        [Entry(cell("housed@1.0")), Entry(cell("housed@nowhere"))]
    )
    assert availability.prospect_note(known) == ""
    assert availability.prospect_note(unknown).startswith(
        "unavailable: housed@nowhere: no environment 'nowhere'"
    )
    assert counting.resolved == [], "listing resolves nothing"


def test_a_person_is_told_before_the_minutes_that_building_takes(
    capsys: pytest.CaptureFixture[str],
) -> None:
    from rich.console import Console

    with progress.Display(Console(width=200), PLANS["quick"]) as display:
        display.hear(Event("prepare", "some-cell", 0, 4))
        display.hear(Event("environment", "building environment 1.0: shelved-runtime==1.0", 0, 4))
    assert "building environment 1.0: shelved-runtime==1.0" in capsys.readouterr().out


def test_the_contract_refuses_what_does_not_live_here(tmp_path: Path) -> None:
    kit = testing.Kit("housed@1.0", cell().model, "fp32", "cpu", tmp_path)
    with pytest.raises(pytest.fail.Exception, match=r"housed@1\.0 lives in another environment"):
        kit.load()
