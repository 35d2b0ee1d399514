"""Nothing of a run outlives a kill of its process, whatever the run is doing."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.fault_injection import kills


def test_no_process_survives_a_kill_in_preparation(tmp_path: Path) -> None:
    present, left = kills.survivors(kills.SCENES["prepare"], 0.0, tmp_path)
    assert present > 3, "the run, its worker, and the worker's child and grandchild"
    assert not left


@pytest.mark.nightly
def test_no_process_survives_two_hundred_kills() -> None:
    assert kills.main(200, list(kills.SCENES)) == 0
