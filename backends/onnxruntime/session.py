"""Sessions of ONNX Runtime: every option set explicitly and read back, no silent change of
provider, and what really ran.

What was executed is read from a second session with the same options, which is profiled after the
timed one was sampled: a profiler in the timed session would be timed as well.
"""

from __future__ import annotations

import copy
import hashlib
import json
import tempfile
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from backends.onnx import dynamic_axes, protobuf_reader
from backends.onnx import precision as onnx_precision
from backends.onnxruntime import executed_graph, execution_providers
from harness import Attestation, Cell, Session, Unavailable, Unsupported

if TYPE_CHECKING:
    from harness.core.session import Arrays

ENTRIES = {
    "session.set_denormal_as_zero": "0",
    "session.record_ep_graph_assignment_info": "1",
    "optimization.enable_gelu_approximation": "0",
    "mlas.enable_gemm_fastmath_arm64_bfloat16": "0",
}
"""Session entries for every cell: denormals are kept, node placement can be read back, and nothing
is computed in less than was asked.
"""

LEVELS = {
    "disable": "ORT_DISABLE_ALL",
    "basic": "ORT_ENABLE_BASIC",
    "extended": "ORT_ENABLE_EXTENDED",
    "layout": "ORT_ENABLE_LAYOUT",
    "all": "ORT_ENABLE_ALL",
}
"""The option `optimization` and ONNX Runtime's names; each level holds those before it."""

MODES = {"sequential": "ORT_SEQUENTIAL", "parallel": "ORT_PARALLEL"}

PROFILED_RUNS = 3
"""Runs of the profiled session. The last one counts: memory is laid out during the first."""

LARGEST_BYTES = 1 << 30
"""Above this size an optimised graph is not written out to see what was fused: a protobuf file ends
at 2 GiB.
"""


def session_options(ort: Any, cell: Cell) -> Any:
    """The session options of a cell. Raises Unsupported where this release lacks one, Unavailable
    where a library is not there.
    """
    asked, options = cell.option, ort.SessionOptions()
    level, mode = (
        LEVELS[asked.get("optimization", "all")],
        MODES[asked.get("execution", "sequential")],
    )
    if not hasattr(ort.GraphOptimizationLevel, level):
        raise Unsupported(
            f"ONNX Runtime {ort.__version__} has no optimization={asked['optimization']}; it came with a later release"
        )
    options.graph_optimization_level = getattr(ort.GraphOptimizationLevel, level)
    options.execution_mode = getattr(ort.ExecutionMode, mode)
    options.intra_op_num_threads = cell.threads
    options.inter_op_num_threads = inter_op(cell)
    options.enable_cpu_mem_arena = asked.get("arena", "on") == "on"
    options.log_severity_level = 3
    for name, value in entries(cell).items():
        options.add_session_config_entry(name, value)
    if "custom_ops" in asked:
        try:
            options.register_custom_ops_library(str(Path(asked["custom_ops"]).resolve()))
        except Exception as error:  # ONNX Runtime's own types, which are not ours to import
            raise Unavailable(
                f"the custom-operator library {asked['custom_ops']} cannot be registered: {error}"
            ) from error
    return options


def entries(cell: Cell) -> dict[str, str]:
    """The session's configuration entries of a cell."""
    spinning = (
        "0" if cell.option.get("spinning") == "off" else "1"
    )  # 1 is also the runtime's default, said here to be read back
    return {
        **ENTRIES,
        "session.intra_op.allow_spinning": spinning,
        "session.inter_op.allow_spinning": spinning,
    }


def inter_op(cell: Cell) -> int:
    """How many threads run branches side by side: one, unless execution is parallel, which needs
    two.
    """
    return (
        int(cell.option.get("inter_op", max(2, cell.threads)))
        if cell.option.get("execution") == "parallel"
        else 1
    )


def disabled(cell: Cell) -> list[str]:
    """The optimisers that a cell switches off, by ONNX Runtime's names."""
    return [
        name.strip()
        for name in str(cell.option.get("disabled_optimizers", "")).split(",")
        if name.strip()
    ]


