"""The profile of an inference by ONNX Runtime's profiler, in a session of its own."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from evenbench.backends.onnxruntime import executed_graph, session_options
from evenbench.harness.core.measurements import (
    PROFILED,
    PROFILED_AFTER,
    OperatorCall,
    OperatorProfile,
)

if TYPE_CHECKING:
    from evenbench.backends.onnxruntime.session import OrtSession
    from evenbench.harness.core.session import Now

RESOLUTION = "ONNX Runtime reports whole microseconds: shorter nodes count as 0 or 1 µs"

DETAILS = ("provider", "input_type_shape", "output_type_shape")
"""Arguments of an event that a reader of the trace needs."""


def profile(session: OrtSession, now: Now) -> OperatorProfile:
    """Profile an inference of a session with bound inputs."""
    with tempfile.TemporaryDirectory() as folder:
        other = session.profiling(Path(folder), session_options.disabled_optimizers(session.cell))
        inferences_ns = []
        for _ in range(PROFILED_AFTER + PROFILED):
            begin = now()
            session.run_other(other, session.feeds)
            inferences_ns.append(now() - begin)
        events = json.loads(Path(other.end_profiling()).read_text())
    inference_ns = min(inferences_ns[PROFILED_AFTER:])
    # Counted from the end, because a session may run once more on its own when it is opened.
    from_end = inferences_ns[::-1].index(inference_ns)
    calls = tuple(map(_call, executed_graph.events_of_run(events, from_end)))
    on_host = "; on a GPU, these are the host's times, in which kernels are launched"
    note = RESOLUTION + (on_host if session.provider.memory != "cpu" else "")
    return OperatorProfile("ONNX Runtime's profiler", calls, inference_ns, note)


def _call(event: Mapping[str, Any]) -> OperatorCall:
    """An event of the profiler, with times in µs, as a call."""
    arguments = event["args"]
    return OperatorCall(
        str(event["name"]).removesuffix(executed_graph.KERNEL_TIME),
        str(arguments.get("op_name", "")),
        event["ts"] * 1000,
        event["dur"] * 1000,
        f"thread {event.get('tid', 0)}",
        {name: arguments[name] for name in DETAILS if name in arguments},
    )
