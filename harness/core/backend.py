"""The seam between the harness and a runtime: two small classes that a backend fills in.

Timing, warm-up, rotation of inputs, parity and isolation are not here: the harness derives them
from these verbs, so that every runtime is measured by the same rule.
"""

from __future__ import annotations

import importlib.util
from abc import ABC, abstractmethod
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from harness.core.errors import Unsupported
from harness.core.intermediate_tensors import Exposed
from harness.core.session import Session
from harness.core.types import Cell, Model

if TYPE_CHECKING:
    from harness.core.session import Arrays


STEP = "step"
"""The task of a model that is no network: something that is done before one or after it, and timed
as a case of its own.
"""


@dataclass(frozen=True)
class Source:
    """What prepare starts from: the declared model, the folder of its materialised weights, and its
    input batches.

    `batches` holds one .npy per declared input, of shape [batches, batch, ...]; `weights_sha256` is
    the digest of the weights' values. `calibration` holds one .npy per declared input as well,
    [batches, batch, ...], of other samples than those that are judged; it is empty where the cell's
    precision needs none. `calibration_sha256` is the digest of its bytes.
    """

    model: Model
    weights_folder: Path
    weights_sha256: str
    batches: Mapping[str, Path]
    calibration: Mapping[str, Path] = field(default_factory=dict)
    calibration_sha256: str = ""


@dataclass(frozen=True)
class Deployment:
    """What a program needs to run a prepared artifact without the harness: `evenbench ship` writes
    it down, and proves it.

    `network` is the late name of a class that is copied into the program: it takes the artifact's
    folder, `settings` (plain JSON) and a number of threads; called with arrays by name, it returns
    the outputs in declared order.
    """

    distributions: tuple[str, ...]
    """What must be installed beside numpy, without what those distributions ask for themselves."""
    network: str
    settings: Mapping[str, Any] = field(default_factory=dict)
    sources: Mapping[str, str] = field(default_factory=dict)
    """C++ with its CMakeLists.txt, by file name: compiled where the program is installed, into what
    `network` calls, and into a program `program`, which is called with the folders of inputs, of
    outputs and of the model."""
    tools: tuple[str, ...] = ()
    """The distributions that compile them, beside a compiler: cmake, and what it drives."""


