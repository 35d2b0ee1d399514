"""The keys of all declared cells are pinned: recorded histories and resumed runs find their cells
by key.
"""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from evenbench.harness.collection import discovery
from evenbench.harness.environment import cpu
from tests.meta.architecture import ROOT

RECORDED: dict[str, dict[str, str]] = json.loads(
    Path(__file__).with_name("cell_keys.json").read_text()
)
"""Declaration file → cell id → cell key, on a machine with two cores (the default number of threads
is part of a key).
"""


@pytest.mark.parametrize("file", RECORDED)
def test_keys_are_unchanged(file: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A new key orphans every recorded result of its cell. Update cell_keys.json only for cells
    that were added or redefined.
    """
    monkeypatch.setattr(cpu, "cores", lambda: 2)
    monkeypatch.chdir(ROOT)
    keys = {
        entry.cell.id: entry.cell.key for entry in discovery.entries(discovery.find([file]), "")
    }
    assert keys == RECORDED[file]


def test_every_declaration_file_is_pinned() -> None:
    declared = {
        str(path.relative_to(ROOT))
        for path in (ROOT / "benchmarks").glob("*.py")
        if " = Case(" in path.read_text()
    }
    assert declared == set(RECORDED)
