"""Interference: other load on the machine during pairs, and slowdowns caused by the load."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from evenbench.harness.core import thresholds
from evenbench.harness.statistics.estimates import median


def facts(samples: Sequence[Mapping[str, Any]], pressure_percent: float | None) -> dict[str, Any]:
    """The load of the machine during one pair's samples, both sides together.

    - `marked`: share of samples with an involuntary context switch;
    - `foreign_cores`: average number of cores used by other processes;
    - `steal`: share of one core's time taken by the hypervisor;
    - `pressure_percent`: share of the last ten seconds with a task waiting for a core (Linux
      pressure stall information, `/proc/pressure/cpu`).

    A value is None if a side, of an older commit, does not report the counter.
    """
    wall = sum(sum(sample["laps_ns"]) for sample in samples)
    marked = sum(sample["preemptions"] > 0 for sample in samples) / len(samples)
    counted = all("machine_cpu_ns" in sample for sample in samples)
    other = sum(sample["machine_cpu_ns"] - sample["cpu_ns"] for sample in samples) if counted else 0
    stolen = sum(sample["steal_ns"] for sample in samples) if counted else 0
    return {
        "marked": marked,
        "foreign_cores": max(0.0, other / wall) if counted else None,
        "steal": stolen / wall if counted else None,
        "pressure_percent": pressure_percent,
    }


def warnings(pairs: Sequence[Mapping[str, Any]]) -> list[str]:
    """A sentence for each kind of load above its limit in the median pair.

    The limits equal the limits of a run's quality warnings.
    """
    limits = {
        "foreign_cores": (thresholds.FOREIGN_CORES, 1, "other processes used {:.1f} cores"),
        "steal": (thresholds.STEAL_CORES, 100, "the hypervisor took {:.0f} % of a core"),
        "pressure_percent": (
            thresholds.PRESSURE_PERCENT,
            1,
            "tasks waited for a core in {:.0f} % of the time",
        ),
    }
    sentences = []
    for name, (limit, scale, words) in limits.items():
        values = [pair["health"][name] for pair in pairs if pair["health"].get(name) is not None]
        if values and median(values) > limit:
            sentences.append(words.format(scale * median(values)))
    return sentences


def contamination(pairs: Sequence[Mapping[str, Any]], margin: float) -> str:
    """The reason not to trust a slowdown; empty for a slowdown caused by the code.

    Rule: a slowdown is contaminated if the median ratio of CPU time, head over base, is at most
    1 + `margin`, and more than `PREEMPTED_SHARE` of the samples were interrupted. Head then did no
    more work, but waited for a core. Without a usable CPU clock the rule does not apply.
    """
    marked = [pair["health"]["marked"] for pair in pairs]
    ratios = [_cpu_log_ratio(*pair["cpu_ns"]) for pair in pairs]
    if not pairs or None in ratios:
        return ""
    grown = math.exp(median([ratio for ratio in ratios if ratio is not None]))
    share = sum(marked) / len(marked)
    if share <= thresholds.PREEMPTED_SHARE or grown > 1 + margin:
        return ""
    return (
        f"contaminated: its CPU time changed by {100 * (grown - 1):+.1f} % only, "
        f"and {100 * share:.0f} % of the samples were interrupted"
    )


def _cpu_log_ratio(base: Sequence[float], head: Sequence[float]) -> float | None:
    """Median ln(head / base) of the samples' CPU time.

    None if the process clock is missing or too coarse.
    """
    if min(*base, *head) <= 0:
        return None
    return median([math.log(two / one) for one, two in zip(base, head, strict=True)])
