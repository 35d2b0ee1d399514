"""TensorRT's session and builder on a fake runtime and fake CUDA: copies, frees, clocks, graph."""

from __future__ import annotations

import ctypes
import json
import sys
from collections.abc import Mapping
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import pytest

pytest.importorskip("cuda.bindings", reason="comes with the extra tensorrt-rtx")
import cuda.bindings
from cuda.bindings import runtime as real

from evenbench.backends import cuda_events
from evenbench.backends.tensorrt import builder as tensorrt_build
from evenbench.backends.tensorrt.session import EngineSession
from evenbench.harness import Cell
from evenbench.harness.measurement import timing
from tests.unit.builders import PRODUCT

LAYER = {
    "Name": "twice",
    "LayerType": "gemm",
    "Inputs": [{"Datatype": "Float"}],
    "Outputs": [{"Datatype": "Float"}],
    "TacticName": "t",
}
MODULE = "played_tensorrt"


class Cuda:
    """Host memory as device memory; a stream's work runs late, at synchronisation."""

    cudaError_t, cudaMemcpyKind, cudaStreamCaptureMode = (
        real.cudaError_t,
        real.cudaMemcpyKind,
        real.cudaStreamCaptureMode,
    )

    def __init__(self) -> None:
        self.memory: dict[int, Any] = {}
        self.queue: list[Any] = []
        self.captured: list[Any] | None = None
        self.calls: list[str] = []
        self.alive = 0
        self.fails = ""

    def __getattr__(self, name: str) -> Any:
        if not name.startswith("cuda"):
            raise AttributeError(name)

        def answer(*arguments: Any) -> tuple[Any, ...]:
            self.calls.append(name)
            if name == self.fails:
                return (
                    self.cudaError_t.cudaErrorMemoryAllocation,
                    *([None] * (name == "cudaMalloc")),
                )
            made = getattr(self, f"on_{name[4:]}", lambda *_: ())(*arguments)
            return (self.cudaError_t.cudaSuccess, *made)

        return answer

    def cudaGetErrorString(self, status: Any) -> tuple[Any, bytes]:
        return self.cudaError_t.cudaSuccess, b"out of memory"

    def on_Malloc(self, size: int) -> tuple[int]:
        held = ctypes.create_string_buffer(size)
        self.memory[ctypes.addressof(held)] = held
        return (ctypes.addressof(held),)

    def on_Free(self, address: int) -> tuple[()]:
        del self.memory[address]
        return ()

    def _make(self, *_: Any) -> tuple[int]:
        self.alive += 1
        return (7,)

    def _destroy(self, *_: Any) -> tuple[()]:
        self.alive -= 1
        return ()

    on_StreamCreate = on_EventCreate = on_GraphInstantiate = _make
    on_StreamDestroy = on_EventDestroy = on_GraphExecDestroy = on_GraphDestroy = _destroy

    def on_MemcpyAsync(
        self, target: int, source: int, count: int, kind: Any, stream: int
    ) -> tuple[()]:
        self.enqueue(lambda: ctypes.memmove(target, source, count))
        return ()

    def enqueue(self, work: Any) -> None:
        (self.queue if self.captured is None else self.captured).append(work)

    def on_StreamSynchronize(self, stream: int) -> tuple[()]:
        while self.queue:
            self.queue.pop(0)()
        return ()

    def on_StreamBeginCapture(self, stream: int, mode: Any) -> tuple[()]:
        self.captured = []
        return ()

    def on_StreamEndCapture(self, stream: int) -> tuple[int]:
        self.graph, self.captured = self.captured or [], None
        return self._make()

    def on_GraphLaunch(self, graph: int, stream: int) -> tuple[()]:
        self.queue.extend(self.graph)
        return ()

    def on_EventElapsedTime(self, begin: int, end: int) -> tuple[float]:
        return (0.0000005,) if self.queue else (0.125,)

    def on_GetDevice(self) -> tuple[int]:
        return (0,)

    def on_GetDeviceFlags(self) -> tuple[int]:
        # blocking synchronisation, and a flag unrelated to waiting
        return (0x0C,)


class Context:
    """Computes y: the first three columns of 2 x."""

    def __init__(self, cuda: Cuda) -> None:
        self.cuda, self.addresses, self.runs = cuda, {}, 0

    def set_input_shape(self, name: str, shape: tuple[int, ...]) -> bool:
        return shape == (2, 4)

    def set_tensor_address(self, name: str, address: int) -> bool:
        self.addresses[name] = address
        return True

    def execute_async_v3(self, stream: int) -> bool:
        self.cuda.enqueue(self._compute)
        return True

    def _compute(self) -> None:
        self.runs += 1
        x, y = (
            np.ctypeslib.as_array((ctypes.c_float * size).from_address(self.addresses[name]))
            for name, size in (("x", 8), ("y", 6))
        )
        y[:] = 2 * x.reshape(2, 4)[:, :3].ravel()


