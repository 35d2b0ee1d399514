"""`make gpu-check`: the contract and a quick matrix on every GPU backend, device and precision; its
record goes to docs/results/verified.md.

Exits with 0 where everything that is installed passed, 1 where something did not, and 2 where this
machine has no GPU.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

from evenbench.harness import cli
from evenbench.harness.core import registry
from evenbench.harness.core.types import INNER_BOUNDARIES
from evenbench.harness.environment import cpu, gpu, system_info
from evenbench.harness.results import records
from tests.gpu.pairs import Pair, pairs

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "docs" / "results" / "verified.md"
BEGIN, END = "<!-- gpu-check -->", "<!-- end of gpu-check -->"
COMMAND = "make gpu-check"
NO_GPU = 2
COLUMNS = (
    "backend",
    "device",
    "precision",
    "contract",
    "cells",
    "attested",
    "parity: needed",
    "on device",
    "blocks throttled",
)
UNWANTED = ("mismatch", "fallback", "failed")
"""Outcomes of the matrix that are no success; `unavailable` and `unsupported` are rows with a
reason.
"""


def main() -> int:
    """Run it all, write the record, and print what was not right."""
    absent = gpu.absence()
    if absent:
        print(
            f"gpu-check: {absent}. This target runs every backend on a GPU; run it on a machine "
            "that has one, with its driver and nvidia-ml-py installed. Nothing was run, and "
            "docs/results/verified.md is as it was.",
            file=sys.stderr,
        )
        return NO_GPU
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "contract.xml"
        subprocess.run(
            [sys.executable, "-m", "pytest", "tests/gpu/contract.py", "-q", f"--junitxml={report}"],
            cwd=ROOT,
            check=False,
        )
        contract = contract_results(report.read_text() if report.exists() else "<testsuites/>")
        cli.main(
            [
                "run",
                str(ROOT / "tests/gpu/bench_gpu.py"),
                "--plan",
                "quick",
                "--fresh",
                "--results",
                folder,
            ]
        )
        lines = records.read([Path(folder)]).lines
    found = pairs()
    PAGE.write_text(written(PAGE.read_text(), record(found, contract, lines)))
    wrong = failures(found, contract, lines)
    print(*wrong, sep="\n", file=sys.stderr)
    print(
        f"gpu-check: {len(found)} pairs of backend and precision, {len(wrong)} of them not right; "
        f"recorded in {PAGE.relative_to(ROOT)}"
    )
    return 1 if wrong else 0


def contract_results(xml: str) -> dict[str, Counter[str]]:
    """Counts of each class's tests passed, failed and skipped, from pytest's JUnit report."""
    found: dict[str, Counter[str]] = {}
    for case in ElementTree.fromstring(xml).iter("testcase"):
        kinds = {child.tag for child in case}
        kind = (
            "failed"
            if kinds & {"failure", "error"}
            else ("skipped" if "skipped" in kinds else "passed")
        )
        found.setdefault(case.get("classname", "").rpartition(".")[2], Counter())[kind] += 1
    return found


def of(pair: Pair, lines: Iterable[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """The matrix's lines of a pair."""
    wanted = (pair.backend, pair.device, pair.precision)
    return [
        line
        for line in lines
        if tuple(line["cell"][name] for name in ("backend", "device", "precision")) == wanted
    ]


def failures(
    found: Sequence[Pair], contract: Mapping[str, Counter[str]], lines: Sequence[Mapping[str, Any]]
) -> list[str]:
    """In words, each pair that is here and did not pass everything; a pair that was not run at all
    did not pass.
    """
    wrong = []
    for pair in (pair for pair in found if not pair.lacks):
        tests, cells = contract.get(pair.test, Counter()), of(pair, lines)
        bad = [
            f"{line['cell']['id']} {line['outcome']}: {line['reason']}"
            for line in cells
            if line["outcome"] in UNWANTED
        ]
        if tests["failed"] or not tests["passed"]:
            bad.insert(0, f"contract: {tests['failed']} failed, {tests['passed']} passed")
        if not any(line["outcome"] == "ok" for line in cells):
            bad.append("no cell of it is ok")
        if bad:
            wrong.append(f"{pair.backend} on {pair.device} at {pair.precision}: {'; '.join(bad)}")
    return wrong


