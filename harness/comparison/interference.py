"""What else ran while pairs were measured, and whether it, rather than the code, made a side
slower.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from harness.results.quality_warnings import FOREIGN_CORES
from harness.statistics.estimates import median

STOLEN, PRESSURE_PERCENT = 0.02, 10.0
"""Beyond this share of one core, and this share of the last ten seconds, what others took or made
tasks wait for is told.
"""

MARKED = 0.25
"""Beyond this share of samples in which the scheduler took a core away, a slowdown that cost no CPU
time is the machine's.
"""


def facts(samples: Sequence[Mapping[str, Any]], pressure_percent: float | None) -> dict[str, Any]:
    """What was seen around one pair's samples, of both sides together.

    `marked` is the share of samples with an involuntary context switch; `foreign_cores` how many
    cores other processes used meanwhile, on average; `steal` the share of the time of one core that
    the hypervisor took; `pressure_percent` the share of the last ten seconds in which some task
    waited for a core. None where a side of an older commit does not tell.
    """
    wall = sum(sum(sample["laps_ns"]) for sample in samples)
    marked = sum(sample["preemptions"] > 0 for sample in samples) / len(samples)
    told = all("machine_cpu_ns" in sample for sample in samples)
    other = sum(sample["machine_cpu_ns"] - sample["cpu_ns"] for sample in samples) if told else 0
    stolen = sum(sample["steal_ns"] for sample in samples) if told else 0
    return {
        "marked": marked,
        "foreign_cores": max(0.0, other / wall) if told else None,
        "steal": stolen / wall if told else None,
        "pressure_percent": pressure_percent,
    }


def warnings(pairs: Sequence[Mapping[str, Any]]) -> list[str]:
    """In words, what of the machine was beyond its limit in the median pair; the limits are those
    of a run's advice.
    """
    limits = {
        "foreign_cores": (FOREIGN_CORES, 1, "other processes used {:.1f} cores"),
        "steal": (STOLEN, 100, "the hypervisor took {:.0f} % of a core"),
        "pressure_percent": (
            PRESSURE_PERCENT,
            1,
            "tasks waited for a core in {:.0f} % of the time",
        ),
    }
    found = []
    for name, (limit, scale, words) in limits.items():
        values = [pair["health"][name] for pair in pairs if pair["health"].get(name) is not None]
        if values and median(values) > limit:
            found.append(words.format(scale * median(values)))
    return found


def contamination(pairs: Sequence[Mapping[str, Any]], margin: float) -> str:
    """Why pairs that find head slower do not show that it is, in words; empty where nothing speaks
    against it.

    So it is where CPU time did not grow by more than the margin, and more than `MARKED` of the
    samples were interrupted: then head did no more work, and waited for a core.
    """
    marked = [pair["health"]["marked"] for pair in pairs]
    ratios = [_cpu_log_ratio(*pair["cpu_ns"]) for pair in pairs]
    if not pairs or None in ratios:
        return ""
    grown = math.exp(median([ratio for ratio in ratios if ratio is not None]))
    share = sum(marked) / len(marked)
    if share <= MARKED or grown > 1 + margin:
        return ""
    return f"contaminated: its CPU time changed by {100 * (grown - 1):+.1f} % only, and {100 * share:.0f} % of the samples were interrupted"


def _cpu_log_ratio(base: Sequence[float], head: Sequence[float]) -> float | None:
    """ln(head / base) of the samples' CPU time, None where the clock of a process is too coarse to
    see it or does not run here.
    """
    if min(*base, *head) <= 0:
        return None
    return median([math.log(two / one) for one, two in zip(base, head, strict=True)])
