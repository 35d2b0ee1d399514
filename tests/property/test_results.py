"""What was appended is read back, whatever it holds and wherever a crash cut the line that came
last.
"""

from __future__ import annotations

import itertools
import json
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from evenbench.harness.results import records

LETTERS = st.characters(codec="utf-8", exclude_categories=("Cc", "Cf", "Zl", "Zp"))
"""Without control characters, which a reader replaces (tests/unit/core/test_serialization.py)."""

SCALARS = (
    st.none()
    | st.booleans()
    | st.integers(-(2**70), 2**70)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(LETTERS, max_size=8)
)
VALUES = st.recursive(
    SCALARS,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.text(LETTERS, max_size=5), inner, max_size=3)
    ),
    max_leaves=8,
)
RECORDS = st.lists(
    st.dictionaries(st.text(LETTERS, max_size=6), VALUES, max_size=4), min_size=1, max_size=4
)


def outcomes(bodies: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """One line for each body, each of another cell."""
    return [
        {
            **body,
            "schema": 1,
            "outcome": "ok",
            "time": "t",
            "cell": {"key": f"k{at}", "id": f"cell {at}", "model": "m", "backend": "b"},
        }
        for at, body in enumerate(bodies)
    ]


@contextmanager
def a_file() -> Iterator[Path]:
    with tempfile.TemporaryDirectory() as folder, _no_sync():
        yield Path(folder) / "run.jsonl"


@contextmanager
def _no_sync() -> Iterator[None]:
    """Hundreds of small files: nobody pulls the plug here."""
    synced, records.os.fsync = records.os.fsync, lambda descriptor: None
    try:
        yield
    finally:
        records.os.fsync = synced


@given(RECORDS)
def test_what_was_appended_is_read(bodies: list[dict[str, Any]]) -> None:
    lines = outcomes(bodies)
    with a_file() as file:
        for line in lines:
            records.append(file, line)
        reading = records.read([file])
        assert list(reading.lines) == lines
        assert reading.notes == ()
        assert len(file.read_bytes().splitlines()) == len(lines)


@given(RECORDS)
def test_of_lines_for_one_cell_the_last_counts_and_every_other_is_noted(
    bodies: list[dict[str, Any]],
) -> None:
    with a_file() as file:
        for body in bodies:
            records.append(file, {**outcomes([body])[0]})
        reading = records.read([file])
        assert list(reading.lines) == outcomes([bodies[-1]])
        assert len(reading.notes) == len(bodies) - 1


@settings(max_examples=12)
@given(RECORDS)
def test_a_tail_torn_at_any_byte_costs_its_own_line_only(bodies: list[dict[str, Any]]) -> None:
    *whole, torn, later = outcomes([*bodies, {"reason": "torn ☠"}, {"reason": "later"}])
    with a_file() as file:
        for line in whole:
            records.append(file, line)
        kept = file.read_bytes()
        records.append(file, torn)
        full = file.read_bytes()
        for size in range(len(kept), len(full) + 1):
            file.write_bytes(full[:size])
            survived = (
                [torn] if size >= len(full) - 1 else []
            )  # only its line end is missing, or nothing
            assert list(records.read([file]).lines) == whole + survived
            records.append(file, later)
            reading = records.read([file])
            assert list(reading.lines) == [*whole, *survived, later]
            assert len(reading.notes) == (len(kept) < size < len(full) - 1)
            assert file.read_bytes().startswith(kept), "a whole line was touched"


@given(st.binary(max_size=60), RECORDS)
def test_no_bytes_whatever_keep_a_file_from_being_read(
    foreign: bytes, bodies: list[dict[str, Any]]
) -> None:
    lines = outcomes(bodies)
    with a_file() as file:
        file.write_bytes(foreign)
        for line in lines:
            records.append(file, line)
        assert list(records.read([file]).lines)[-len(lines) :] == lines


NO_OUTCOMES = [
    {},
    {"schema": 1},
    {"schema": 1, "cell": None},
    {"schema": 1, "cell": {}},
    {"schema": 1, "cell": {"key": 3, "id": "x"}},
]
NO_OUTCOMES += [
    {"schema": "1", "cell": {"key": "k", "id": "x"}},
    {"schema": 3, "cell": {"key": "k", "id": "x"}},
    {"schema": 1, "cell": "x"},
]  # type: ignore[list-item]


@given(st.lists(st.sampled_from(NO_OUTCOMES), max_size=4), RECORDS)
def test_lines_that_are_no_outcomes_are_left_out_and_noted(
    strangers: list[Any], bodies: list[dict[str, Any]]
) -> None:
    lines = outcomes(bodies)
    mixed = [
        line
        for pair in itertools.zip_longest(strangers, lines)
        for line in pair
        if line is not None
    ]
    with a_file() as file:
        file.write_text("".join(json.dumps(line) + "\n" for line in mixed))
        reading = records.read([file])
        assert list(reading.lines) == lines
        assert len(reading.notes) == len(strangers)