def record(
    found: Sequence[Pair], contract: Mapping[str, Counter[str]], lines: Sequence[Mapping[str, Any]]
) -> str:
    """The record as Markdown: date, machine, versions, and a row for every pair, with those that
    are not here and why.
    """
    head = (
        f"{records.timestamp()[:10]}, `{COMMAND}`, on {_machine()}; "
        f"Python {system_info.describe()['python']}, {_versions(found)}. "
        "*On device* is the share of a lap's host time that the device was at work, "
        "the median over cells."
    )
    rows = ["| " + " | ".join(COLUMNS) + " |", "|---" * len(COLUMNS) + "|"]
    rows += [_row(pair, contract.get(pair.test, Counter()), of(pair, lines)) for pair in found]
    return "\n".join([head, "", *rows]) + "\n"


def _machine() -> str:
    devices = [
        f"{device['name']} (compute {device['capability']}, driver {device['driver']})"
        for device in gpu.devices()
    ]
    return f"{', '.join(devices)}, {system_info.describe()['cpu']}, {cpu.cores()} cores"


def _versions(found: Sequence[Pair]) -> str:
    here = dict.fromkeys(pair.backend for pair in found if not pair.lacks)
    names = dict.fromkeys(name for backend in here for name in registry.find(backend).distributions)
    own = system_info.packages(tuple(names))
    return (
        ", ".join(f"{name} {own[name]}" for name in names if name in own)
        or "no GPU runtime installed"
    )


def _row(pair: Pair, tests: Mapping[str, int], cells: Sequence[Mapping[str, Any]]) -> str:
    if pair.lacks:
        return (
            f"| {pair.backend} | {pair.device} | {pair.precision} | not run: {_plain(pair.lacks)} "
            + "| " * (len(COLUMNS) - 4)
            + "|"
        )
    outcomes = Counter(line["outcome"] for line in cells)
    reasons = dict.fromkeys(_plain(line["reason"])[:160] for line in cells if line["reason"])
    words = ", ".join(f"{count} {outcome}" for outcome, count in outcomes.items()) + (
        f" ({'; '.join(reasons)})" if reasons else ""
    )
    good = [line for line in cells if line["outcome"] == "ok"]
    attested = ", ".join(dict.fromkeys(line["attested"]["precision"] for line in good))
    needed = f"{max(line['parity']['needed'] for line in good):.2g}" if good else ""
    passed = ", ".join(f"{count} {kind}" for kind, count in tests.items())
    cell = [
        pair.backend,
        pair.device,
        pair.precision,
        passed or "not run",
        words,
        attested,
        needed,
        _share(good),
        _throttled(good),
    ]
    return "| " + " | ".join(cell) + " |"


def _plain(text: str) -> str:
    return " ".join(text.replace("|", "/").split())


def _share(good: Sequence[Mapping[str, Any]]) -> str:
    """The median over cells of (sum of device laps) / (sum of the same laps by the host); empty
    without device events.
    """
    shares = []
    for line in good:
        for inner in INNER_BOUNDARIES:
            laps = line["samples_ns"].get(inner)
            if laps:
                shares.append(sum(map(sum, laps)) / sum(map(sum, line["samples_ns"]["compute"])))
    return f"{sorted(shares)[len(shares) // 2]:.0%}" if shares else ""


def _throttled(good: Sequence[Mapping[str, Any]]) -> str:
    blocks = [
        block
        for line in good
        for process in line["gpu"]
        for listed in process["blocks"].values()
        for block in listed
    ]
    return f"{sum(bool(block['slowed']) for block in blocks)} of {len(blocks)}" if blocks else ""


def written(page: str, content: str) -> str:
    """`page` with `content` between the markers. Raises ValueError where they are not there once
    each, in order.
    """
    before, begun, rest = page.partition(BEGIN)
    _, ended, after = rest.partition(END)
    if not begun or not ended or BEGIN in after or END in after:
        raise ValueError(
            f"docs/results/verified.md must have {BEGIN} and {END} once each, in this order; "
            "put them back"
        )
    return f"{before}{BEGIN}\n{content}{END}{after}"


if __name__ == "__main__":
    sys.exit(main())
