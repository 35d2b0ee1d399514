"""ONNX Runtime's Python API: one session, explicit threads, one execution provider, and no silent
change of it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

from backends.onnx import dynamic_axes, export
from backends.onnx.backend import OnnxBackend
from backends.onnxruntime import execution_providers, session
from backends.onnxruntime.session import OrtSession
from harness import Cell, Session, Source, Unsupported
from harness.core.backend import Deployment

CHOICES = {
    "spinning": ("default", "off"),
    "optimization": tuple(session.LEVELS),
    "execution": tuple(session.MODES),
    "arena": ("on", "off"),
    "iobinding": ("on", "off"),
}
"""The values of those options that have few."""


class OnnxRuntime(OnnxBackend):
    """The CPU provider, all graph optimisations, sequential, unless the cell says otherwise."""

    name = "ort"
    requires = ("onnxruntime",)
    distributions = ("onnxruntime", *OnnxBackend.distributions)
    environments = {"openvino": ("onnxruntime-openvino",), "gpu": ("onnxruntime-gpu[cuda,cudnn]",)}
    precisions = ("fp32", "tf32", *OnnxBackend.precisions[1:])
    devices = execution_providers.DEVICES
    open_outputs = True
    options: ClassVar[Mapping[str, str]] = {
        **OnnxBackend.options,
        **dynamic_axes.DYNAMIC,
        "provider": f"the execution provider: {', '.join(execution_providers.PROVIDERS)}; the first on the cell's device is the default",
        "optimization": f"how far the graph is optimised: {', '.join(session.LEVELS)} (default)",
        "execution": "'sequential' (default), or 'parallel' for branches side by side, by threads beside the cell's",
        "inter_op": "with execution=parallel, how many threads run branches, 2 or more; as many as the cell's threads by default",
        "arena": "'on' (default) keeps memory of the CPU for later steps; 'off' gives it back after each",
        "iobinding": "'on' binds inputs and outputs to the device's memory (default but on the CPU); 'off' hands over numpy arrays",
        "disabled_optimizers": "names of graph optimisers to leave out, with commas between them, such as ConvActivationFusion",
        "custom_ops": "the path of a custom-operator library to register",
        "conv_search": "of provider cuda, how cuDNN finds algorithms: 'exhaustive' (default), 'heuristic' or 'default'",
        "spinning": "'default' lets idle threads spin for a while, as ONNX Runtime does; 'off' makes them sleep at once",
    }
    provider: ClassVar[str] = ""
    """The provider of cells that name none; empty for the default of the cell's device."""

    def provider_of(self, cell: Cell) -> str:
        """The name of the cell's execution provider."""
        return str(
            cell.option.get("provider")
            or self.provider
            or execution_providers.default_for(cell.device)
        )

    def supports(self, cell: Cell) -> str:
        refused = super().supports(as_exported(cell) if cell.precision in self.precisions else cell)
        return (
            refused
            or execution_providers.refuses(cell, self.provider_of(cell))
            or _wrong_option(cell)
        )

    def lacks(self, cell: Cell) -> str:
        library = Path(str(cell.option.get("custom_ops", "")))
        if "custom_ops" in cell.option and not library.is_file():
            return f"custom_ops names {library}, which is no file here; build the custom-operator library"
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
        unwritten = [
            name
            for name in ("custom_ops", "disabled_optimizers", "dynamic", "iobinding")
            if name in cell.option
        ]
        if self.provider_of(cell) != execution_providers.default_for("cpu") or unwritten:
            what = " and ".join(unwritten) or f"provider {self.provider_of(cell)}"
            raise Unsupported(
                f"a program with {what} has not been written; ship the CPU provider without it"
            )
        settings = {
            "file": export.FILE,
            "outputs": [spec.name for spec in cell.model.outputs],
            "optimization": session.LEVELS[cell.option.get("optimization", "all")],
            "execution": session.MODES[cell.option.get("execution", "sequential")],
            "inter_op": session.inter_op(cell),
            "arena": cell.option.get("arena", "on") == "on",
            "entries": session.entries(cell),
        }
        return Deployment(
            ("onnxruntime",), "backends.onnxruntime.deployed_network:Network", settings
        )

    def watch(self, folder: Path, cell: Cell, names: Sequence[str]) -> Session:
        return super().watch(
            folder, replace(cell, options=(*cell.options, ("iobinding", "off"))), names
        )  # of unknown sizes

    def load(self, folder: Path, cell: Cell) -> Session:
        usual = (
            "off"
            if execution_providers.PROVIDERS[self.provider_of(cell)].memory == "cpu"
            or _unbound(cell)
            else "on"
        )
        bound = cell.option.get("iobinding", usual) == "on"
        kind = session.BoundSession if bound else OrtSession
        return kind(folder / export.FILE, cell, self.provider_of(cell))


def as_exported(cell: Cell) -> Cell:
    """The cell of the file that is read: TF32 is arithmetic on fp32 numbers."""
    return replace(cell, precision="fp32") if cell.precision == "tf32" else cell


def _unbound(cell: Cell) -> str:
    """In words, why no memory can be bound ahead for the outputs, or an empty string."""
    unsized = [spec.name for spec in cell.model.outputs if spec.is_open]
    if unsized:
        return f"{cell.model.name} has as many {unsized[0]} as it finds"
    return (
        f"dynamic={cell.option['dynamic']} answers inputs of any size"
        if dynamic_axes.left_open(cell)
        else ""
    )


def _wrong_option(cell: Cell) -> str:
    """An empty string, or which option cannot have its value, in words."""
    asked = cell.option
    if asked.get("iobinding") == "on" and _unbound(cell):
        return f"iobinding=on lays outputs out ahead, and {_unbound(cell)}"
    for name, allowed in CHOICES.items():
        if name in asked and asked[name] not in allowed:
            return f"{name} is {' or '.join(map(repr, allowed))}, not {asked[name]!r}"
    threads = asked.get("inter_op", 2)
    if (
        type(threads) is not int or threads < 2
    ):  # with one, ONNX Runtime runs in sequence without a word
        return f"inter_op is a whole number of 2 or more, not {threads!r}"
    if "inter_op" in asked and asked.get("execution") != "parallel":
        return "inter_op counts the threads of execution=parallel, and means nothing without it"
    if "disabled_optimizers" in asked and not session.disabled(cell):
        return "disabled_optimizers names none; expected ONNX Runtime's names, with commas between them"
    return ""