class OrtSession(Session):
    """Inputs are handed over as numpy arrays, which providers on the CPU read in place."""

    iobinding = "off"

    def __init__(self, file: Path, cell: Cell, provider: str = "") -> None:
        import onnxruntime as ort

        self.cell, self.file, self.runtime = cell, file, ort
        self.chosen = provider or execution_providers.default_for(cell.device)
        self.provider = execution_providers.PROVIDERS[self.chosen]
        if self.provider.name not in ort.get_available_providers():
            raise Unavailable(execution_providers.absent(self.chosen))
        if self.provider.memory == "cuda" and hasattr(ort, "preload_dlls"):
            ort.preload_dlls()  # CUDA's libraries may lie in wheels, where the loader does not look
        self.session = self._open(session_options(ort, cell), disabled(cell))
        self.outputs = [output.name for output in self.session.get_outputs()]
        if dynamic_axes.left_open(cell):
            dynamic_axes.check_left_open(cell, self._shapes())
        self.feeds: dict[str, Any] = {}
        self.result: list[Any] = []

    def _open(self, options: Any, without: list[str]) -> Any:
        chosen = (self.provider.name, execution_providers.told(self.cell, self.chosen))
        more = {"disabled_optimizers": without} if without else {}
        try:
            made = self.runtime.InferenceSession(
                str(self.file), options, providers=[chosen], enable_fallback=0, **more
            )
        except Exception as error:
            kernel = onnx_precision.without_kernel(error)
            if kernel:
                raise Unsupported(
                    f"{self.provider.name} {kernel} at {self.cell.precision}"
                ) from error
            raise
        made.disable_fallback()
        _check_kept(options, made.get_session_options())
        found = made.get_providers()
        if found[0] != self.provider.name:
            raise Unavailable(
                f"asked for {self.provider.name}, the session has {', '.join(found)}: the wheel has this provider, but its library did not "
                "load; install what it links to (such as onnxruntime-gpu[cuda,cudnn])"
            )
        return made

    def _shapes(self) -> dict[str, list[int | str | None]]:
        """The inputs' shapes as the session has them: an open size is a name, or None."""
        return {tensor.name: list(tensor.shape) for tensor in self.session.get_inputs()}

    def bind(self, inputs: Arrays) -> None:
        self.feeds = dict(inputs)

    def step(self) -> None:
        self.result = self.session.run(self.outputs, self.feeds)

    def fetch(self) -> Arrays:
        return dict(zip(self.outputs, self.result, strict=True))

    def beside(self) -> Session:
        made = copy.copy(
            self
        )  # the network is shared: ONNX Runtime's `run` may be called by several threads
        made.feeds, made.result = {}, []
        return made

    # -- what really ran ---------------------------------------------------------------------------

    def attest(self) -> Attestation:
        options = self.session.get_session_options()
        entry = options.get_session_config_entry
        given = self.session.get_provider_options()
        nodes, graph = self._profiled(disabled(self.cell))
        stored = protobuf_reader.read(self.file).precision
        tf32 = given.get(self.provider.name, {}).get("use_tf32") == "1"
        precision, emulated = executed_graph.ran_in(self.cell.precision, nodes, stored, tf32)
        strays = executed_graph.strays(nodes, self.provider.name)
        device = execution_providers.device_used(self.cell, self.chosen, given)
        return Attestation(
            runtime="onnxruntime",
            version=self.runtime.__version__,
            device=f"{device}, with {_counted(strays)} on another provider" if strays else device,
            precision=precision,
            threads=options.intra_op_num_threads,
            denormals="flushed" if entry("session.set_denormal_as_zero") == "1" else "preserved",
            # The OpenVINO provider computes in oneTBB's workers, for which there is no switch to
            # set or read.
            spinning="runtime default"
            if self.chosen == "openvino"
            else "on"
            if entry("session.intra_op.allow_spinning") == "1"
            else "off",
            providers=tuple(self.session.get_providers()),
            placement=self._placement() or graph["nodes_by_provider"],
            emulated=emulated,
            labels=tuple(filter(None, self._labels(nodes, graph))),
            details={
                "inter_op_num_threads": options.inter_op_num_threads,
                "execution_mode": _named(options.execution_mode),
                "graph_optimization_level": _named(options.graph_optimization_level),
                "cpu_mem_arena": options.enable_cpu_mem_arena,
                "mem_pattern": options.enable_mem_pattern,
                "mem_reuse": getattr(options, "enable_mem_reuse", None),
                "iobinding": self.iobinding,
                "provider_options": given,
                "accepted_provider_options": execution_providers.told(self.cell, self.chosen),
                "stored_weights": stored,
                "input_shapes": self._shapes(),
                "custom_ops": self._custom_ops(),
                "graph": graph,
                "build": self.runtime.get_build_info(),
            },
        )

    def _labels(self, nodes: list[executed_graph.Executed], graph: Mapping[str, Any]) -> list[str]:
        parallel = self.cell.option.get("execution") == "parallel"
        copies = self.provider.memory != "cpu" and self.iobinding == "off"
        idle = graph.get("disabled_optimizers", {}).get("changed_graph") is False
        return [
            executed_graph.label(self.cell.precision, nodes),
            f"{inter_op(self.cell)} inter-op threads beside {self.cell.threads}"
            if parallel
            else "",
            "copies are part of compute" if copies else "",
            "partly on the CPU provider" if len(graph["nodes_by_provider"]) > 1 else "",
            "the disabled optimizers changed nothing" if idle else "",
            *dynamic_axes.labels(self.cell),  # which was read back when it was loaded
        ]

    def _custom_ops(self) -> dict[str, str] | None:
        """The custom-operator library by its content, which may change a number where its path
        stays the same.
        """
        if "custom_ops" not in self.cell.option:
            return None
        path = Path(self.cell.option["custom_ops"])
        return {"file": path.name, "sha256": hashlib.sha256(path.read_bytes()).hexdigest()}

    def _placement(self) -> dict[str, int]:
        """Nodes by the provider that took them when the graph was divided, before fusions; empty
        where this release does not tell.
        """
        placed: Counter[str] = Counter()
        if hasattr(self.session, "get_provider_graph_assignment_info"):
            for subgraph in self.session.get_provider_graph_assignment_info():
                placed[subgraph.ep_name] += len(subgraph.get_nodes())
        return dict(placed)

    def _profiled(self, without: list[str]) -> tuple[list[executed_graph.Executed], dict[str, Any]]:
        """The nodes of one run in a session of its own, profiled, and facts about them and about
        what optimisation did.
        """
        with tempfile.TemporaryDirectory() as folder:
            nodes, written = self._profile(Path(folder), without)
            facts = executed_graph.summary(nodes) | {"profiled_runs": PROFILED_RUNS}
            if self.provider.memory != "cpu":
                facts["times_are"] = "the host's, in which kernels are launched"
            if self.provider.compiles:
                facts["types_are"] = (
                    f"those of the inputs of nodes that {self.provider.name} compiled"
                )
            facts |= self._changes(written)
            if without:
                other = Path(folder) / "with all"
                other.mkdir()
                changed = _shape(nodes) != _shape(self._profile(other, [])[0])
                facts["disabled_optimizers"] = {
                    "asked": without,
                    "changed_graph": changed,
                }  # a name that is unknown is accepted in silence
        return nodes, facts

    def _profile(
        self, folder: Path, without: list[str]
    ) -> tuple[list[executed_graph.Executed], Path | None]:
        options = session_options(self.runtime, self.cell)
        options.enable_profiling = True
        options.profile_file_prefix = str(folder / "profile")
        written = folder / "optimised.onnx"
        if not self.provider.compiles and self.file.stat().st_size <= LARGEST_BYTES:
            options.optimized_model_filepath = str(written)
        session = self._open(options, without)
        feeds = self.feeds or _zeros(self.cell)
        for _ in range(PROFILED_RUNS):
            session.run(self.outputs, feeds)
        events = json.loads(Path(session.end_profiling()).read_text())
        return executed_graph.executed(events), written if written.exists() else None

    def _changes(self, written: Path | None) -> dict[str, Any]:
        """What was fused into what, or in words why that is not known."""
        if self.provider.compiles:
            return {
                "fused_unknown": f"{self.provider.name} compiles nodes, and such a graph cannot be written out"
            }
        if written is None:
            return {"fused_unknown": f"the file is larger than {LARGEST_BYTES} bytes"}
        return executed_graph.changes(
            protobuf_reader.read(self.file), protobuf_reader.read(written)
        )

    def close(self) -> None:
        self.result = []
        self.feeds = {}
        self.session = None


