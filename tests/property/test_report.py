"""A report of lines that are JSON but no outcomes any more: shown or left out and noted, never a
traceback.
"""

from __future__ import annotations

import copy
import json
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from evenbench.harness import cli
from evenbench.harness.results import records
from evenbench.reports.pages import index
from tests.reports.synthetic import record

GARBAGE = st.sampled_from(
    [
        None,
        True,
        -1,
        0,
        10**40,
        1e308,
        "",
        "x",
        "<script>",
        [],
        [1, "a", None],
        {},
        {"a": {"b": []}},
        [[]],
        [{}],
    ]
)


def places(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Every place in a JSON value, the innermost included."""
    entries = (
        value.items()
        if isinstance(value, dict)
        else enumerate(value[:2])
        if isinstance(value, list)
        else ()
    )
    for key, inner in entries:
        yield (*path, key)
        yield from places(inner, (*path, key))


LINE = record(process_ns=(9e6, 9.1e6), laps=16) | {
    "artifact": {"bytes": 7, "facts": {"model": {"flops": 7, "operators": {"Conv": 1}}}}
}
PLACES = sorted(places(LINE), key=repr)


def mutated(changes: list[tuple[tuple[Any, ...], Any]]) -> dict[str, Any]:
    """A line with other values at some places."""
    line = copy.deepcopy(LINE)
    for path, value in changes:
        parent = line
        try:
            for key in path[:-1]:
                parent = parent[key]
            parent[path[-1]] = value
        except (TypeError, KeyError, IndexError):  # an earlier change took the place away
            continue
    return line


CHANGES = st.lists(st.tuples(st.sampled_from(PLACES), GARBAGE), min_size=1, max_size=3)


@settings(max_examples=40)
@given(st.lists(CHANGES, min_size=1, max_size=3))
def test_no_valid_json_whatever_stops_a_report(
    several: list[list[tuple[tuple[Any, ...], Any]]],
) -> None:
    good = [record(backend="torch-eager"), record(backend="openvino")]
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "run.jsonl"
        file.write_text(
            "".join(json.dumps(line) + "\n" for line in [*good, *map(mutated, several)])
        )
        reading = records.read([file])
        page = index.write(reading.lines, Path(folder) / "site", reading.notes).read_text()
        assert "resnet18-openvino-fp32-cpu-b1" in page, (
            "what is right is shown whatever stands beside it"
        )
        assert cli.main(["inspect", str(file)]) == 0


def test_what_is_left_out_is_noted() -> None:
    bad = mutated([(("samples_ns", "compute"), "x")])
    bad["cell"] = {**bad["cell"], "id": "edited-by-hand", "key": "k"}
    with tempfile.TemporaryDirectory() as folder:
        page = index.write([record(backend="torch-eager"), bad], Path(folder)).read_text()
    assert (
        "1\N{NO-BREAK SPACE}malformed outcome left out, see docs/reference/results-file.md: "
        "edited-by-hand" in page
    )


def test_a_report_of_nothing_but_garbage_says_so(capsys: Any) -> None:
    bad = mutated([(("samples_ns", "compute"), "x")])
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "run.jsonl"
        file.write_text(json.dumps(bad) + "\n")
        assert cli.main(["report", str(file), "-o", folder]) == 4
    assert "every recorded outcome is malformed" in capsys.readouterr().err
