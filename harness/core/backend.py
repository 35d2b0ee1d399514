"""The seam between the harness and a runtime: two small classes that a backend fills in.

Timing, warm-up, rotation of inputs, parity and isolation are not here: the harness derives them
from these verbs, so that every runtime is measured by the same rule.
"""

from __future__ import annotations

import importlib.util
from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from harness.core.errors import Unsupported
from harness.core.measurements import Attestation
from harness.core.types import Cell, Model, TensorSpec

if TYPE_CHECKING:
    import numpy as np

    Arrays = Mapping[str, np.ndarray[Any, Any]]


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
class Laps:
    """What a session that times itself returns: laps in integer nanoseconds, and the outputs kept,
    by lap number.
    """

    laps_ns: list[int]
    kept: Mapping[int, Arrays] = field(default_factory=dict)
    inner_ns: list[int] = field(default_factory=list)
    """The same laps by the session's inner clock, where it has one."""


@dataclass(frozen=True)
class Usage:
    """What a process has used since it started: CPU time in ns, involuntary context switches, page
    faults, peak resident bytes; and its number, or 0 where that is not known."""

    peak_rss_bytes: int
    cpu_ns: int
    preemptions: int
    minor_faults: int
    major_faults: int
    process_id: int = 0


class ProgramEnded(RuntimeError):
    """A program of the session's own ended before it answered. `signal` is the name of what ended
    it, or empty where it exited.
    """

    def __init__(self, words: str, signal: str = "") -> None:
        super().__init__(words)
        self.signal = signal


class Session(ABC):
    """A loaded network in this process: bind once, step many times, fetch when someone looks."""

    clock: str = "time.perf_counter_ns"
    """Whose clock times the laps. A session that overrides `laps` names its own here."""
    inner: str = ""
    """The boundary of a second clock that sees each step from within: `device` (events on the
    device) or `native` (inside compiled code that Python calls). Such a session names `inner_clock`
    and overrides `inner_ns`."""
    inner_clock: str = ""
    in_flight: int = 1
    """How many inferences run at once. Where it is more than one, the session overrides `submit`
    and `collected`, and a lap is the mean interval between completions: throughput, which no caller
    waits for."""
    compile_seconds: float = 0.0
    """How long compiling took within `load`, where a runtime compiles in the process that runs;
    booked as a phase of its own.
    """

    @abstractmethod
    def bind(self, inputs: Arrays) -> None:
        """Hand host arrays (C order, read-only, one per declared input, by name) to the runtime."""

    @abstractmethod
    def step(self) -> None:
        """One inference on what is bound. May return before the device is done."""

    def sync(self) -> None:
        """Wait until every step so far is done. Runtimes whose step blocks leave it alone."""

    @abstractmethod
    def fetch(self) -> Arrays:
        """The outputs of the last step, by declared name, as host arrays that nothing will write to
        again.
        """

    @abstractmethod
    def attest(self) -> Attestation:
        """What is really in use, read back from the runtime, never repeated from what was asked."""

    def inner_ns(self) -> int:
        """How long the last step took by `inner_clock`, in nanoseconds. Asked after `sync`, outside
        the harness's clock.
        """
        raise NotImplementedError(
            f"{type(self).__name__} sets inner={self.inner!r} and so must override inner_ns"
        )

    def submit(self, inputs: Arrays, lap: int, keep: bool, copy: bool) -> None:
        """Start one inference as soon as one of the `in_flight` is free; blocks until then. `sync`
        waits for all of them.

        `copy` hands host arrays in and out as a caller would have them; without it inputs may be
        read in place and outputs stay in the runtime, except those of a lap to `keep`.
        """
        raise NotImplementedError(
            f"{type(self).__name__} sets in_flight={self.in_flight} and so must override submit"
        )

    def collected(self) -> Mapping[int, Arrays]:
        """The outputs of the laps to keep since it was last asked, by lap number. Asked after
        `sync`.
        """
        raise NotImplementedError(
            f"{type(self).__name__} sets in_flight={self.in_flight} and so must override collected"
        )

    def laps(
        self, batches: Sequence[Arrays], count: int, boundary: str, keep: Sequence[int]
    ) -> Laps:
        """`count` laps over the rotating `batches`, timed by the session's own `clock`; `keep`
        names laps to fetch.

        Only where the loop cannot live in Python (a C++ runner); such a session sets `clock` as
        well. All others are timed by `harness.measurement.timing`, which never calls this.
        """
        raise NotImplementedError(
            f"{type(self).__name__} sets clock={self.clock!r} and so must override laps"
        )

    def beside(self) -> Session:
        """Another session on the same loaded network, which a second thread may call while a first
        one calls this: inputs and outputs are its own, weights and pools are shared. Closing it
        leaves this one as it is. Raises Unsupported, in words, where that cannot be.
        """
        raise Unsupported(
            f"{type(self).__name__} does not say that several threads may call one loaded network; a session that may overrides `beside`"
        )

    def builds(self) -> int | None:
        """How many times code was generated in this process so far, for a runtime that may compile
        anew while it runs; None elsewhere.
        """
        return None

    def usage(self) -> Usage | None:
        """Of the process that computes, where it is not this one; None where it is."""
        return None

    def close(self) -> None:
        """Release everything. Called at least once; calling it again does nothing."""


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


