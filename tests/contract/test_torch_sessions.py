"""What a torch session promises about memory, inputs and devices, on modules that are awkward on
purpose.
"""

from __future__ import annotations

import contextlib
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from evenbench.backends.contract_model import TINY_CNN
from evenbench.backends.torch import placement, torch_compile, torchscript
from evenbench.backends.torch import session as torch_session
from evenbench.harness import Cell, Model, TensorSpec, Unsupported
from evenbench.harness.testing import Kit, answer, copied


def writes_to_its_input():
    """Scales in place."""
    return _module(lambda self, x: self.layer(x.mul_(0.5)))


def returns_its_buffer():
    """Answers in memory that the next call writes to."""
    return _module(lambda self, x: self.kept.copy_(self.layer(x)))


def returns_its_input():
    """Answers with what it was given."""
    return _module(lambda self, x: x)


def returns_a_number():
    """Answers without a dimension."""
    return _module(lambda self, x: self.layer(x).sum())


def _module(forward):
    import torch

    class Awkward(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            torch.manual_seed(0)
            self.layer = torch.nn.Linear(4, 4)
            self.register_buffer("kept", torch.zeros(1, 4))

        def forward(self, x):
            return forward(self, x)

    return Awkward()


def model(build: Any, shape: tuple[int, ...] = (1, 4)) -> Model:
    return Model(
        build.__name__,
        build=build,
        inputs=(TensorSpec("x", (1, 4)),),
        outputs=(TensorSpec("y", shape),),
        inputs_from="harness.inputs:standard_normal",
        task="regression",
    )


@pytest.mark.parametrize("backend", ["torch-eager", "torch-script"])
@pytest.mark.parametrize("build", [returns_its_buffer, returns_its_input])
def test_fetched_arrays_never_change(build: Any, backend: str, tmp_path: Path) -> None:
    kit = Kit(backend, model(build), "fp32", "cpu", tmp_path)
    session = kit.load()
    first, second, *_ = (
        {name: np.array(array) for name, array in batch.items()} for batch in kit.batches()
    )
    fetched = answer(session, first)
    before = copied(fetched)
    answer(session, second)
    first["x"][:] = 7
    assert np.array_equal(fetched["y"], before["y"])


@pytest.mark.parametrize("backend", ["torch-eager", "torch-script"])
def test_an_answer_without_a_dimension(backend: str, tmp_path: Path) -> None:
    line = Kit(backend, model(returns_a_number, ()), "fp32", "cpu", tmp_path).measured()
    assert line["outcome"] == "ok", line["reason"]


@pytest.mark.parametrize("backend", ["torch-eager", "torch-script"])
def test_a_model_that_writes_to_its_input_is_named_as_the_cause(
    backend: str, tmp_path: Path
) -> None:
    line = Kit(backend, model(writes_to_its_input), "fp32", "cpu", tmp_path).measured()
    assert line["outcome"] == "failed"
    assert "the model writes to its input: writes_to_its_input changes x in place" in line["reason"]


def test_channels_last_is_paid_for_in_bind(monkeypatch: pytest.MonkeyPatch) -> None:
    import torch

    cell = Cell(TINY_CNN, "torch-eager", options=(("memory_format", "channels_last"),))
    image = np.zeros((2, 3, 16, 16), np.float32)
    assert placement.bound(image, cell).is_contiguous(memory_format=torch.channels_last)
    assert placement.bound(image, replace(cell, options=())).data_ptr() == image.ctypes.data


@pytest.mark.parametrize("backend", ["torch-eager", "torch-script"])
def test_several_threads_may_call_what_a_step_only_reads(backend: str, tmp_path: Path) -> None:
    """That they get the right answers is in the contract, which is content with a refusal."""
    session = Kit(backend, TINY_CNN, "fp32", "cpu", tmp_path).load()
    other = session.beside()
    assert (type(other), other.call, other.labels) == (type(session), session.call, session.labels)
    assert other.tensors is not session.tensors


def test_what_several_threads_may_not_call_is_refused_in_words(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with pytest.raises(Unsupported, match="use torch-eager or torch-script"):
        torch_compile.CompiledSession(
            abs, Cell(TINY_CNN, "torch-compile"), contextlib.nullcontext
        ).beside()
    monkeypatch.setattr(torch_session.cuda_events, "TorchEvents", FakeEvents)
    with pytest.raises(Unsupported, match="one CUDA stream"):
        torchscript.ScriptSession(
            abs, Cell(TINY_CNN, "torch-script", device="cuda"), contextlib.nullcontext
        ).beside()


class FakeEvents:
    """A device that counts: 40 ns between the events, done only after a wait."""

    def __init__(self, device: str) -> None:
        self.calls = [device]

    def start(self) -> None:
        self.calls.append("start")

    def stop(self) -> None:
        self.calls.append("stop")

    def synchronize(self) -> None:
        self.calls.append("synchronize")

    def ns(self) -> int:
        self.calls.append("ns")
        return 40


def test_a_step_on_a_device_lies_between_two_events(monkeypatch: pytest.MonkeyPatch) -> None:
    import torch

    monkeypatch.setattr(torch_session.cuda_events, "TorchEvents", FakeEvents)
    cell = Cell(TINY_CNN, "torch-eager", device="cuda:1")
    session = torch_session.TorchSession(
        lambda x: session.events.calls.append("run") or x, cell, contextlib.nullcontext
    )
    session.tensors = [torch.zeros(1)]
    session.step()
    session.sync()
    assert (session.inner, session.inner_clock) == ("device", "cuda events")
    assert session.inner_ns() == 40
    assert session.events.calls == ["cuda:1", "start", "run", "stop", "synchronize", "ns"]


def test_a_session_on_the_cpu_has_no_inner_clock() -> None:
    session = torch_session.TorchSession(
        lambda x: x, Cell(TINY_CNN, "torch-eager"), contextlib.nullcontext
    )
    assert (session.inner, session.inner_clock) == ("", "")
    with pytest.raises(NotImplementedError):
        session.inner_ns()
