"""What satisfies limits, what excludes the others, and the front: each answer is one that somebody
would ship by.
"""

import pytest
import synthetic

from evenbench.reports import constraints, deployment_facts, recommendation, verdict
from evenbench.reports import result_groups as shape

ENOUGH = 160
"""Laps per process with which three processes state a p99."""


def cell(backend, millis, *, memory=300e6, accuracy=None, error=1e-6, spread=0.001, **changed):
    """A correct cell of three processes at about `millis`, with its peak memory, accuracy and
    parity error.
    """
    times = tuple(millis * 1e6 * factor for factor in (1 - spread, 1.0, 1 + spread))
    made = synthetic.record(backend=backend, process_ns=times, **{"laps": ENOUGH, **changed})
    if made["outcome"] == "ok":
        made["memory"] = {"peak_rss_bytes": [int(memory)] * 3}
        made["accuracy"] = (
            None if accuracy is None else {"metric": "top-1", "value": accuracy, "count": 360}
        )
        made["parity"]["outputs"][0] |= {"rmse": error, "scale": 1.0}
    return made


def advise(*lines, **limits):
    return recommendation.advise(
        shape.results(lines), {name.replace("_", " "): value for name, value in limits.items()}
    )


def names(facts):
    return [each.result.name for each in facts]


def reasons(advice, backend):
    (found,) = [told for facts, told in advice.excluded if facts.result.name == backend]
    return " | ".join(found)


def test_what_satisfies_comes_fastest_first_and_the_rest_is_told_every_reason():
    lines = (
        cell("torch-eager", 20),
        cell("ort", 9, memory=600e6),
        cell("openvino", 7),
        cell("tvm", 40, memory=600e6),
    )
    advice = advise(*lines, p99=30e6, memory=500e6)
    assert names(each.facts for each in advice.ranked) == ["openvino", "torch-eager"]
    assert (
        reasons(advice, "ort")
        == "memory 600\N{NO-BREAK SPACE}MB is over 500\N{NO-BREAK SPACE}MB by 20 %"
    )
    assert "p99 " in reasons(advice, "tvm")
    assert "memory " in reasons(advice, "tvm")


@pytest.mark.parametrize(
    "outcome", ["mismatch", "fallback", "unsupported", "unavailable", "failed"]
)
def test_what_is_not_ok_is_excluded_in_its_own_words_however_fast(outcome):
    wrong = cell("ort", 0.001, outcome=outcome, reason="because of this", hint="pip install it")
    advice = advise(cell("torch-eager", 20), wrong)
    assert names(each.facts for each in advice.ranked) == ["torch-eager"]
    assert reasons(advice, "ort") == f"{outcome}: because of this; pip install it"
    assert names(advice.front) == ["torch-eager"]


def test_a_control_is_never_recommended():
    assert "control" in reasons(advise(cell("null", 0.001), cell("ort", 9)), "null")


def test_a_p99_that_nobody_measured_excludes_nothing_and_says_what_would_measure_it():
    advice = advise(cell("ort", 9, laps=24), p99=54e6)
    assert (advice.ranked, advice.excluded) == ((), ())
    (possible,) = advice.possible
    (doubt,) = possible.doubts
    laps = "72\N{NO-BREAK SPACE}laps"
    assert doubt.startswith(f"p99 not measured: {laps}, and 459 are needed (--plan thorough); ")
    assert doubt.endswith(" times below the limit")
    assert "459" in advice.nearest[0]
    assert advise(cell("ort", 9, laps=153), p99=1e12).ranked, "459 laps are enough"


def test_a_median_over_the_limit_excludes_without_a_p99():
    advice = advise(cell("ort", 9, laps=24), p99=5e6)
    assert not advice.possible
    assert "alone is over the p99 limit" in reasons(advice, "ort")


def test_limits_on_p50_p90_cold_start_installed_size_and_throughput():
    lines = (cell("ort", 9), cell("torch-eager", 20))
    wanted = {"p50": 10e6, "p90": 11e6, "cold start": 1e12, "throughput": 60.0}
    for name, limit in wanted.items():
        advice = advise(*lines, **{name: limit})
        assert advice.ranked[0].facts.result.name == "ort", name
    slow = advise(*lines, throughput=1e6)
    assert not slow.ranked
    assert "samples/s is under" in reasons(slow, "ort")
    small = {"ort": (100, ""), "torch-eager": (None, "it is not installed")}
    advice = recommendation.advise(shape.results(lines), {"installed size": 200.0}, small)
    assert names(each.facts for each in advice.ranked) == ["ort"]
    assert names(each.facts for each in advice.possible) == ["torch-eager"]
    assert advice.possible[0].doubts == ("installed size is not known: it is not installed",)


