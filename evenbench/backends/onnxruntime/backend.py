"""The backend `ort`: ONNX Runtime's Python API with explicit threads and provider."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from evenbench.backends.onnx import dynamic_axes, export, file_precision
from evenbench.backends.onnx.backend import OnnxBackend
from evenbench.backends.onnx.file_inputs import feeds
from evenbench.backends.onnxruntime import (
    bound_session,
    execution_providers,
    operator_profile,
    session_options,
    value_session,
)
from evenbench.backends.onnxruntime.session import OrtSession
from evenbench.harness import Cell, Session, Source, Unsupported
from evenbench.harness.core.backend import Deployment
from evenbench.harness.core.measurements import OperatorProfile

if TYPE_CHECKING:
    from evenbench.harness.core.session import Arrays, Now

CHOICES = {
    "spinning": ("default", "off"),
    "optimization": tuple(session_options.LEVELS),
    "execution": tuple(session_options.MODES),
    "arena": ("on", "off"),
    "iobinding": ("on", "off"),
}
"""Allowed values of enumerated options."""


class OnnxRuntime(OnnxBackend):
    """ONNX Runtime: by default on the CPU provider, fully optimised, executed in sequence."""

    name = "ort"
    takes_values = (feeds.TENSORS, feeds.LISTS)
    requires = ("onnxruntime",)
    distributions = ("onnxruntime", *OnnxBackend.distributions)
    environments = {"openvino": ("onnxruntime-openvino",), "gpu": ("onnxruntime-gpu[cuda,cudnn]",)}
    precisions = ("fp32", "tf32", *OnnxBackend.precisions[1:])
    file_precisions = file_precision.FILE_PRECISIONS
    devices = execution_providers.DEVICES
    open_outputs = True
    options: ClassVar[Mapping[str, str]] = {
        **OnnxBackend.options,
        **dynamic_axes.DYNAMIC,
        "provider": (
            f"the execution provider: {', '.join(execution_providers.PROVIDERS)}; the first on "
            "the cell's device is the default"
        ),
        "optimization": f"graph optimisation: {', '.join(session_options.LEVELS)} (default)",
        "execution": (
            "'sequential' (default), or 'parallel' to run branches concurrently on additional "
            "threads"
        ),
        "inter_op": (
            "with execution=parallel, the number of threads for branches, 2 or more (default: "
            "the cell's threads)"
        ),
        "arena": "'on' (default) keeps CPU memory between steps; 'off' frees it after each step",
        "iobinding": (
            "'on' binds inputs and outputs to device memory (default except on the CPU); 'off' "
            "passes numpy arrays"
        ),
        "disabled_optimizers": (
            "comma-separated names of graph optimisers to disable, such as ConvActivationFusion"
        ),
        "custom_ops": "the path of a custom-operator library to register",
        "conv_search": (
            "for provider cuda, cuDNN's search for algorithms: 'exhaustive' (default), "
            "'heuristic' or 'default'"
        ),
        "spinning": (
            "'default' lets idle threads spin briefly, as ONNX Runtime does; 'off' lets idle "
            "threads sleep at once"
        ),
    }
    provider: ClassVar[str] = ""
    """The default provider of this backend; empty for the default of the cell's device."""

    def provider_of(self, cell: Cell) -> str:
        """Return the name of the cell's execution provider."""
        return str(
            cell.option.get("provider")
            or self.provider
            or execution_providers.default_provider(cell.device)
        )

    def supports(self, cell: Cell) -> str:
        reason = super().supports(as_exported(cell) if cell.precision in self.precisions else cell)
        return (
            reason
            or execution_providers.refuses(cell, self.provider_of(cell))
            or _refuses_options(cell)
        )

    def lacks(self, cell: Cell) -> str:
        library = Path(str(cell.option.get("custom_ops", "")))
        if "custom_ops" in cell.option and not library.is_file():
            return f"custom_ops: {library} is not a file; build the custom-operator library"
        return execution_providers.lacks(self.provider_of(cell)) or super().lacks(as_exported(cell))

    def variables(self, cell: Cell) -> Mapping[str, str]:
        return {
            **super().variables(cell),
            **execution_providers.variables(cell, self.provider_of(cell)),
        }

    def artifact_key(self, cell: Cell) -> Mapping[str, Any]:
        return super().artifact_key(as_exported(cell))

    def prepare(self, source: Source, cell: Cell, folder: Path) -> Mapping[str, Any]:
        return super().prepare(source, as_exported(cell), folder)

    def deployment(self, cell: Cell) -> Deployment:
        names = [
            name
            for name in ("custom_ops", "disabled_optimizers", "dynamic", "iobinding")
            if name in cell.option
        ]
        if self.provider_of(cell) != execution_providers.default_provider("cpu") or names:
            unsupported = " and ".join(names) or f"provider {self.provider_of(cell)}"
            raise Unsupported(
                f"programs don't support {unsupported}; package a cell with the CPU "
                "provider and without these options"
            )
        settings = {
            "file": export.FILE,
            "outputs": [spec.name for spec in cell.model.outputs],
            "optimization": session_options.LEVELS[cell.option.get("optimization", "all")],
            "execution": session_options.MODES[cell.option.get("execution", "sequential")],
            "inter_op": session_options.inter_op_threads(cell),
            "arena": cell.option.get("arena", "on") == "on",
            "entries": session_options.config_entries(cell),
        }
        return Deployment(
            ("onnxruntime",), "evenbench.backends.onnxruntime.deployed_network:Network", settings
        )

    def watch(self, folder: Path, cell: Cell, names: Sequence[str]) -> Session:
        # Output sizes are unknown, so that no memory can be bound.
        return super().watch(
            folder, replace(cell, options=(*cell.options, ("iobinding", "off"))), names
        )

    def load(self, folder: Path, cell: Cell) -> OrtSession:
        default = (
            "off"
            if execution_providers.PROVIDERS[self.provider_of(cell)].memory == "cpu"
            or _why_unbound(cell)
            else "on"
        )
        bound = cell.option.get("iobinding", default) == "on"
        kind = bound_session.BoundSession if bound else OrtSession
        kind = value_session.ValueSession if value_session.is_needed(cell) else kind
        return kind(folder / export.FILE, cell, self.provider_of(cell))

    def profile(self, folder: Path, cell: Cell, inputs: Arrays, now: Now) -> OperatorProfile:
        with closing(self.load(folder, cell)) as session:
            session.bind(inputs)
            return operator_profile.profile(session, now)