def played(cuda: Cuda) -> ModuleType:
    """A fake module with the used part of TensorRT's API."""
    trt = ModuleType(MODULE)
    trt.__version__ = "0.1"  # type: ignore[attr-defined]
    context = Context(cuda)
    inspector = SimpleNamespace(get_engine_information=lambda kind: json.dumps({"Layers": [LAYER]}))
    engine = SimpleNamespace(
        create_execution_context=lambda: context,
        num_io_tensors=2,
        get_tensor_name=lambda number: "xy"[number],
        get_tensor_mode=lambda name: {"x": "in", "y": "out"}[name],
        get_tensor_dtype=lambda name: np.float32,
        create_engine_inspector=lambda: inspector,
    )
    trt.context = context  # type: ignore[attr-defined]
    trt.engine = engine  # type: ignore[attr-defined]
    trt.ILogger = type("ILogger", (), {"__init__": lambda self: None})  # type: ignore[attr-defined]
    trt.TensorIOMode = SimpleNamespace(INPUT="in")  # type: ignore[attr-defined]
    trt.LayerInformationFormat = SimpleNamespace(JSON="json")  # type: ignore[attr-defined]
    trt.nptype = lambda kind: kind  # type: ignore[attr-defined]
    trt.Runtime = lambda logger: SimpleNamespace(
        deserialize_cuda_engine=lambda plan: engine if plan else None
    )  # type: ignore[attr-defined]
    return trt


@pytest.fixture
def cuda_played(monkeypatch: pytest.MonkeyPatch) -> Cuda:
    made = Cuda()
    monkeypatch.setattr(cuda.bindings, "runtime", made)
    monkeypatch.setitem(sys.modules, MODULE, played(made))
    return made


def session(
    folder: Path, plan: bytes = b"plan", tf32: bool = False, **options: Any
) -> EngineSession:
    facts = {
        "target": "CURRENT",
        "builds": [{"sha256": "s0", "tf32": tf32}, {"sha256": "s1", "tf32": tf32}],
    }
    (folder / tensorrt_build.FACTS).write_text(json.dumps(facts))
    for number in (0, 1):
        (folder / tensorrt_build.plan_file(number)).write_bytes(plan)
    return EngineSession(
        MODULE,
        folder,
        Cell(
            PRODUCT, "tensorrt", device="cuda", batch=2, threads=3, options=tuple(options.items())
        ),
    )


def given(seed: int) -> Mapping[str, Any]:
    x = np.random.default_rng(seed).standard_normal((2, 4)).astype(np.float32)
    x.setflags(write=False)
    return {"x": x}


@pytest.mark.parametrize("graph", [False, True])
def test_outputs_belong_to_the_bound_inputs_and_never_change(
    graph: bool, cuda_played: Cuda, tmp_path: Path
) -> None:
    made = session(tmp_path, **({"cuda_graph": True} if graph else {}))
    answers = []
    for seed in (1, 2):
        made.bind(given(seed))
        made.step()
        made.sync()
        answers.append(made.fetch()["y"])
    assert [answer.shape for answer in answers] == [(2, 3)] * 2
    for seed, answer in zip((1, 2), answers, strict=True):
        assert np.array_equal(answer, 2 * given(seed)["x"][:, :3])
    made.close()
    made.close()
    assert (cuda_played.memory, cuda_played.alive) == ({}, 0), (
        "memory, events, stream and graph are given back, once"
    )


def test_a_graph_is_captured_after_a_first_run_and_then_launched(
    cuda_played: Cuda, tmp_path: Path
) -> None:
    made = session(tmp_path, cuda_graph=True)
    assert sys.modules[MODULE].context.runs == 1
    cuda_played.calls.clear()
    made.step()
    made.sync()
    assert cuda_played.calls == [
        "cudaEventRecord",
        "cudaGraphLaunch",
        "cudaEventRecord",
        "cudaStreamSynchronize",
    ]
    assert made.attest().labels == ("cuda graph",)


def test_copies_are_outside_the_step_and_the_device_has_a_boundary_of_its_own(
    cuda_played: Cuda, tmp_path: Path
) -> None:
    made = session(tmp_path)
    made.bind(given(1))
    assert cuda_played.queue == [], "bind returns when the copy is done"
    cuda_played.calls.clear()
    made.step()
    assert cuda_played.queue, "step only enqueues"
    made.sync()
    assert cuda_played.calls == ["cudaEventRecord", "cudaEventRecord", "cudaStreamSynchronize"]
    assert made.inner_ns() == 125_000
    laps = timing.run_laps(made, [given(1), given(2)], 0, 4, "compute", set(), lambda: 0)
    assert (made.inner, made.inner_clock, laps.inner_ns) == (
        "device",
        cuda_events.CLOCK,
        [125_000] * 4,
    )


