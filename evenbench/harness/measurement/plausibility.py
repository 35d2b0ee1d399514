"""Rules for laps that no honest runtime can take, over plain numbers.

Each rule returns the reason, or an empty string. A rule speaks only far beyond anything seen from a
right runtime, and the experiments behind the numbers (`examination`) are repeated before a rule is
believed: a false accusation is as bad as a lie that gets through. docs/explanation/fairness.md
lists lies beyond these rules.
"""

from __future__ import annotations

from collections.abc import Sequence

from evenbench.harness.core.measurements import IMPOSSIBLE
from evenbench.harness.statistics.estimates import median

FRESH_FACTOR, FRESH_NS = 3.0, 5_000
"""A fresh input may take this multiple of a known one, plus this time."""

OUTSIDE_SHARE, OUTSIDE_NS = 0.5, 5_000
"""The share of the quickest `host_to_host` lap that neither `compute` nor copying explains, and the
least such time.
"""

CLOCK_SHARE = 0.6
"""The least share of a lap's wall time that a session's own clock must see in `host_to_host`."""

KEPT_FACTOR = 3.0
"""A lap with a kept output may take this multiple of a lap without, in `host_to_host`, where both
fetch."""

SPARE_CORES, SPARE_SHARE = 0.5, 0.25
"""Cores that a process may use beyond its threads: the larger of a number and a share."""


def remembers(known_ns: Sequence[float], fresh_ns: Sequence[float]) -> str:
    """Whether inputs that were never bound before take far longer than the timed inputs."""
    if not known_ns or not fresh_ns:
        return ""
    known, new = median(known_ns), min(fresh_ns)
    if new <= FRESH_FACTOR * known + FRESH_NS:
        return ""
    return (
        f"{IMPOSSIBLE}a lap takes {_shown(known)} on the timed inputs and at least {_shown(new)} "
        "on inputs that differ a little and were never seen before; answers are remembered, not "
        "computed"
    )


def hides(compute_ns: float, host_to_host_ns: float, copying_ns: float) -> str:
    """Whether inference runs outside `compute`: in `bind`, `fetch` or behind `sync`.

    `copying_ns` is the time of `bind` and `fetch` without a step between.
    """
    outside = host_to_host_ns - compute_ns - copying_ns
    if outside <= max(OUTSIDE_SHARE * host_to_host_ns, OUTSIDE_NS):
        return ""
    return (
        f"{IMPOSSIBLE}host_to_host takes {_shown(host_to_host_ns)}, but compute "
        f"{_shown(compute_ns)} and copying {_shown(copying_ns)}; {_shown(outside)} of inference "
        "run outside step and sync (a sync that does not wait, or work in bind or fetch)"
    )


def clock_is_wrong(reported_ns: float, passed_ns: float) -> str:
    """Whether a session's own clock reports far less than the wall time of a lap.

    `reported_ns` is the mean lap of a series, `passed_ns` the wall time per lap in this process.
    """
    if reported_ns >= CLOCK_SHARE * passed_ns:
        return ""
    return (
        f"{IMPOSSIBLE}the session reports host_to_host laps of {_shown(reported_ns)}, while "
        f"{_shown(passed_ns)} pass per lap; its clock is wrong, or laps are left out"
    )


def skips_laps(plain_ns: float, kept_ns: float) -> str:
    """Whether laps with a kept output take far longer than laps without, by the session's clock."""
    if kept_ns <= KEPT_FACTOR * plain_ns + FRESH_NS:
        return ""
    return (
        f"{IMPOSSIBLE}host_to_host laps take {_shown(plain_ns)}, and {_shown(kept_ns)} with kept "
        "outputs, although both fetch; laps without kept outputs are not run"
    )


def too_many_cores(threads: int, cores_used: float) -> str:
    """Whether a process uses more cores than its cell has threads."""
    if cores_used <= threads + max(SPARE_CORES, SPARE_SHARE * threads):
        return ""
    return f"threads {threads}, used {cores_used:.1f} cores while laps were timed"


def _shown(ns: float) -> str:
    for limit, factor, unit in ((1e3, 1, "ns"), (1e6, 1e3, "µs"), (1e9, 1e6, "ms")):
        if abs(ns) < limit:
            return f"{ns / factor:.3g} {unit}"
    return f"{ns / 1e9:.3g} s"
