"""CUDA events as a session's inner clock, device names, and the switches of fp32 arithmetic: what
the CUDA backends share.

A session on a CUDA device sets `inner = "device"` and `inner_clock = cuda_events.CLOCK`, calls
`start()` before and `stop()` after it enqueues a step, and answers `inner_ns()` with `ns()`. The
harness asks after `sync`, so the events are complete then.
"""

from __future__ import annotations

from typing import Any

from harness.environment import gpu

CLOCK = "cuda events"
"""Two events on the stream that the step runs on; their resolution is about 500 ns."""

NS_PER_MS = 1_000_000


def named(asked: str, used: int) -> str:
    """CUDA device `used` in the words of the cell that asked for `asked`: `cuda` and `cuda:0` are
    the same device.
    """
    return asked if gpu.is_cuda(asked) and gpu.index(asked) == used else f"cuda:{used}"


class TorchEvents:
    """Events on torch's current stream of one device.

    `device` is a cell's (`cuda`, `cuda:1`). Raises RuntimeError where torch sees no such device.
    """

    def __init__(self, device: str) -> None:
        import torch

        self.device = torch.device("cuda", gpu.index(device))
        self.stream = torch.cuda.current_stream(self.device)
        self.begin, self.end = (torch.cuda.Event(enable_timing=True) for _ in range(2))

    def start(self) -> None:
        """Before the step is enqueued."""
        self.begin.record(self.stream)

    def stop(self) -> None:
        """After the step is enqueued; returns before it is done."""
        self.end.record(self.stream)

    def synchronize(self) -> None:
        """Wait for all that was enqueued on the device, on whichever stream."""
        import torch

        torch.cuda.synchronize(self.device)

    def ns(self) -> int:
        """Nanoseconds between the events, which must be complete. At least 1: a lap of no time is a
        mistake.
        """
        return max(1, round(self.begin.elapsed_time(self.end) * NS_PER_MS))


class DriverEvents:
    """The same through `cuda-bindings`, for runtimes without a Python framework around them; on a
    stream of its own.
    """

    def __init__(self) -> None:
        self.stream = call("cudaStreamCreate")
        self.begin, self.end = call("cudaEventCreate"), call("cudaEventCreate")

    def start(self) -> None:
        """Before the step is enqueued."""
        call("cudaEventRecord", self.begin, self.stream)

    def stop(self) -> None:
        """After the step is enqueued; returns before it is done."""
        call("cudaEventRecord", self.end, self.stream)

    def synchronize(self) -> None:
        """Wait for all that was enqueued on this stream."""
        call("cudaStreamSynchronize", self.stream)

    def ns(self) -> int:
        """Nanoseconds between the events, which must be complete. At least 1: a lap of no time is a
        mistake.
        """
        return max(1, round(call("cudaEventElapsedTime", self.begin, self.end) * NS_PER_MS))

    def close(self) -> None:
        """Destroy the events and the stream. Calling it again does nothing."""
        if self.stream is None:
            return
        for event in (self.begin, self.end):
            call("cudaEventDestroy", event)
        call("cudaStreamDestroy", self.stream)
        self.stream = None


def call(name: str, *arguments: Any) -> Any:
    """A function of the CUDA runtime: its one result, a tuple of several, or None. Raises
    RuntimeError with CUDA's own words.
    """
    from cuda.bindings import runtime

    status, *results = getattr(runtime, name)(*arguments)
    if status != runtime.cudaError_t.cudaSuccess:
        _, words = runtime.cudaGetErrorString(status)
        raise RuntimeError(f"{name}: {status.name}: {words.decode()}")
    return results[0] if len(results) == 1 else tuple(results) or None


def allow_tf32(allowed: bool) -> None:
    """Switch torch's three users of TF32 (matmul, cuDNN convolutions, cuDNN RNNs) on or off
    together.

    By default they differ: convolutions use it and matmul does not. Matmul goes by the older of
    torch's two interfaces, which `torch.get_float32_matmul_precision` can read back; for the other
    two only the newer one is complete.
    """
    import torch

    torch.set_float32_matmul_precision("high" if allowed else "highest")
    for user in (torch.backends.cudnn.conv, torch.backends.cudnn.rnn):
        user.fp32_precision = "tf32" if allowed else "ieee"


def fp32_arithmetic() -> str:
    """What fp32 tensors are computed in, as read back: `fp32`, `tf32`, or in words where the three
    users disagree.
    """
    users = tf32_switches()
    if len(set(users.values())) > 1:
        return "fp32 with " + ", ".join(f"{user} {value}" for user, value in users.items())
    return "tf32" if set(users.values()) == {"tf32"} else "fp32"


def tf32_switches() -> dict[str, str]:
    """The switches behind `fp32_arithmetic`, for the record: `ieee` or `tf32` by user."""
    import torch

    matmul, cudnn = torch.backends.cuda.matmul, torch.backends.cudnn
    found = {
        "matmul": matmul.fp32_precision,
        "conv": cudnn.conv.fp32_precision,
        "rnn": cudnn.rnn.fp32_precision,
    }
    return {user: "tf32" if value == "tf32" else "ieee" for user, value in found.items()}