class Backend(ABC):
    """One runtime. Importing its module imports no runtime; `prepare` and `load` do, each in a
    process of its own.
    """

    name: ClassVar[str]
    requires: ClassVar[tuple[str, ...]] = ()
    """Import names of the packages without which cells are `unavailable`."""
    precisions: ClassVar[tuple[str, ...]] = ("fp32",)
    devices: ClassVar[tuple[str, ...]] = ("cpu",)
    options: ClassVar[Mapping[str, str]] = {}
    """Option names that a case may set, each with a sentence that says what it does."""
    distributions: ClassVar[tuple[str, ...]] = ()
    """Distributions whose installed versions go into every record."""
    environments: ClassVar[Mapping[str, tuple[str, ...]]] = {}
    """Requirements of environments of its own by name: `name@openvino` lives in the one called
    `openvino`. The one called `""` is what `name@1.2` means, its first entry pinned to that
    version; without it that is the first of `distributions`."""
    uses_weights: ClassVar[bool] = True
    """False for a control that never looks at the model."""
    open_outputs: ClassVar[bool] = False
    """True where outputs may have sizes that only the answer tells, such as how many objects were
    found.
    """
    steps: ClassVar[bool] = False
    """True where it runs steps around a network (models of task `step`), and no networks."""
    portable_artifact: ClassVar[bool] = False
    """True where the artifact does not depend on this runtime's release, such as an ONNX file: it
    is then made once, in this environment, and every environment reads the same one."""

    def supports(self, cell: Cell) -> str:
        """An empty string, or why this cell cannot run, in words. Pure: nothing is imported."""
        if (cell.model.task == STEP) != self.steps:
            runs, other = (
                ("steps around networks", "a network")
                if self.steps
                else ("networks", "a step around one")
            )
            return f"{self.name} runs {runs}, and {cell.model.name} is {other}"
        if cell.precision not in self.precisions:
            return f"{self.name} runs {', '.join(self.precisions)}, not {cell.precision}"
        kind, _, number = cell.device.partition(":")
        if cell.device not in self.devices and not (
            kind in self.devices and kind != "cpu" and number.isdigit()
        ):
            return f"{self.name} runs on {', '.join(self.devices)}, not {cell.device}"
        unsized = [spec.name for spec in cell.model.outputs if spec.is_open]
        if unsized and not self.open_outputs:
            return f"{self.name} needs to know ahead how large outputs are, and {cell.model.name} has as many {unsized[0]} as it finds"
        unknown = sorted(set(cell.option) - set(self.options))
        if unknown:
            return f"{self.name} has no option {', '.join(unknown)}; it has {', '.join(sorted(self.options)) or 'none'}"
        return ""

    def missing(self) -> tuple[str, ...]:
        """The packages of `requires` that are not installed. Looks, but imports nothing."""
        return tuple(name for name in self.requires if importlib.util.find_spec(name) is None)

    def lacks(self, cell: Cell) -> str:
        """In words, what this machine lacks for this cell and how to get it (a compiler, a
        provider), or an empty string.

        Such a cell is `unavailable`. Imports no runtime. Whether the cell's device is here is asked
        before, by the harness.
        """
        return ""

    def builds_ahead(self, cell: Cell) -> bool:
        """True where `prepare` needs no device: it then runs for real on a machine that lacks the
        cell's device, and `load` raises Unavailable there, so that the record holds what was built.
        """
        return False

    def variables(self, cell: Cell) -> Mapping[str, str]:
        """Environment variables that must be set before the runtime's process starts, beyond the
        number of threads.
        """
        return {}

    def artifact_key(self, cell: Cell) -> Mapping[str, Any]:
        """What decides the artifact's bytes besides the weights, the tensor shapes and the
        precision: flags, versions.

        Two backends that return equal keys share one artifact. The default is the backend's name
        and options.
        """
        return {"backend": cell.backend, "options": cell.option}

    def deployment(self, cell: Cell) -> Deployment:
        """What runs the cell's artifact outside of the harness. Raises Unsupported, in words, where
        no program has been written for it.
        """
        raise Unsupported(
            f"{self.name} has no program to ship yet; `evenbench ship --help` names the runtimes that have"
        )

    def binaries(self) -> Sequence[Path]:
        """The program that runs cells outside of Python, first, and what it opens by name; empty
        for a backend that is none.

        What these are linked against is found by reading them. Raises Unavailable where the program
        cannot be built here.
        """
        return ()

    def expose(
        self, folder: Path, cell: Cell, into: Path, only: Collection[str] | None, inputs: Arrays
    ) -> Exposed:
        """Write the artifact in `folder` into `into` so that `watch` can fetch tensors within it:
        those in `only`, or all.

        `inputs` are one batch, for a network that has to run to tell its tensors. Raises
        Unsupported, in words, where nothing within can be seen.
        """
        raise Unsupported(f"{self.name} does not tell what it computes on the way")

    def watch(self, folder: Path, cell: Cell, names: Sequence[str]) -> Session:
        """A session on what `expose` wrote, whose `fetch` has the tensors `names` beside the
        model's outputs. It is not timed.
        """
        raise Unsupported(f"{self.name} does not tell what it computes on the way")

    @abstractmethod
    def prepare(self, source: Source, cell: Cell, folder: Path) -> Mapping[str, Any]:
        """Export, convert or compile into `folder` and return facts about it for the record. Slow;
        cached by content.
        """

    @abstractmethod
    def load(self, folder: Path, cell: Cell) -> Session:
        """Load what prepare left in `folder`. Must read nothing else that prepare had, and write
        nothing into it.
        """


class Tunable(Backend):
    """A backend whose artifacts get faster by trials, which are kept between runs and applied by
    `prepare`.

    What is recorded must be part of `artifact_key`, so that an artifact is made anew when there are
    more trials.
    """

    @abstractmethod
    def tune(self, source: Source, cell: Cell, per_task: int) -> Mapping[str, Any]:
        """Add trials until there are `per_task` for each task on average; each is on disk when it
        is done. Returns facts about them.
        """

    @abstractmethod
    def trials(self, cell: Cell) -> tuple[int, int]:
        """How many trials are recorded for the cell, and how many the last `tune` wanted (0: not
        known). Reads files, imports nothing.
        """