def test_the_attestation_is_read_back(cuda_played: Cuda, tmp_path: Path) -> None:
    made = session(tmp_path, build=1).attest()
    assert (made.device, made.precision, made.threads, made.version) == ("cuda", "fp32", 3, "0.1")
    assert made.spinning == "off", "blocking synchronisation"
    assert made.details["plan_sha256"] == "s1"
    assert made.placement == {"fp32": 1}
    assert session(tmp_path, tf32=True).attest().precision == "tf32"


def test_a_wrong_input_is_refused_before_it_is_copied(cuda_played: Cuda, tmp_path: Path) -> None:
    with pytest.raises(
        ValueError, match=r"x is float64\(2, 4\), the engine expects float32\(2, 4\)"
    ):
        session(tmp_path).bind({"x": np.zeros((2, 4))})


def test_failures_are_explained(cuda_played: Cuda, tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match="played_tensorrt cannot load the plan"):
        session(tmp_path, plan=b"")
    cuda_played.fails = "cudaMalloc"
    with pytest.raises(RuntimeError, match="cudaMalloc: cudaErrorMemoryAllocation: out of memory"):
        session(tmp_path)


class Config:
    """A builder's configuration with a record of calls."""

    def __init__(self, said: list[Any]) -> None:
        self.said, self.cache, self.flags = said, b"", {"TF32"}

    def clear_flag(self, flag: str) -> None:
        self.flags.discard(flag)

    def set_flag(self, flag: str) -> None:
        self.flags.add(flag)

    def get_flag(self, flag: str) -> bool:
        return flag in self.flags

    def add_optimization_profile(self, profile: Any) -> None:
        self.said.append(("profile", profile.shapes))

    def create_timing_cache(self, content: bytes) -> bytes:
        return content

    def set_timing_cache(self, content: bytes, ignore_mismatch: bool) -> None:
        self.said.append(("cache", content, ignore_mismatch))

    def get_timing_cache(self) -> Any:
        return SimpleNamespace(serialize=lambda: b"timings")


def add_builder(trt: Any, said: list[Any]) -> None:
    """Add the builder's API, with different plans per build, as with timed tactics."""
    profile = SimpleNamespace(shapes={})
    profile.set_shape = lambda name, *shapes: profile.shapes.update({name: shapes})
    network = SimpleNamespace(
        get_flag=lambda flag: True,
        num_inputs=1,
        num_layers=1,
        get_input=lambda number: SimpleNamespace(name="x"),
    )
    builder = SimpleNamespace(
        create_network=lambda flags: network,
        create_builder_config=lambda: Config(said),
        create_optimization_profile=lambda: profile,
        build_serialized_network=lambda network, config: (
            f"plan {len(said)} {sorted(config.flags)}".encode()
        ),
    )
    trt.Builder = lambda logger: builder
    trt.OnnxParser = lambda network, logger: SimpleNamespace(parse_from_file=lambda file: True)
    trt.NetworkDefinitionCreationFlag = SimpleNamespace(STRONGLY_TYPED=1)
    trt.BuilderFlag = SimpleNamespace(TF32="TF32")
    trt.ProfilingVerbosity = SimpleNamespace(DETAILED="detailed")


@pytest.mark.parametrize(("handed", "second"), [("fresh", b""), ("shared", b"timings")])
def test_builds_of_tensorrt_time_anew_or_share_the_first_ones_cache(
    handed: str, second: bytes, cuda_played: Cuda, tmp_path: Path
) -> None:
    said: list[Any] = []
    add_builder(sys.modules[MODULE], said)
    order = tensorrt_build.BuildOrder(MODULE, {"x": (2, 4)}, builds=2, timing_cache=handed)
    made = tensorrt_build.build_plans(tmp_path / "model.onnx", tmp_path, order)
    assert [entry for entry in said if entry[0] == "cache"] == [
        ("cache", b"", False),
        ("cache", second, False),
    ]
    assert [entry[1] for entry in said if entry[0] == "profile"] == [{"x": ((2, 4),) * 3}] * 2
    assert (tmp_path / tensorrt_build.TIMING_CACHE).read_bytes() == b"timings"
    assert (made["distinct_plans"], made["distinct_layers"]) == (2, 1), (
        "what a build decides is seen"
    )
    assert not any(build["tf32"] for build in made["builds"])
