"""Two releases of one runtime in one run, for real: small wheels are downloaded, installed, and
timed beside what is here.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from evenbench.backends.contract_model import TINY_CNN
from evenbench.harness import Case, Cell
from evenbench.harness.collection import matrix
from evenbench.harness.core.cases import Entry
from evenbench.harness.environment import environment_names, lockfiles, virtualenvs
from evenbench.harness.results import records
from evenbench.harness.runner import interpreters
from evenbench.harness.runner.schedule import Run
from tests.unit.builders import plan

OLDER = "ort@1.24.1"
PROVIDER = "ort-openvino"
BACKENDS = ("ort", OLDER, PROVIDER)


def cells() -> list[Cell]:
    """One case, one more column for each environment."""
    return matrix.expand(Case(models=(TINY_CNN,), backends=BACKENDS))


@pytest.fixture(scope="module")
def lines(tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, Any]:
    """Each backend's result, of one run. The environments are built in the cache, from nothing
    where it is new.
    """
    pytest.importorskip("onnxruntime")
    folder = tmp_path_factory.mktemp("results")
    entries = [Entry(cell) for cell in cells()]
    run = Run(entries, plan(processes=2, timeout_seconds=300.0), folder)
    found = {line["cell"]["backend"]: line for line in run.measure(entries)}
    run.finish()
    assert len({line["run"]["id"] for line in records.read([folder]).lines}) == 1
    return found


@pytest.mark.slow
def test_each_is_measured_and_right(lines: Mapping[str, Any]) -> None:
    assert {
        name: (line["outcome"], line["reason"]) for name, line in lines.items()
    } == dict.fromkeys(BACKENDS, ("ok", ""))
    assert {line["parity"]["verdict"] for line in lines.values()} == {"pass"}


@pytest.mark.slow
@pytest.mark.parametrize("name", ["input_sha256", "artifact_sha256"])
def test_all_read_the_same_bytes(lines: Mapping[str, Any], name: str) -> None:
    """As recorded, and as each process digested what it had loaded."""
    assert (
        len(
            {line[name] for line in lines.values()}
            | {line["parity"][name] for line in lines.values()}
        )
        == 1
    )


@pytest.mark.slow
def test_what_ran_was_another_release(lines: Mapping[str, Any]) -> None:
    attested = {name: line["attested"]["version"] for name, line in lines.items()}
    assert attested[OLDER] == "1.24.1" != attested["ort"]
    packages = {name: line["environment"]["packages"] for name, line in lines.items()}
    assert packages["ort"]["onnxruntime"] == attested["ort"]
    assert packages[OLDER]["onnxruntime"] == attested[OLDER]
    assert "onnxruntime" not in packages[PROVIDER]
    assert packages[PROVIDER]["onnxruntime-openvino"] == attested[PROVIDER]


@pytest.mark.slow
def test_the_provider_ran_what_it_was_asked_to(lines: Mapping[str, Any]) -> None:
    assert lines[PROVIDER]["attested"]["providers"][0] == "OpenVINOExecutionProvider"
    assert "OpenVINOExecutionProvider" in lines[PROVIDER]["attested"]["placement"]
    assert "OpenVINOExecutionProvider" not in lines["ort"]["attested"]["providers"]


@pytest.mark.slow
def test_each_lock_is_recorded_and_is_what_is_installed(lines: Mapping[str, Any]) -> None:
    assert lines["ort"]["environment"]["lock"] is None
    locks = {name: lines[name]["environment"]["lock"] for name in (OLDER, PROVIDER)}
    assert "onnxruntime==1.24.1" in locks[OLDER]["packages"]
    assert locks[OLDER]["sha256"] != locks[PROVIDER]["sha256"]
    for name, lock in locks.items():
        assert all("==" in package for package in lock["packages"]), "every distribution is pinned"
        packages = lines[name]["environment"]["packages"]
        pinned = dict(package.split("==") for package in lock["packages"])
        assert {each: packages[each] for each in packages if each in pinned} == {
            each: pinned[each] for each in packages if each in pinned
        }
        assert lock["python"] == lines[name]["environment"]["python"]


@pytest.mark.slow
def test_the_report_has_one_more_column_for_each(lines: Mapping[str, Any], tmp_path: Path) -> None:
    from evenbench.reports.pages import index

    page = index.write(list(lines.values()), tmp_path).read_text(encoding="utf-8")
    assert all(name in page for name in BACKENDS)
    assert "onnxruntime==1.24.1" in page


@pytest.mark.slow
def test_the_environment_is_there_for_the_next_run(
    lines: Mapping[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(virtualenvs.installers, "find", lambda: pytest.fail("it was built again"))
    (cell,) = (cell for cell in cells() if cell.backend == OLDER)
    assert Path(interpreters.interpreter_for(cell)).is_relative_to(lockfiles.root())


@pytest.mark.slow
def test_an_older_torch_has_a_lock_without_being_installed() -> None:
    """Gigabytes are not installed for a test; that the resolver finds torchvision's release for it,
    and its numpy, is shown.
    """
    asked = environment_names.request("torch-compile@2.13.0")
    assert asked is not None
    packages = dict(package.split("==") for package in virtualenvs.resolve(asked).packages)
    assert packages["torch"].partition("+")[0] == "2.13.0"
    assert packages["torchvision"].partition("+")[0] == "0.28.0"
    assert "numpy" in packages
