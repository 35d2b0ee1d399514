"""Reports of cells measured in turn: ratios within rounds, robust levels, words of a whole run.

SYNTHETIC TEST DATA: three sweeps of three rounds, a block of one lap per round.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import pytest
import synthetic
from rich.console import Console

from evenbench.harness.statistics import group_verdicts
from evenbench.harness.statistics.ratios import INFLATION
from evenbench.reports import formatting, result_groups, verdict
from evenbench.reports.charts import speedups
from evenbench.reports.pages import index
from evenbench.reports.sections import details, overview, precisions, sides
from evenbench.reports.terminal import outcomes

SPACE = formatting.SPACE

ROUNDS = (1.0, 1.1, 1.2)
"""Drift within a sweep."""

DRIFT = (1.0, 1.3, 0.8)
"""Drift between sweeps."""


def in_turn(
    backend: str,
    process_ns: Sequence[float],
    *,
    model: str = "resnet18",
    precision: str = "fp32",
    rounds: Sequence[float] = ROUNDS,
) -> dict[str, Any]:
    """A record with a process per sweep, whose lap takes `process_ns` times the factor of each
    round.
    """
    record = synthetic.record(model, backend, precision, process_ns=tuple(process_ns))
    laps = [[round(level * factor) for factor in rounds] for level in process_ns]
    block = {**record["blocks"]["compute"][0][0], "laps": 1}
    turns = [
        {
            "sweep": f"{model}-{precision} {sweep}",
            "members": [],
            "rounds": list(range(len(rounds))),
            "untimed_laps": {},
        }
        for sweep in range(len(process_ns))
    ]
    both = ("compute", "host_to_host")
    return record | {
        "samples_ns": dict.fromkeys(both, laps),
        "blocks": dict.fromkeys(both, [[block] * len(rounds)] * len(process_ns)),
        "interleaving": turns,
    }


def drifting(level_ns: float, noise: Sequence[float] = (1.0, 1.0, 1.0)) -> list[float]:
    return [level_ns * drift * own for drift, own in zip(DRIFT, noise, strict=True)]


def group_of(*lines: dict[str, Any]) -> result_groups.Group:
    (group,) = result_groups.groups(result_groups.results(lines))
    return group


def t_interval(values: Sequence[float]) -> tuple[float, float, float]:
    """The geometric mean of three values with Student's t interval, by hand: t(2) is 4.3027."""
    logs = [math.log(value) for value in values]
    centre = sum(logs) / 3
    spread = math.sqrt(sum((value - centre) ** 2 for value in logs) / 2)
    half = 4.3027 * INFLATION * spread / math.sqrt(3)
    return math.exp(centre), math.exp(centre - half), math.exp(centre + half)


def test_drift_of_all_members_leaves_the_ratio_narrow_and_the_levels_wide() -> None:
    noise = (1.0, 1.01, 0.99)
    group = group_of(in_turn("torch-eager", drifting(20e6)), in_turn("ort", drifting(10e6, noise)))
    (ort,) = (result for result in group.ranked if result.name == "ort")
    speedup = group.speedup(ort)
    assert speedup is not None
    ratios = [2.0 / own for own in noise]
    assert (speedup.value, speedup.low, speedup.high) == pytest.approx(t_interval(ratios), rel=1e-4)
    assert ort.compute is not None
    middle = [11e6 * drift * own for drift, own in zip(DRIFT, noise, strict=True)]
    level = (ort.compute.value, ort.compute.low, ort.compute.high)
    assert level == pytest.approx(t_interval(middle), rel=1e-4)
    assert verdict.stand(group, ort) == "faster than torch-eager"
    assert verdict.judge(group).fastest == "ort"


def test_a_stalled_process_moves_no_ratio_and_is_named() -> None:
    stalled = [20e6, 100e6, 20.2e6]
    lines = [in_turn("torch-eager", stalled), in_turn("ort", [10e6, 10.1e6, 10e6])]
    group = group_of(*lines)
    eager, ort = group.ranked[1], group.ranked[0]
    speedup = group.speedup(ort)
    assert speedup is not None
    assert speedup.value == pytest.approx(math.sqrt(2.0 * 2.02), rel=1e-4)
    facts = dict(details.describe(group, ort)["sections"][0][1])
    assert facts["sweeps left out of the speed-up"] == "resnet18-fp32 1: torch-eager stalled"
    (words,) = details.describe(group, eager)["warnings"]
    assert words.startswith(
        "process 2 of 3 stands apart, compute took 5.0 times the median process: the record has "
    )
    reasons = {row.cell: row.reason for row in outcomes.rows(lines)}
    assert reasons["resnet18-torch-eager-fp32-cpu-b1"] == (
        "the baseline; process 2 of 3 stands apart"
    )


