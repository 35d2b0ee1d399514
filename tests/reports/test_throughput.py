"""Throughput stands apart from latency: another group, another title, no speed-up over what waits
for one answer.
"""

from reports import result_groups, verdict
from reports.sections import comparison
from tests.reports import synthetic


def throughput(**changed):
    made = synthetic.record("resnet18", "openvino", process_ns=(1e6, 1e6, 1e6), **changed)
    cell = {
        **made["cell"],
        "group": made["cell"]["group"] + "-throughput",
        "options": {"hint": "throughput"},
    }
    return {**made, "cell": cell}


def test_it_is_neither_ranked_nor_titled_with_latencies():
    lines = [
        synthetic.record("resnet18", "torch-eager"),
        synthetic.record("resnet18", "openvino"),
        throughput(),
    ]
    latency, apart = result_groups.groups(result_groups.results(lines))
    assert {result.name for result in latency.results} == {"torch-eager", "openvino"}
    assert apart.speedup(apart.results[0]) is None
    assert verdict.setting(apart) == verdict.setting(latency) + " · throughput"
    assert len(set(comparison.titles([latency, apart]))) == 2