@dataclass(frozen=True)
class Within:
    """A tensor within a network: its name, the operator or module that makes it, and the names of
    the tensors that it is made of.

    `fetched` is the tensor that has its value, where that is another one: a quantised graph hands
    on what went through int8. `places` say where in the model's module it is made, the likeliest
    first: a module's name for what the module returns, and `name:function` for what a function of
    `module_places.LANDMARKS` makes within it; empty where that is not known. Tensors of an exported
    file and of the module itself are matched by them. `folded_into` is the tensor that this one's
    operator is merged into by most exporters, as a batch norm is into the convolution before it:
    the file then has one tensor for both.
    """

    name: str
    operator: str
    inputs: tuple[str, ...] = ()
    fetched: str = ""
    places: tuple[str, ...] = ()
    folded_into: str = ""


@dataclass(frozen=True)
class Exposed:
    """What `Backend.expose` wrote: its tensors in the order in which they are computed, and in
    words what their names mean.

    Tensors of two cells may be compared by name where `names` are equal, and by their places in one
    module otherwise. `unchanged` says that looking at some tensors changes nothing: what was
    written for all serves for any of them.
    """

    names: str
    tensors: tuple[Within, ...]
    unchanged: bool = False


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


class Golden(Backend):
    """A backend that others are judged against, and that knows how to make a model's weights real."""

    kind: ClassVar[str] = "reference"
    """What a verdict calls it, such as `float64 torch eager`."""
    samples: ClassVar[str] = ""
    """Late name of what makes the inputs of a user's own model from the example inputs that its
    `build` returned, as `inputs_from` does; empty where there is no such thing."""
    calibration: ClassVar[str] = ""
    """The same for the samples that int8-static is calibrated on."""
    yardstick: ClassVar[str] = ""
    """The backend whose own error at a precision measures what that precision costs; empty where
    there is none.
    """

    def kind_of(self, session: Session) -> str:
        """What a verdict of this session calls it, where that depends on the model; `kind`
        otherwise.
        """
        return self.kind

    def work(self, session: Session) -> Mapping[str, Any]:
        """How much one step of this golden's session, which is bound, computes and has to read;
        empty where that is not counted.

        `flops` as `rule` says (None where nothing could be counted, and `why_not`), `by_operator`,
        what is `uncounted`; `weights`, the elements that every step reads, and `weight_bytes` as
        they are stored, or None.
        """
        return {}

    @abstractmethod
    def weights_key(self, model: Model) -> Mapping[str, Any] | None:
        """What decides the weights, known without building the model; None where only building it
        can tell.
        """

    @abstractmethod
    def materialise(
        self, model: Model, batches: Mapping[str, Path], folder: Path
    ) -> Mapping[str, Any]:
        """Make the weights in `folder`; returns facts with at least `sha256` of their values and
        `note` in words.

        `code` in the facts maps the source files that the model was built from to their sha256
        (`harness.core.source_digests`), so that a change of code is a miss.
        """

    @abstractmethod
    def describe(self, model: Model) -> tuple[Sequence[TensorSpec], Sequence[TensorSpec]]:
        """The inputs and outputs of a user's own model that declares none."""


Now = Callable[[], int]
"""A clock: integer nanoseconds from an arbitrary start."""
