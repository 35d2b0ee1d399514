"""The profile of an inference by OpenVINO's performance counters (PERF_COUNT)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from evenbench.harness.core.measurements import (
    PROFILED,
    PROFILED_AFTER,
    OperatorCall,
    OperatorProfile,
)

if TYPE_CHECKING:
    from evenbench.backends.openvino.session import OpenVinoSession
    from evenbench.harness.core.session import Now

NOTE = (
    "OpenVINO reports a mean duration per operator, here of {count} inferences, and no starts: the "
    "calls are laid end to end in order of execution"
)

MOST, SECONDS = 100, 2.0
"""Limits of the inferences behind a mean: their number, and about how long they take."""


def profile(session: OpenVinoSession, now: Now) -> OperatorProfile:
    """Profile inferences of a session that was compiled with PERF_COUNT and has bound inputs.

    The counters hold means over all inferences since compilation, in whole microseconds, so an
    operator of less may read 0. Sums before and after give the mean without the first inferences,
    in which kernels are built.
    """
    typical_ns = min(_inferences_ns(session, PROFILED_AFTER, now))
    before = _sums_us(session.request.profiling_info, PROFILED_AFTER)
    count = max(PROFILED, min(MOST, round(SECONDS * 1e9 / typical_ns)))
    inference_ns = round(sum(_inferences_ns(session, count, now)) / count)
    counters = session.request.profiling_info
    after = _sums_us(counters, PROFILED_AFTER + count)
    calls, at_ns = [], 0.0
    for place, counter in enumerate(counters):
        duration_ns = max(0.0, 1000 * (after[place] - before[place]) / count)
        if counter.status.name == "EXECUTED":
            calls.append(_call(counter, at_ns, duration_ns))
            at_ns += duration_ns
    return OperatorProfile(
        "OpenVINO PERF_COUNT", tuple(calls), inference_ns, NOTE.format(count=count)
    )


def _inferences_ns(session: OpenVinoSession, count: int, now: Now) -> list[int]:
    durations_ns = []
    for _ in range(count):
        begin = now()
        session.step()
        durations_ns.append(now() - begin)
    return durations_ns


def _sums_us(counters: Sequence[Any], count: int) -> list[float]:
    """The sum over `count` inferences of each operator, in order of execution."""
    return [counter.real_time.total_seconds() * 1e6 * count for counter in counters]


def _call(counter: Any, begin_ns: float, duration_ns: float) -> OperatorCall:
    details = {"kernel": counter.exec_type}
    return OperatorCall(
        counter.node_name, counter.node_type, begin_ns, duration_ns, details=details
    )