def test_a_member_that_ended_early_is_compared_in_the_rounds_it_has() -> None:
    early = in_turn("ort", [10e6, 10e6, 10e6])
    for key in ("samples_ns", "blocks"):
        early[key] = {name: [*values[:2], values[2][:1]] for name, values in early[key].items()}
    early["interleaving"][2]["rounds"] = [0]
    group = group_of(in_turn("torch-eager", [20e6, 20.2e6, 19.8e6]), early)
    speedup = group.speedup(group.ranked[0])
    assert speedup is not None
    assert speedup.processes == 3
    assert speedup.value == pytest.approx((2.0 * 2.02 * 1.98) ** (1 / 3), rel=1e-4)


def test_what_is_not_judged_has_the_values_of_its_processes_and_no_interval() -> None:
    lines = [
        in_turn("torch-eager", [20e6, 20e6]),
        in_turn("ort", [0.3e6, 60e6], rounds=(1.0, 1.0, 1.0)),
        in_turn("openvino", [10e6, 10e6]),
    ]
    group = group_of(*lines)
    (ort,) = (result for result in group.ranked if result.name == "ort")
    assert formatting.latency(ort.compute) == "not judged"
    assert formatting.latency_interval(ort.compute) == f"0.300 and 60.0{SPACE}ms"
    assert verdict.speedup_texts(group, ort) == ("not judged", "0.367 and 73.3×")
    assert verdict.tone(group, ort) == verdict.UNKNOWN
    chart = speedups.overview([group])
    assert chart is not None
    desktop = chart.svg.partition("</svg>")[0]
    assert ">not judged<" in desktop
    assert ">0.367 and 73.3×<" in desktop
    assert desktop.count("<use ") == 1, "openvino has a mark, and ort none"
    row = next(row for row in outcomes.rows(lines) if "-ort-" in row.cell)
    assert row.latency == f"not judged (0.300 and 60.0{SPACE}ms)"
    assert "not judged" in index.render(lines)


def test_all_groups_of_a_run_are_judged_once(monkeypatch: pytest.MonkeyPatch) -> None:
    judged = []
    real = group_verdicts.judge

    def counted(groups: group_verdicts.Groups, *more: Any) -> Any:
        judged.append(sorted(groups))
        return real(groups, *more)

    monkeypatch.setattr(group_verdicts, "judge", counted)
    lines = [
        in_turn(backend, [level, level * 1.001, level * 0.999], model=model)
        for model in ("resnet18", "vit-tiny")
        for backend, level in (("torch-eager", 20e6), ("ort", 10e6))
    ]
    groups = result_groups.groups(result_groups.results(lines))
    assert [verdict.judge(group).tone for group in groups] == [verdict.FASTER] * 2
    assert judged == [["resnet18-fp32-cpu-b1-t2", "vit-tiny-fp32-cpu-b1-t2"]]


def test_another_precision_has_no_common_sweep_and_pairs_by_process() -> None:
    lines = [
        in_turn("torch-eager", [20e6, 20.2e6, 19.8e6]),
        in_turn("torch-eager", [10e6, 10e6, 10e6], precision="bf16"),
    ]
    (family,) = precisions.families(result_groups.results(lines))
    ((_, (native, low)),) = family.rows
    assert native is not None
    assert low is not None
    value, smallest, largest = t_interval([2.0, 2.02, 1.98])
    assert (native.large, low.large) == ("1×", f"{value:.2f}×")
    assert low.small.startswith(f"{smallest:.2f} to {largest:.2f}×")
    assert low.tone == verdict.FASTER


def test_percentiles_say_for_which_calls_they_are() -> None:
    turned = result_groups.results([in_turn("ort", [10e6, 10e6, 10e6])])
    alone = result_groups.results([synthetic.record()])
    assert overview.percentile_words(turned) == (
        "They describe calls made in turn with other runtimes."
    )
    assert overview.percentile_words(alone) == "They describe calls of one runtime alone."
    assert "made in turn with other runtimes or calls of one" in overview.percentile_words(
        [*turned, *alone]
    )


