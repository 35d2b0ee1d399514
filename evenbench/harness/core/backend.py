"""The interface between the harness and a runtime. Backends implement `Backend` and `Session`.

Timing, warm-up, rotation of inputs, parity and isolation live in the harness and build on these
methods, so every runtime is measured by the same rules.
"""

from __future__ import annotations

import importlib.util
from abc import ABC, abstractmethod
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from evenbench.harness.core.errors import Unsupported
from evenbench.harness.core.intermediate_tensors import Exposed
from evenbench.harness.core.measurements import OperatorProfile
from evenbench.harness.core.session import Now, Session
from evenbench.harness.core.types import CALIBRATED, Cell, Model

if TYPE_CHECKING:
    from evenbench.harness.core.session import Arrays


STEP = "step"
"""The task of a non-network model: a step before or after a network, timed as a separate case."""


@dataclass(frozen=True)
class Source:
    """The input of prepare: the declared model, its weights' folder, and input batches.

    `batches` holds one .npy per declared input, of shape [batches, batch, ...]; `weights_sha256` is
    the digest of the weights' values. `calibration` has the same form, with samples never used for
    judging; empty for precisions without calibration. `calibration_sha256` is the digest of its
    bytes.
    """

    model: Model
    weights_folder: Path
    weights_sha256: str
    batches: Mapping[str, Path]
    calibration: Mapping[str, Path] = field(default_factory=dict)
    calibration_sha256: str = ""


@dataclass(frozen=True)
class Deployment:
    """Requirements for an artifact without the harness, built and verified by `evenbench package`.

    `network` is the late name of a class copied into the program. The class takes the artifact's
    folder, `settings` (plain JSON) and a number of threads; called with arrays by name, an instance
    returns the outputs in declared order.
    """

    distributions: tuple[str, ...]
    """Distributions to install beside numpy, without their own requirements."""
    network: str
    settings: Mapping[str, Any] = field(default_factory=dict)
    sources: Mapping[str, str] = field(default_factory=dict)
    """C++ sources with a CMakeLists.txt, by file name, compiled on installation.

    The build yields the library for `network`, and a program `program`, called with the folders of
    inputs, outputs and model.
    """
    tools: tuple[str, ...] = ()
    """Distributions for the build, beside a compiler: cmake and its generator."""


