"""Sessions of ONNX Runtime: explicit options, no silent change of provider, and an attestation.

Executed nodes are read from a second session with the same options, profiled after sampling: a
profiler in the timed session would slow it down.
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

from evenbench.backends.onnx import dynamic_axes, protobuf_reader
from evenbench.backends.onnx import precision as onnx_precision
from evenbench.backends.onnxruntime import (
    executed_graph,
    execution_providers,
    fusions,
    session_options,
)
from evenbench.harness import Attestation, Cell, Session, Unavailable, Unsupported
from evenbench.harness.inputs import element_types

if TYPE_CHECKING:
    from evenbench.harness.core.session import Arrays


PROFILED_RUNS = 3
"""Runs of the profiled session. Only the last counts: the first plans memory."""

LARGEST_BYTES = 1 << 30
"""Largest file with a saved optimised graph: a protobuf file ends at 2 GiB."""


class OrtSession(Session):
    """A session with numpy arrays as inputs; providers on the CPU read the arrays in place."""

    iobinding = "off"

    def __init__(self, file: Path, cell: Cell, provider: str = "") -> None:
        import onnxruntime as ort

        self.cell, self.file, self.runtime = cell, file, ort
        self.chosen = provider or execution_providers.default_provider(cell.device)
        self.provider = execution_providers.PROVIDERS[self.chosen]
        if self.provider.name not in ort.get_available_providers():
            raise Unavailable(execution_providers.missing_provider(self.chosen))
        if self.provider.memory == "cuda" and hasattr(ort, "preload_dlls"):
            # Wheels may contain CUDA's libraries, in folders unknown to the loader.
            ort.preload_dlls()
        self.session = self._open(
            session_options.session_options(ort, cell), session_options.disabled_optimizers(cell)
        )
        self.outputs = [output.name for output in self.session.get_outputs()]
        if dynamic_axes.left_open(cell):
            dynamic_axes.check_left_open(cell, self._shapes())
        self.feeds: dict[str, Any] = {}
        self.result: list[Any] = []

    def _open(self, options: Any, without: list[str]) -> Any:
        chosen = (self.provider.name, execution_providers.provider_options(self.cell, self.chosen))
        optional = {"disabled_optimizers": without} if without else {}
        try:
            session = self.runtime.InferenceSession(
                str(self.file), options, providers=[chosen], enable_fallback=0, **optional
            )
        except Exception as error:
            kernel = onnx_precision.without_kernel(error)
            if kernel:
                raise Unsupported(
                    f"{self.provider.name} {kernel} at {self.cell.precision}"
                ) from error
            # A file of evenbench's own export that does not load is a fault of the export.
            refused = self.cell.model.file and onnx_precision.refused_file(error)
            if refused:
                raise Unsupported(refused) from error
            raise
        session.disable_fallback()
        session_options.check_accepted(options, session.get_session_options())
        providers = session.get_providers()
        if providers[0] != self.provider.name:
            raise Unavailable(
                f"requested {self.provider.name}, but the session has {', '.join(providers)}: "
                "the wheel has this provider, but its library did not "
                "load; install the libraries that it links to (such as onnxruntime-gpu[cuda,cudnn])"
            )
        return session

    def _shapes(self) -> dict[str, list[int | str | None]]:
        """Return the session's input shapes: an open size is a name, or None."""
        return {tensor.name: list(tensor.shape) for tensor in self.session.get_inputs()}

    def bind(self, inputs: Arrays) -> None:
        self.feeds = dict(inputs)

    def step(self) -> None:
        self.result = self.session.run(self.outputs, self.feeds)

    def run_other(self, session: Any, feeds: dict[str, Any]) -> list[Any]:
        """Run another session of the same file."""
        return list(session.run(self.outputs, feeds))

    def fetch(self) -> Arrays:
        return dict(zip(self.outputs, self.result, strict=True))

    def beside(self) -> Session:
        # The copy shares the network: ONNX Runtime allows concurrent calls of `run`.
        session = copy.copy(self)
        session.feeds, session.result = {}, []
        return session

    # -- what really ran ---------------------------------------------------------------------------

    def attest(self) -> Attestation:
        options = self.session.get_session_options()
        entry = options.get_session_config_entry
        options_in_use = self.session.get_provider_options()
        nodes, graph = self._profiled(session_options.disabled_optimizers(self.cell))
        stored = protobuf_reader.read(self.file).precision
        tf32 = options_in_use.get(self.provider.name, {}).get("use_tf32") == "1"
        precision, emulated = executed_graph.executed_precision(
            self.cell.precision, nodes, stored, tf32, self.cell.stored_precisions
        )
        strays = executed_graph.misplaced_operators(nodes, self.provider.name)
        device = execution_providers.device_used(self.cell, self.chosen, options_in_use)
        return Attestation(
            runtime="onnxruntime",
            version=self.runtime.__version__,
            device=f"{device}, with {_node_count(strays)} on another provider"
            if strays
            else device,
            precision=precision,
            threads=options.intra_op_num_threads,
            denormals="flushed" if entry("session.set_denormal_as_zero") == "1" else "preserved",
            # The OpenVINO provider computes in oneTBB's workers, and oneTBB has no switch for
            # spinning.
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
                "execution_mode": session_options.enum_name(options.execution_mode),
                "graph_optimization_level": session_options.enum_name(
                    options.graph_optimization_level
                ),
                "cpu_mem_arena": options.enable_cpu_mem_arena,
                "mem_pattern": options.enable_mem_pattern,
                "mem_reuse": getattr(options, "enable_mem_reuse", None),
                "iobinding": self.iobinding,
                "provider_options": options_in_use,
                "accepted_provider_options": execution_providers.provider_options(
                    self.cell, self.chosen
                ),
                "stored_weights": stored,
                "input_shapes": self._shapes(),
                "custom_ops": self._custom_ops(),
                "graph": graph,
                "build": self.runtime.get_build_info(),
            },
        )

    def _labels(
        self, nodes: list[executed_graph.ExecutedNode], graph: Mapping[str, Any]
    ) -> list[str]:
        parallel = self.cell.option.get("execution") == "parallel"
        copies = self.provider.memory != "cpu" and self.iobinding == "off"
        idle = graph.get("disabled_optimizers", {}).get("changed_graph") is False
        return [
            executed_graph.precision_label(self.cell.precision, nodes),
            (
                f"{session_options.inter_op_threads(self.cell)} inter-op threads beside "
                f"{self.cell.threads}"
            )
            if parallel
            else "",
            "copies are part of compute" if copies else "",
            "partly on the CPU provider" if len(graph["nodes_by_provider"]) > 1 else "",
            "the disabled optimizers changed nothing" if idle else "",
            # Open sizes were checked against the session when loading.
            *dynamic_axes.labels(self.cell),
        ]

    def _custom_ops(self) -> dict[str, str] | None:
        """Identify the custom-operator library by content: the path may stay the same."""
        if "custom_ops" not in self.cell.option:
            return None
        path = Path(self.cell.option["custom_ops"])
        return {"file": path.name, "sha256": hashlib.sha256(path.read_bytes()).hexdigest()}

    def _placement(self) -> dict[str, int]:
        """Count nodes by provider before fusions; empty if this release reports no assignments."""
        counts: Counter[str] = Counter()
        if hasattr(self.session, "get_provider_graph_assignment_info"):
            for subgraph in self.session.get_provider_graph_assignment_info():
                counts[subgraph.ep_name] += len(subgraph.get_nodes())
        return dict(counts)

    def _profiled(
        self, without: list[str]
    ) -> tuple[list[executed_graph.ExecutedNode], dict[str, Any]]:
        """Profile a second session: nodes of the last run, and facts about nodes and fusions."""
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
                changed = _signature(nodes) != _signature(self._profile(other, [])[0])
                # ONNX Runtime silently accepts unknown names.
                facts["disabled_optimizers"] = {
                    "asked": without,
                    "changed_graph": changed,
                }
        return nodes, facts

    def _profile(
        self, folder: Path, without: list[str]
    ) -> tuple[list[executed_graph.ExecutedNode], Path | None]:
        written = folder / "optimised.onnx"
        is_written = not self.provider.compiles and self.file.stat().st_size <= LARGEST_BYTES
        session = self.profiling(folder, without, written if is_written else None)
        feeds = self.feeds or _zero_batch(self.cell)
        for _ in range(PROFILED_RUNS):
            self.run_other(session, feeds)
        events = json.loads(Path(session.end_profiling()).read_text())
        return executed_graph.nodes_of_last_run(events), written if written.exists() else None

    def profiling(self, folder: Path, without: list[str], optimised: Path | None = None) -> Any:
        """Open a second session with the same options that writes its profile into `folder`.

        `optimised` is the file for the optimised graph, if any; `without` are disabled optimizers.
        """
        options = session_options.session_options(self.runtime, self.cell)
        options.enable_profiling = True
        options.profile_file_prefix = str(folder / "profile")
        if optimised:
            options.optimized_model_filepath = str(optimised)
        return self._open(options, without)

    def _changes(self, written: Path | None) -> dict[str, Any]:
        """Return the fusions, or the reason why the fusions are unknown."""
        if self.provider.compiles:
            return {
                "fused_unknown": (
                    f"{self.provider.name} compiles nodes, and such a graph cannot be written out"
                )
            }
        if written is None:
            return {"fused_unknown": f"the file is larger than {LARGEST_BYTES} bytes"}
        return fusions.compare_graphs(
            protobuf_reader.read(self.file), protobuf_reader.read(written)
        )

    def close(self) -> None:
        self.result = []
        self.feeds = {}
        self.session = None


def _node_count(operators: Mapping[str, int]) -> str:
    count = sum(operators.values())
    return f"{count} node{'s' if count > 1 else ''} ({', '.join(sorted(operators))})"


def _signature(nodes: list[executed_graph.ExecutedNode]) -> list[tuple[str, str]]:
    """Identify an optimised graph by its nodes' operators and names."""
    return sorted((node.operator, node.name) for node in nodes)


def _zero_batch(cell: Cell) -> dict[str, Any]:
    """Return a batch of zeros, for a session attested before the first bind."""
    import numpy as np

    return {
        spec.name: np.zeros(spec.concrete(cell.batch), element_types.dtype_of(spec.dtype))
        for spec in cell.model.inputs
    }
