"""Each broken session is caught by the contract test that is named for it."""

import os

import pytest

SUITE = """
from harness.testing import BackendContract

class TestBroken(BackendContract):
    name = "broken"
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
    "Hungry": ["test_crash_in_step_becomes_an_outcome[raise]", "test_crash_in_step_becomes_an_outcome[abort]"],
}

BACKENDS = {"Litters": ["test_prepare_writes_only_in_its_folder"], "Forgetful": ["test_parity[1]", "test_closes_twice"]}


def failed_tests(pytester: pytest.Pytester, target: str, monkeypatch: pytest.MonkeyPatch, tests: list[str]) -> set[str]:
    """Which of the named contract tests (all where none is named) fail for a backend, in a pytest of its own."""
    monkeypatch.setenv("EVENBENCH_BACKENDS", f"broken=tests.contract.broken:{target}")
    monkeypatch.setenv("PYTHONPATH", os.environ["EVENBENCH_TREE"])
    file = pytester.makepyfile(test_broken=SUITE)
    chosen = [f"{file.name}::TestBroken::{test}" for test in tests] or [file.name]
    result = pytester.runpytest_subprocess("-q", "-p", "no:cacheprovider", *chosen, timeout=300)
    lines = [line for line in result.outlines if line.startswith(("FAILED", "ERROR"))]
    return {line.split("::")[2].split(" ")[0] for line in lines}


@pytest.fixture(autouse=True)
def tree(monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> None:
    """pytester moves HOME and the working folder; the cache and this tree stay where they are."""
    from harness import store

    monkeypatch.setenv("EVENBENCH_CACHE", str(store.root()))
    monkeypatch.setenv("EVENBENCH_TREE", str(request.config.rootpath))


@pytest.mark.slow
@pytest.mark.parametrize("session", CAUGHT)
def test_broken_session_is_caught(session: str, pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EVENBENCH_BROKEN", session)
    failed = failed_tests(pytester, "Broken", monkeypatch, CAUGHT[session])
    assert failed == set(CAUGHT[session]), f"{session} slipped through {sorted(set(CAUGHT[session]) - failed)}"


@pytest.mark.slow
@pytest.mark.parametrize("backend", BACKENDS)
def test_broken_backend_is_caught(backend: str, pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> None:
    failed = failed_tests(pytester, backend, monkeypatch, BACKENDS[backend])
    assert failed == set(BACKENDS[backend]), f"{backend} slipped through: only {sorted(failed)} failed"


@pytest.mark.slow
def test_right_session_passes(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EVENBENCH_BROKEN", "OrtSession")
    assert failed_tests(pytester, "Broken", monkeypatch, []) == set()
