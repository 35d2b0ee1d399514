"""The switches of TF32 go together and are read back, devices are named as they were asked for, and
events give nanoseconds.
"""

from __future__ import annotations

from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest

torch = pytest.importorskip("torch")

from evenbench.backends import cuda_events  # noqa: E402


@pytest.fixture
def switches() -> Iterator[Any]:
    """Torch's switches, put back afterwards as a test found them."""
    cudnn = torch.backends.cudnn
    matmul, found = (
        torch.get_float32_matmul_precision(),
        (cudnn.conv.fp32_precision, cudnn.rnn.fp32_precision),
    )
    yield cudnn
    torch.set_float32_matmul_precision(matmul)
    cudnn.conv.fp32_precision, cudnn.rnn.fp32_precision = found


def test_torchs_own_defaults_are_neither_fp32_nor_tf32(switches: Any) -> None:
    """Convolutions narrow and products do not: what a cell that sets nothing would be called."""
    torch.set_float32_matmul_precision("highest")
    switches.conv.fp32_precision = switches.rnn.fp32_precision = "tf32"
    assert cuda_events.fp32_arithmetic() == "fp32 with matmul ieee, conv tf32, rnn tf32"


@pytest.mark.parametrize(("allowed", "arithmetic"), [(True, "tf32"), (False, "fp32")])
def test_all_users_of_tf32_are_switched_together(
    allowed: bool, arithmetic: str, switches: Any
) -> None:
    cuda_events.allow_tf32(allowed)
    assert cuda_events.fp32_arithmetic() == arithmetic
    assert set(cuda_events.tf32_switches().values()) == {"tf32" if allowed else "ieee"}
    assert torch.get_float32_matmul_precision() == ("high" if allowed else "highest"), (
        "reading it back must stay possible"
    )


@pytest.mark.parametrize("user", ["conv", "rnn"])
def test_one_switch_that_differs_is_seen(user: str, switches: Any) -> None:
    cuda_events.allow_tf32(False)
    getattr(switches, user).fp32_precision = "tf32"
    assert f"{user} tf32" in cuda_events.fp32_arithmetic()


@pytest.mark.parametrize(
    ("asked", "used", "named"),
    [
        ("cuda", 0, "cuda"),
        ("cuda:0", 0, "cuda:0"),
        ("cuda:1", 1, "cuda:1"),
        ("cuda", 1, "cuda:1"),
        ("cuda:1", 0, "cuda:0"),
    ],
)
def test_a_device_is_named_as_it_was_asked_for_where_it_is_that_one(
    asked: str, used: int, named: str
) -> None:
    assert cuda_events.device_name(asked, used) == named


def test_torchs_events_are_on_the_devices_stream_and_in_nanoseconds(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    told: list[Any] = []

    class Event:
        def __init__(self, enable_timing: bool) -> None:
            assert enable_timing

        def record(self, stream: Any) -> None:
            told.append(stream)

        def elapsed_time(self, end: Any) -> float:
            return 1.5

    played = SimpleNamespace(
        Event=Event, current_stream=lambda device: f"stream of {device}", synchronize=told.append
    )
    monkeypatch.setattr(torch, "cuda", played)
    events = cuda_events.TorchEvents("cuda:1")
    events.start()
    events.stop()
    events.synchronize()
    assert [str(entry) for entry in told] == ["stream of cuda:1", "stream of cuda:1", "cuda:1"]
    assert events.ns() == 1_500_000


def test_without_a_driver_cuda_says_so_in_its_words() -> None:
    pytest.importorskip("cuda.bindings")
    from evenbench.harness.environment import gpu

    if gpu.absence() == "":
        pytest.skip("a GPU is here")
    with pytest.raises(RuntimeError, match="cudaStreamCreate: cudaError"):
        cuda_events.DriverEvents()
