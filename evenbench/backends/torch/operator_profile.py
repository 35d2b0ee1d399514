"""The profile of an inference by torch.profiler: eager, TorchScript, compiled code, CUDA."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from evenbench.harness.core.measurements import (
    PROFILED,
    PROFILED_AFTER,
    OperatorCall,
    OperatorProfile,
)

if TYPE_CHECKING:
    from evenbench.harness import Session
    from evenbench.harness.core.session import Now

NOTE = (
    "torch's profiler costs about a microsecond per operator, so small operators look larger than "
    "in a timed lap"
)

OWN = ("ProfilerStep", "[memory]", "PyTorch Profiler")
"""Beginnings of the names of the profiler's own events."""


def profile(session: Session, on_gpu: bool, now: Now) -> OperatorProfile:
    """Profile an inference of a session with bound inputs."""
    from torch import profiler

    for _ in range(PROFILED_AFTER):
        session.step()
    session.sync()
    activities = [profiler.ProfilerActivity.CPU]
    if on_gpu:
        activities.append(profiler.ProfilerActivity.CUDA)
    fastest_ns, events = None, []
    for _ in range(PROFILED):
        with profiler.profile(activities=activities, acc_events=True) as taken:
            begin = now()
            session.step()
            session.sync()
            inference_ns = now() - begin
        if fastest_ns is None or inference_ns < fastest_ns:
            fastest_ns, events = inference_ns, taken.events()
    calls = tuple(_call(event) for event in events if not event.name.startswith(OWN))
    return OperatorProfile("torch.profiler", calls, fastest_ns or 0, NOTE)


def _call(event: Any) -> OperatorCall:
    """An event of the profiler, with times in µs, as a call."""
    kernel = event.device_type.name != "CPU"
    track = f"stream {event.device_resource_id}" if kernel else f"thread {event.thread}"
    span = event.time_range
    return OperatorCall(
        event.name,
        event.name,
        span.start * 1000,
        (span.end - span.start) * 1000,
        track,
        {"device": event.device_type.name.lower()},
    )