def test_every_precision_is_compared_with_fp32_eager():
    facts = deployment_facts.gather(
        shape.results(
            [
                cell("torch-eager", 20),
                cell("ort", 10),
                cell("openvino", 5, precision="int8-static"),
                cell("torch-eager", 40, precision="bf16", labels=["emulated"]),
            ]
        )
    )
    ratios = [fact.over_eager and round(fact.over_eager.value, 1) for fact in facts]
    assert ratios == [None, 2.0, 4.0, 0.5]


def test_an_emulated_precision_is_never_a_baseline():
    lines = [
        cell("torch-eager", 400, precision="bf16", labels=["emulated"]),
        cell("openvino", 5, precision="bf16"),
    ]
    (group,) = shape.groups(shape.results(lines))
    assert group.baseline is None
    assert "torch-eager emulates bf16 on this machine" in verdict.judge(group).words
    (fact, _) = deployment_facts.gather(
        shape.results([cell("ort", 9), cell("torch-eager", 9, labels=["emulated"])])
    )
    assert fact.eager is None


def test_the_limit_is_on_host_to_host_and_not_on_compute():
    slow_transfer = cell("ort", 9)
    slow_transfer["samples_ns"]["host_to_host"] = [[25_000_000] * ENOUGH] * 3
    assert not advise(slow_transfer, p99=20e6).ranked
    assert advise(slow_transfer, p99=25e6).ranked, "a limit that is just kept"


def test_several_requests_in_flight_have_no_latency():
    busy = cell("openvino", 3)
    busy["cell"]["group"] += "-throughput"
    advice = advise(busy, cell("ort", 9), p99=20e6)
    assert names(each.facts for each in advice.ranked) == ["ort"]
    assert "no caller waits" in reasons(advice, "openvino")
    assert names(advice.front) == ["ort"]


def test_an_accuracy_drop_is_a_share_of_eager_at_fp32():
    lines = (
        cell("torch-eager", 20, accuracy=0.90),
        cell("ort", 9, accuracy=0.892),
        cell("tvm", 9, accuracy=0.889),
    )
    advice = advise(*lines, accuracy_drop=0.01)
    assert names(each.facts for each in advice.ranked) == ["ort", "torch-eager"]
    assert reasons(advice, "tvm").startswith("accuracy drop 1.22\N{NO-BREAK SPACE}% is over 1.00")
    assert advice.reference.value == 0.9
    better = advise(lines[0], cell("ort", 9, accuracy=0.95), accuracy_drop=0.0)
    assert names(each.facts for each in better.ranked) == ["ort", "torch-eager"], (
        "a gain is no drop"
    )


def test_without_held_out_data_an_accuracy_limit_is_never_taken_as_kept():
    advice = advise(cell("torch-eager", 20), cell("ort", 9), accuracy_drop=0.5)
    assert not advice.ranked
    assert not advice.excluded
    for possible in advice.possible:
        assert "without held-out data; evenbench run --dataset DIR" in possible.doubts[0]


def test_accuracies_of_different_data_are_not_compared():
    mine = {"dataset": {"sha256": "a"}}
    lines = (
        cell("torch-eager", 20, accuracy=0.90),
        cell("ort", 9, accuracy=0.5, **mine),
        cell("tvm", 9, accuracy=0.6, **mine),
    )
    advice = advise(*lines, accuracy_drop=0.01)
    assert names(each.facts for each in advice.ranked) == ["tvm", "torch-eager"]
    assert "16.7" in reasons(advice, "ort"), "of the best one on the same data"


def test_of_an_accuracy_of_zero_nothing_can_be_lost():
    advice = advise(
        cell("torch-eager", 20, accuracy=0.0), cell("ort", 9, accuracy=0.0), accuracy_drop=0.5
    )
    assert not advice.ranked
    assert all("is 0, so a drop is undefined" in cell.doubts[0] for cell in advice.possible)
    assert len(advice.possible) == 2


def test_without_eager_the_best_correct_fp32_cell_is_the_reference():
    advice = advise(
        cell("ort", 9, accuracy=0.8),
        cell("tvm", 9, accuracy=0.9),
        cell("openvino", 5, accuracy=1.0, outcome="mismatch"),
    )
    assert advice.reference.value == 0.9


def test_two_that_are_not_told_apart_are_named_and_two_apart_are_not():
    advice = advise(
        cell("ort", 9, spread=0.05), cell("openvino", 9.05, spread=0.0), cell("torch-eager", 20)
    )
    first, second, third = advice.ranked
    assert first.not_apart == ()
    assert [why for _, why in second.not_apart] == ["not told apart"]
    assert third.not_apart == ()


