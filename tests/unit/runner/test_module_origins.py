"""The modules of a side come from its own sources; any other place is an error with a remedy."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from types import ModuleType

import pytest

from evenbench.harness.core import import_path
from evenbench.harness.core.errors import UsageError
from evenbench.harness.runner import module_origins
from evenbench.harness.runner.module_origins import Origin


def load(monkeypatch: pytest.MonkeyPatch, name: str, file: Path) -> None:
    module = ModuleType(name)
    module.__file__ = str(file)
    monkeypatch.setitem(sys.modules, name, module)


def test_modules_of_the_side_are_reported_relative_to_its_sources(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    load(monkeypatch, "mynet.layers", tmp_path / "side" / "src" / "mynet" / "layers.py")
    load(monkeypatch, "library", tmp_path / "library.py")
    origin = Origin(str(tmp_path / "side"), str(tmp_path / "working"), ("mynet",))
    assert origin.check() == {"mynet.layers": "src/mynet/layers.py"}


@pytest.mark.parametrize(
    ("file", "packages"),
    [("working/src/mynet.py", ()), ("working/.venv/lib/site-packages/mynet.py", ("mynet",))],
    ids=["working folder", "installed"],
)
def test_a_module_from_elsewhere_is_an_error(
    file: str, packages: tuple[str, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    load(monkeypatch, "mynet", tmp_path / file)
    load(monkeypatch, "numpy_like", tmp_path / "working/.venv/lib/site-packages/numpy_like.py")
    origin = Origin(str(tmp_path / "side"), str(tmp_path / "working"), packages)
    with pytest.raises(UsageError, match=r"mynet is imported from .*PYTHONPATH, or uninstall"):
        origin.check()


def test_packages_installed_from_the_project_are_known(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    project, site = tmp_path / "project", tmp_path / "site-packages"
    (project / "python" / "mynet").mkdir(parents=True)
    (project / "python" / "mynet" / "__init__.py").touch()
    install(site, project)
    monkeypatch.syspath_prepend(str(site))
    packages = module_origins.installed_packages(project)
    assert packages == ("mynet",)
    assert list(module_origins.package_folders(project, packages)) == [project / "python"]
    assert module_origins.installed_packages(tmp_path / "other") == ()


def install(site: Path, project: Path) -> None:
    """The facts that `pip install .` leaves of a package `mynet`."""
    facts = site / "mynet-1.0.dist-info"
    facts.mkdir(parents=True)
    # The backport importlib_metadata, once imported, leaves missing files out of a distribution.
    (site / "mynet").mkdir(exist_ok=True)
    (site / "mynet" / "__init__.py").touch()
    (facts / "METADATA").write_text("Metadata-Version: 2.1\nName: mynet\nVersion: 1.0\n")
    (facts / "RECORD").write_text("mynet/__init__.py,,\nmynet-1.0.dist-info/METADATA,,\n")
    url = {"url": project.as_uri(), "dir_info": {}}
    (facts / "direct_url.json").write_text(json.dumps(url))


def test_every_measuring_process_names_the_users_modules(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "project" / "benchmarks").mkdir(parents=True)
    (tmp_path / "project" / "pyproject.toml").touch()
    monkeypatch.chdir(tmp_path / "project" / "benchmarks")
    load(monkeypatch, "mynet.layers", tmp_path / "project" / "src" / "mynet" / "layers.py")
    load(monkeypatch, "shared_code", tmp_path / "shared" / "shared_code.py")
    load(monkeypatch, "library", tmp_path / "venv" / "site-packages" / "library.py")
    origins = import_path.origins()
    assert origins["mynet.layers"] == "src/mynet/layers.py"
    assert origins["shared_code"] == str(tmp_path / "shared" / "shared_code.py")
    assert not {"library", "json", "evenbench.harness.core.errors"} & set(origins)