def as_exported(cell: Cell) -> Cell:
    """Return the cell of the exported file: fp32 for TF32, a change of arithmetic only."""
    return replace(cell, precision="fp32") if cell.precision == "tf32" else cell


def _why_unbound(cell: Cell) -> str:
    """Explain why the outputs cannot be allocated before a step, or return an empty string."""
    unsized = [spec.name for spec in cell.model.outputs if spec.is_open]
    if unsized:
        return f"the number of {unsized[0]} of {cell.model.name} depends on the input"
    return (
        f"dynamic={cell.option['dynamic']} accepts inputs of any size"
        if dynamic_axes.left_open(cell)
        else ""
    )


def _refuses_options(cell: Cell) -> str:
    """Explain the first invalid option value, or return an empty string."""
    options = cell.option
    if options.get("iobinding") == "on" and _why_unbound(cell):
        return f"iobinding=on allocates outputs before a step, and {_why_unbound(cell)}"
    for name, allowed in CHOICES.items():
        if name in options and options[name] not in allowed:
            return f"{name} is {' or '.join(map(repr, allowed))}, not {options[name]!r}"
    threads = options.get("inter_op", 2)
    # With one inter-op thread, ONNX Runtime silently runs in sequence.
    if type(threads) is not int or threads < 2:
        return f"inter_op must be an integer of 2 or more, not {threads!r}"
    if "inter_op" in options and options.get("execution") != "parallel":
        return "inter_op needs execution=parallel"
    if "disabled_optimizers" in options and not session_options.disabled_optimizers(cell):
        return (
            "disabled_optimizers is empty; expected comma-separated names of ONNX Runtime's "
            "optimisers"
        )
    return ""
