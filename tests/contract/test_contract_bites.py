"""Each broken session is caught by the contract test that is named for it."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest

from evenbench.harness.core import artifact_store

ROOT = Path(__file__).resolve().parents[2]

SUITE = """
class Test{kind}(BackendContract):
    name = "{name}"
"""

CAUGHT = {
    "WrongDtype": ["test_outputs_are_as_declared", "test_parity[1]"],
    "WrongName": ["test_outputs_are_as_declared", "test_parity[1]"],
    "WrongShape": ["test_outputs_are_as_declared", "test_parity[1]"],
    "Noisy": ["test_same_input_same_output"],
    "Caching": ["test_new_inputs_are_used", "test_parity[1]"],
    "Late": ["test_new_inputs_are_used", "test_parity[1]"],
    "WritesInputs": ["test_inputs_are_not_modified"],
    "ReusesOutputs": ["test_fetched_arrays_never_change"],
    "IgnoresBatch": ["test_parity[2]", "test_parity[7]"],
    "Inventive": ["test_laps_fit_the_wall", "test_parity[1]"],
    "Nameless": ["test_a_second_clock_sees_each_lap_from_within"],
    "Overlong": ["test_a_second_clock_sees_each_lap_from_within", "test_parity[1]"],
    "SecretLoop": ["test_only_a_named_clock_overrides_laps"],
    "Shared": ["test_sessions_beside_each_other_answer_alike"],
    "Silent": ["test_attestation_is_complete_and_as_asked", "test_parity[1]"],
    "Boastful": ["test_attestation_is_complete_and_as_asked", "test_parity[1]"],
    "ClosesOnce": ["test_closes_twice"],
    "Hungry": [
        "test_crash_in_step_becomes_an_outcome[raise]",
        "test_crash_in_step_becomes_an_outcome[abort]",
    ],
}

BACKENDS = {
    "Litters": ["test_prepare_writes_only_in_its_folder"],
    "Forgetful": ["test_parity[1]", "test_closes_twice"],
}

RIGHT = "OrtSession"
"""The session that the broken ones derive from."""

ALL = (RIGHT, *CAUGHT, *BACKENDS)


@pytest.fixture(scope="module")
def failed(tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, set[str]]:
    """Which contract tests fail, by kind, in one pytest: of what is right all are run, of the
    others those that are named for them.
    """
    folder = tmp_path_factory.mktemp("contract")
    classes = [SUITE.format(kind=kind, name=kind.lower()) for kind in ALL]
    (folder / "test_broken.py").write_text(
        "\n".join(["from harness.testing import BackendContract", *classes])
    )
    chosen = [
        f"test_broken.py::Test{kind}::{test}"
        for kind, tests in {**CAUGHT, **BACKENDS}.items()
        for test in tests
    ]
    own = {
        "EVENBENCH_BACKENDS": ",".join(
            f"{kind.lower()}=tests.contract.broken:{kind}Backend" for kind in ALL
        ),
        "EVENBENCH_CACHE": str(artifact_store.root()),
        "PYTHONPATH": str(ROOT),
    }
    environment = {
        name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")
    } | own
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-q",
        "-p",
        "no:cacheprovider",
        f"test_broken.py::Test{RIGHT}",
        *chosen,
    ]
    done = subprocess.run(
        command,
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    assert done.returncode == pytest.ExitCode.TESTS_FAILED, done.stdout + done.stderr
    found: dict[str, set[str]] = {kind: set() for kind in ALL}
    for line in done.stdout.splitlines():
        if line.startswith(("FAILED ", "ERROR ")):
            _, kind, test = line.split("::")[:3]
            found[kind.removeprefix("Test")].add(test.split(" ")[0])
    return found


@pytest.mark.slow
@pytest.mark.parametrize("session", CAUGHT)
def test_broken_session_is_caught(session: str, failed: Mapping[str, set[str]]) -> None:
    assert failed[session] == set(CAUGHT[session]), (
        f"{session} slipped through {sorted(set(CAUGHT[session]) - failed[session])}"
    )


@pytest.mark.slow
@pytest.mark.parametrize("backend", BACKENDS)
def test_broken_backend_is_caught(backend: str, failed: Mapping[str, set[str]]) -> None:
    assert failed[backend] == set(BACKENDS[backend]), (
        f"{backend} slipped through: only {sorted(failed[backend])} failed"
    )


@pytest.mark.slow
def test_right_session_passes(failed: Mapping[str, set[str]]) -> None:
    assert failed[RIGHT] == set()