def test_several_that_may_be_the_fastest_are_all_named_and_equal_ones_are_equivalent() -> None:
    """Within rounds `ort` and `openvino` differ by 0.1 % at most, under drift of 60 %."""
    group = group_of(
        in_turn("torch-eager", drifting(20e6)),
        in_turn("ort", drifting(10e6, (1.0, 1.001, 0.999))),
        in_turn("openvino", drifting(10e6)),
        in_turn("tvm", drifting(10e6, (1.0, 1.2, 0.85))),
    )
    line = verdict.judge(group)
    assert {result.name for result in group.fastest} == {"ort", "openvino", "tvm"}
    assert set(line.fastest.replace(" or ", ", ").split(", ")) == {"ort", "openvino", "tvm"}
    assert f"{line.fastest}, not told apart: ±" in line.words
    equal = group_of(
        in_turn("torch-eager", drifting(20e6)),
        in_turn("ort", drifting(10e6, (1.0, 1.0001, 0.9999))),
        in_turn("openvino", drifting(10e6)),
    )
    words = verdict.judge(equal).words
    assert f": equivalent within 1{SPACE}%; each faster than torch-eager" in words


FAST, SLOW = (9.0e6, 9.02e6, 8.99e6), (18.0e6, 18.05e6, 17.95e6)
THEN = {
    "results": "old.jsonl",
    "run": "old",
    "time": "2026-01-02T03:04:05Z",
    "outcome": "ok",
    "compute_ns": [9.5e6, 9.7e6, 9.6e6],
    "differ": [],
}


def there(here: dict[str, Any], **changed: object) -> dict[str, Any]:
    """The same cell with the code of another commit, twice as slow."""
    other = synthetic.record(process_ns=SLOW)
    other["cell"] |= {
        "id": f"{here['cell']['id']}-at=main:1a2b3c4d",
        "key": "1" * 16,
        "side": "main:1a2b3c4d",
    }
    other["against"] = {
        "side": "main",
        "cell": here["cell"]["id"],
        "key": here["cell"]["key"],
        "commit": "1a2b3c4d" + "0" * 32,
        "origins": {},
    }
    return {**other, **changed}


def beside(*lines: dict[str, Any]) -> list[sides.SideRow]:
    return sides.rows(result_groups.groups(result_groups.results(lines)))


def test_a_run_without_sides_has_no_rows() -> None:
    assert beside(synthetic.record()) == []
    assert 'id="sides"' not in index.render([synthetic.record()])


def test_words_and_ratio_are_those_of_the_run() -> None:
    here = synthetic.record(process_ns=FAST)
    (row,) = beside(here, there(here))
    assert row.words == "faster than main:1a2b3c4d"
    assert row.ratio.startswith("2.00×")
    assert (row.cell, row.side) == (here["cell"]["id"], "main:1a2b3c4d")
    page = index.render([here, there(here)])
    assert '<a href="#sides">' in page
    assert row.words in page
    assert "ort at main:1a2b3c4d" in page


def test_a_wrong_side_has_no_ratio() -> None:
    here = synthetic.record(process_ns=FAST)
    (row,) = beside(here, there(here, outcome="mismatch"))
    assert row.words == "not judged: ort at main:1a2b3c4d is mismatch"
    assert row.ratio == "–"


def test_past_times_are_shown_and_never_judged() -> None:
    (row,) = beside({**synthetic.record(process_ns=FAST), "then": THEN})
    assert (row.there, row.ratio) == ("9.60\u00a0ms then", "–")
    assert row.words == "not judged: measured at another time, not in turns"
    differ = ["cpu: Another CPU against This CPU"]
    (row,) = beside({**synthetic.record(process_ns=FAST), "then": {**THEN, "differ": differ}})
    assert row.words == "not judged: measured elsewhere: cpu: Another CPU against This CPU"
    wrong = {**THEN, "outcome": "mismatch"}
    (row,) = beside({**synthetic.record(process_ns=FAST), "then": wrong})
    assert (row.there, row.words) == (
        f"[9.60{SPACE}ms then]",
        "not judged: the past outcome is mismatch",
    )


def test_the_terminal_has_a_table_of_sides() -> None:
    here = synthetic.record(process_ns=FAST)
    console = Console(record=True, width=200)
    outcomes.show([here, there(here)], console)
    text = console.export_text()
    assert "other side" in text
    assert "faster than main:1a2b3c4d" in text