class Backend(ABC):
    """A runtime. Importing the module imports no runtime; `prepare` and `load` do, in workers."""

    name: ClassVar[str]
    requires: ClassVar[tuple[str, ...]] = ()
    """Import names of required packages. Cells are `unavailable` without these packages."""
    precisions: ClassVar[tuple[str, ...]] = ("fp32",)
    file_precisions: ClassVar[tuple[str, ...]] = ()
    """Precisions of model files for this backend without conversion, beside fp32."""
    devices: ClassVar[tuple[str, ...]] = ("cpu",)
    options: ClassVar[Mapping[str, str]] = {}
    """Options for cases, each with a description."""
    distributions: ClassVar[tuple[str, ...]] = ()
    """Distributions whose installed versions go into every record."""
    environments: ClassVar[Mapping[str, tuple[str, ...]]] = {}
    """Requirements of the backend's environments by name: `name@openvino` uses `openvino`.

    The entry `""` is the meaning of `name@1.2`, with its first requirement pinned to the version;
    the default is the first entry of `distributions`.
    """
    uses_weights: ClassVar[bool] = True
    """False for a control that ignores the model."""
    open_outputs: ClassVar[bool] = False
    """True for a backend that accepts outputs with data-dependent sizes, such as detections."""
    steps: ClassVar[bool] = False
    """True for a backend of steps around a network (models of task `step`) instead of networks."""
    portable_artifact: ClassVar[bool] = False
    """True for an artifact independent of the runtime's release, such as an ONNX file.

    Such an artifact is created once, in this environment, and shared by all environments.
    """
    shares_artifact: ClassVar[bool] = False
    """True for a `prepare` that writes the artifact of an inherited `artifact_key` all the same."""

    def supports(self, cell: Cell) -> str:
        """An empty string, or the reason this cell cannot run. Pure: imports nothing."""
        if (cell.model.task == STEP) != self.steps:
            runs, other = (
                ("steps around networks", "a network")
                if self.steps
                else ("networks", "a step around one")
            )
            return f"{self.name} runs {runs}, but {cell.model.name} is {other}"
        if cell.stored_precisions and cell.precision != "fp32":
            if cell.precision not in self.file_precisions:
                names = ", ".join(self.file_precisions) or "none but fp32"
                return f"{self.name} runs files stored in {names}, not in {cell.precision}"
        elif cell.model.own_precision not in ("fp32", cell.precision):
            return (
                f"the file is stored in {cell.model.own_precision}, and no library converts it to "
                f"{cell.precision}; leave --precision out, or export the model at fp32"
            )
        elif cell.precision not in self.precisions:
            return f"{self.name} runs {', '.join(self.precisions)}, not {cell.precision}"
        if cell.precision == CALIBRATED and not cell.model.is_calibrated:
            return (
                f"{CALIBRATED} takes its ranges from calibration data, and model "
                f"{cell.model.name} declares none; give --calibration (photographs, an .npz file "
                "or a folder of images), or calibration= or calibration_from= in a declaration"
            )
        judged = {image.sha256 for image in cell.model.images}
        shared = [image.name for image in cell.model.calibration if image.sha256 in judged]
        if cell.precision == CALIBRATED and shared:
            return (
                f"{', '.join(shared)} appears in calibration= and images= of {cell.model.name}, "
                "and ranges of judged inputs flatter int8; calibrate on other photographs"
            )
        kind, _, number = cell.device.partition(":")
        if cell.device not in self.devices and not (
            kind in self.devices and kind != "cpu" and number.isdigit()
        ):
            return f"{self.name} runs on {', '.join(self.devices)}, not {cell.device}"
        unsized = [spec.name for spec in cell.model.outputs if spec.is_open]
        if unsized and not self.open_outputs:
            return (
                f"{self.name} needs fixed output sizes, but the number of {unsized[0]} of "
                f"{cell.model.name} depends on the data"
            )
        unknown = sorted(set(cell.option) - set(self.options))
        if unknown:
            return (
                f"{self.name} has no option {', '.join(unknown)}; expected "
                f"{', '.join(sorted(self.options)) or 'none'}"
            )
        return ""

    def missing(self) -> tuple[str, ...]:
        """The absent packages of `requires`. Imports nothing."""
        return tuple(name for name in self.requires if importlib.util.find_spec(name) is None)

    def lacks(self, cell: Cell) -> str:
        """This machine's missing requirement for the cell, with its remedy, or an empty string.

        For example a compiler or a provider. Cells with a missing requirement are `unavailable`.
        Imports no runtime. The harness has already checked for the cell's device.
        """
        return ""

    def builds_ahead(self, cell: Cell) -> bool:
        """True if `prepare` needs no device.

        `prepare` then runs on a machine without the cell's device, where `load` raises Unavailable,
        and the record describes the built artifact.
        """
        return False

    def variables(self, cell: Cell) -> Mapping[str, str]:
        """Environment variables of the runtime's process, beyond the number of threads."""
        return {}

    def artifact_key(self, cell: Cell) -> Mapping[str, Any]:
        """Facts behind the artifact besides weights, tensor shapes and precision: flags, versions.

        Backends with equal keys share an artifact. The default is the backend's name and options.
        """
        return {"backend": cell.backend, "options": cell.option}

    @property
    def maker(self) -> str:
        """The class that prepares, if an inherited `artifact_key` cannot know the class; or empty.

        Part of the artifact's key, so that a derived backend writes no artifact of its base.
        """
        prepares, keys = (
            next(kind for kind in type(self).__mro__ if name in vars(kind))
            for name in ("prepare", "artifact_key")
        )
        is_known = prepares is keys or keys is Backend or not issubclass(prepares, keys)
        if is_known or self.shares_artifact:
            return ""
        return f"{prepares.__module__}:{prepares.__qualname__}"

    def deployment(self, cell: Cell) -> Deployment:
        """The program for the cell's artifact outside the harness. Raises Unsupported for none."""
        raise Unsupported(
            f"{self.name} has no program to package yet; "
            "docs/how-to/ship.md names the runtimes with a program"
        )

    def binaries(self) -> Sequence[Path]:
        """The program of cells outside Python, then files opened by name; empty in Python.

        Linked libraries are found from the files. Raises Unavailable if the program cannot be
        built.
        """
        return ()

    def expose(
        self, folder: Path, cell: Cell, into: Path, only: Collection[str] | None, inputs: Arrays
    ) -> Exposed:
        """Write the artifact in `folder` into `into`, with fetchable tensors: `only`, or all.

        `inputs` is a batch, for networks with tensors known only at run time. Raises Unsupported,
        with the reason, for networks without visible tensors.
        """
        raise Unsupported(f"{self.name} does not expose intermediate tensors")

    def watch(self, folder: Path, cell: Cell, names: Sequence[str]) -> Session:
        """A session on an exposed artifact, with the tensors `names` in `fetch`. Never timed."""
        raise Unsupported(f"{self.name} does not expose intermediate tensors")

    def profile(self, folder: Path, cell: Cell, inputs: Arrays, now: Now) -> OperatorProfile:
        """One inference of the artifact in `folder` by operators, from the runtime's profiler.

        Called in a process of its own, never in a measured process. `inputs` is a batch; the
        fastest of `PROFILED` inferences by the clock `now` counts, after `PROFILED_AFTER` others.
        Raises Unsupported for runtimes without a profiler.
        """
        raise Unsupported(f"{self.name} has no profile per operator")

    @abstractmethod
    def prepare(self, source: Source, cell: Cell, folder: Path) -> Mapping[str, Any]:
        """Export, convert or compile into `folder`; return facts for the record. Slow; cached."""

    @abstractmethod
    def load(self, folder: Path, cell: Cell) -> Session:
        """Load the artifact in `folder`. Must read no other input of prepare, and write nothing."""


class Tunable(Backend):
    """A backend with a search for faster artifacts: trials are recorded, and `prepare` uses them.

    Recorded trials must be part of `artifact_key`, so more trials lead to a new artifact.
    """

    @abstractmethod
    def tune(self, source: Source, cell: Cell, per_task: int) -> Mapping[str, Any]:
        """Add trials up to a mean of `per_task` per task, each saved when done. Returns facts."""

    @abstractmethod
    def trials(self, cell: Cell) -> tuple[int, int]:
        """The cell's recorded trials, and the goal of the last `tune` (0 if unknown).

        Imports nothing.
        """