class BoundSession(OrtSession):
    """Inputs and outputs are bound once, to memory of the provider's device: `step` allocates and
    copies nothing.
    """

    iobinding = "on"

    def __init__(self, file: Path, cell: Cell, provider: str = "") -> None:
        super().__init__(file, cell, provider)
        import numpy as np

        number = int(execution_providers.told(cell, self.chosen).get("device_id", 0))
        self.place = (self.provider.memory, number)
        self.binding = self.session.io_binding()
        self.values: dict[str, Any] = {}
        self.made: dict[str, Any] = {}
        made = self.runtime.OrtValue.ortvalue_from_shape_and_type
        for spec in cell.model.outputs:
            self.made[spec.name] = made(
                list(spec.concrete(cell.batch)), np.dtype(spec.dtype), *self.place
            )
            self.binding.bind_ortvalue_output(spec.name, self.made[spec.name])

    def bind(self, inputs: Arrays) -> None:
        super().bind(inputs)  # keeps the arrays alive: memory on the CPU is theirs
        for name, array in inputs.items():
            if name in self.values and self.provider.memory != "cpu":
                self.values[name].update_inplace(array)
                continue
            self.values[name] = self.runtime.OrtValue.ortvalue_from_numpy(array, *self.place)
            self.binding.bind_ortvalue_input(name, self.values[name])
        self.binding.synchronize_inputs()

    def step(self) -> None:
        self.session.run_with_iobinding(self.binding)

    def sync(self) -> None:
        self.binding.synchronize_outputs()

    def fetch(self) -> Arrays:
        import numpy as np

        return {
            name: np.array(value.numpy()) for name, value in self.made.items()
        }  # a copy: the next step writes there again

    def beside(self) -> Session:
        raise Unsupported(
            "iobinding=on binds inputs and outputs to one place in memory, which threads would share; ask for iobinding=off"
        )

    def close(self) -> None:
        self.binding = None
        self.values, self.made = {}, {}
        super().close()


