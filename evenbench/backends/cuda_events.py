"""CUDA events as a session's inner clock, CUDA device names, and torch's TF32 switches.

A session on a CUDA device sets `inner = "device"` and `inner_clock = cuda_events.CLOCK`, calls
`start()` before and `stop()` after enqueueing a step, and returns `ns()` from `inner_ns()`. The
harness calls `inner_ns()` after `sync`, when the events are complete.
"""

from __future__ import annotations

from typing import Any

from evenbench.harness.environment import gpu

CLOCK = "cuda events"
"""Two events on the stream of the step, with a resolution of about 500 ns."""

NS_PER_MS = 1_000_000


def device_name(requested: str, index: int) -> str:
    """The name of CUDA device `index`: `requested` if both are the same device, else `cuda:index`.

    `cuda` and `cuda:0` name the same device.
    """
    same = gpu.is_cuda(requested) and gpu.index(requested) == index
    return requested if same else f"cuda:{index}"


class TorchEvents:
    """Events on torch's current stream of a device.

    `device` is the cell's device (`cuda`, `cuda:1`). Raises RuntimeError if torch lacks the device.
    """

    def __init__(self, device: str) -> None:
        import torch

        self.device = torch.device("cuda", gpu.index(device))
        self.stream = torch.cuda.current_stream(self.device)
        self.begin, self.end = (torch.cuda.Event(enable_timing=True) for _ in range(2))

    def start(self) -> None:
        """Record the first event, before the step is enqueued."""
        self.begin.record(self.stream)

    def stop(self) -> None:
        """Record the second event, after the step is enqueued; return without waiting."""
        self.end.record(self.stream)

    def synchronize(self) -> None:
        """Wait for all work enqueued on the device, on every stream."""
        import torch

        torch.cuda.synchronize(self.device)

    def ns(self) -> int:
        """Nanoseconds between the complete events, at least 1: a lap of zero is a mistake."""
        return max(1, round(self.begin.elapsed_time(self.end) * NS_PER_MS))


class DriverEvents:
    """Events on a new stream through `cuda-bindings`, for runtimes without a Python framework."""

    def __init__(self) -> None:
        self.stream = call("cudaStreamCreate")
        self.begin, self.end = call("cudaEventCreate"), call("cudaEventCreate")

    def start(self) -> None:
        """Record the first event, before the step is enqueued."""
        call("cudaEventRecord", self.begin, self.stream)

    def stop(self) -> None:
        """Record the second event, after the step is enqueued; return without waiting."""
        call("cudaEventRecord", self.end, self.stream)

    def synchronize(self) -> None:
        """Wait for all work enqueued on this stream."""
        call("cudaStreamSynchronize", self.stream)

    def ns(self) -> int:
        """Nanoseconds between the complete events, at least 1: a lap of zero is a mistake."""
        return max(1, round(call("cudaEventElapsedTime", self.begin, self.end) * NS_PER_MS))

    def close(self) -> None:
        """Destroy the events and the stream. Further calls do nothing."""
        if self.stream is None:
            return
        for event in (self.begin, self.end):
            call("cudaEventDestroy", event)
        call("cudaStreamDestroy", self.stream)
        self.stream = None


def call(name: str, *arguments: Any) -> Any:
    """Call a function of the CUDA runtime; return the only result, a tuple of several, or None.

    Raises RuntimeError with CUDA's error message.
    """
    from cuda.bindings import runtime

    status, *results = getattr(runtime, name)(*arguments)
    if status != runtime.cudaError_t.cudaSuccess:
        _, message = runtime.cudaGetErrorString(status)
        raise RuntimeError(f"{name}: {status.name}: {message.decode()}")
    return results[0] if len(results) == 1 else tuple(results) or None


def allow_tf32(allowed: bool) -> None:
    """Switch TF32 on or off for torch's matmul, cuDNN convolutions and cuDNN RNNs together.

    By default convolutions use TF32 and matmul does not. torch has two interfaces: matmul is set
    through the older, so that `torch.get_float32_matmul_precision` can read the value back;
    convolutions and RNNs need the newer.
    """
    import torch

    torch.set_float32_matmul_precision("high" if allowed else "highest")
    for user in (torch.backends.cudnn.conv, torch.backends.cudnn.rnn):
        user.fp32_precision = "tf32" if allowed else "ieee"


def fp32_arithmetic() -> str:
    """The arithmetic of fp32 tensors, as read back: `fp32`, `tf32`, or the list of differences."""
    users = tf32_switches()
    if len(set(users.values())) > 1:
        return "fp32 with " + ", ".join(f"{user} {value}" for user, value in users.items())
    return "tf32" if set(users.values()) == {"tf32"} else "fp32"


def tf32_switches() -> dict[str, str]:
    """The switches behind `fp32_arithmetic`, for the record: `ieee` or `tf32` by user."""
    import torch

    matmul, cudnn = torch.backends.cuda.matmul, torch.backends.cudnn
    settings = {
        "matmul": matmul.fp32_precision,
        "conv": cudnn.conv.fp32_precision,
        "rnn": cudnn.rnn.fp32_precision,
    }
    return {user: "tf32" if value == "tf32" else "ieee" for user, value in settings.items()}