def test_one_process_or_two_runs_are_never_told_apart():
    alone = cell("tvm", 30)
    for key in ("compute", "host_to_host"):
        alone["samples_ns"][key] = alone["samples_ns"][key][:1]
    elsewhere = cell("openvino", 50, run=synthetic.RUN | {"id": "another"})
    advice = advise(cell("ort", 9), alone, elsewhere)
    assert [why for _, why in advice.ranked[1].not_apart] == ["measured in one process"]
    assert {why for _, why in advice.ranked[2].not_apart} == {"measured in another run"}


def test_the_front_keeps_what_is_best_in_something():
    lines = (
        cell("openvino", 7, memory=300e6, accuracy=0.9),
        cell("ort", 9, memory=100e6, accuracy=0.9),
        cell("torch-eager", 20, memory=300e6, accuracy=0.95),
        cell("tvm", 21, memory=400e6, accuracy=0.95),
    )
    assert names(advise(*lines).front) == ["openvino", "ort", "torch-eager"]


def test_on_the_front_a_latency_not_told_apart_is_no_advantage():
    lines = (
        cell("openvino", 9, spread=0.05, memory=300e6),
        cell("ort", 9.05, spread=0.0, memory=100e6),
    )
    assert names(advise(*lines).front) == ["ort"]


def test_on_the_front_an_error_within_tolerance_and_memory_noise_are_no_advantage():
    lines = (
        cell("openvino", 7, error=1e-3, memory=300e6),
        cell("ort", 9, error=1e-6, memory=295e6),
        cell("tvm", 9.5, error=1e-3, memory=301e6),
    )
    assert names(advise(*lines).front) == ["openvino"]
    samples = (cell("openvino", 7, accuracy=0.900), cell("ort", 9, accuracy=0.9 + 1 / 360))
    assert names(advise(*samples).front) == ["openvino"], "one sample of 360 is no advantage"


def test_the_front_of_anything_that_runs_is_never_empty():
    twins = [cell(name, 9, spread=0.02) for name in ("ort", "openvino", "tvm")]
    assert len(advise(*twins).front) >= 1


def test_when_nothing_satisfies_the_nearest_miss_of_each_limit_is_named():
    advice = advise(
        cell("ort", 9, memory=600e6), cell("openvino", 12, memory=200e6), p99=13e6, memory=300e6
    )
    assert not advice.ranked
    p99, memory = advice.nearest
    assert "is met by 1 of 2" in p99
    assert "the nearest miss is resnet18-openvino-fp32-cpu-b1" in p99
    assert "all other limits are met" in p99
    assert "the nearest miss is resnet18-ort-fp32-cpu-b1" in memory
    assert "by 100 %" in memory


def test_when_nothing_is_right_no_limit_is_blamed():
    advice = advise(cell("ort", 9, outcome="mismatch"), p99=1e9)
    assert advice.nearest == ("p99: no correct cell, whatever the limit",)


def test_the_page_knows_the_faster_ones_that_a_cell_is_not_told_apart_from():
    elsewhere = cell("tvm", 9.02, run=synthetic.RUN | {"id": "another"})
    busy = cell("openvino", 3)
    busy["cell"]["group"] += "-throughput"
    results = shape.results(
        [
            cell("ort", 9, spread=0.05),
            cell("openvino", 9.05, spread=0.0),
            cell("torch-eager", 20),
            elsewhere,
            busy,
        ]
    )
    values = recommendation.page_values(results)
    tied = [values[id(result)][5] for result in results]
    assert sorted(tied[:2]) in ([[], [id(results[0])]], [[], [id(results[1])]]), (
        "the slower of the two names the other"
    )
    assert tied[2:] == [[], [], []], (
        "nothing is compared with another run, or of several requests in flight"
    )


def test_the_page_filters_by_the_same_values_and_the_front_of_one_run():
    results = shape.results(
        [
            cell("openvino", 7, accuracy=0.9),
            cell("torch-eager", 20, accuracy=0.9),
            cell("ort", 9, outcome="failed"),
        ]
    )
    values = recommendation.page_values(results)
    facts = deployment_facts.gather(results)
    assert values[id(results[0])][:2] == [round(facts[0].p99_ns), facts[0].memory_bytes]
    assert [values[id(result)][4] for result in results] == [True, False, False]
    assert [values[id(result)][5] for result in results] == [[], [], []]
    assert values[id(results[2])][:4] == [None] * 4
    assert len(constraints.FIELDS) == len(constraints.CONSTRAINTS)