def _check_kept(asked: Any, used: Any) -> None:
    """Raise Unsupported where the session changed an option by itself, as it makes parallel
    execution with one thread sequential.
    """
    for name in (
        "execution_mode",
        "graph_optimization_level",
        "intra_op_num_threads",
        "inter_op_num_threads",
        "enable_cpu_mem_arena",
    ):
        if getattr(asked, name) != getattr(used, name):
            raise Unsupported(
                f"asked for {name} {_named(getattr(asked, name))}, ONNX Runtime made it {_named(getattr(used, name))}"
            )


def _named(value: Any) -> str:
    """An enumeration's value by its name, without the class."""
    return str(value).rpartition(".")[2]


def _counted(operators: Mapping[str, int]) -> str:
    many = sum(operators.values())
    return f"{many} node{'s' if many > 1 else ''} ({', '.join(sorted(operators))})"


def _shape(nodes: list[executed_graph.Executed]) -> list[tuple[str, str]]:
    """What tells two optimised graphs apart: their nodes' operators and names, without the numbers
    that make names unique.
    """
    return sorted((node.operator, node.name) for node in nodes)


def _zeros(cell: Cell) -> dict[str, Any]:
    """A batch of zeros, for a session that was attested before anything was bound."""
    import numpy as np

    return {
        spec.name: np.zeros(spec.concrete(cell.batch), spec.dtype) for spec in cell.model.inputs
    }
