"""The values that walk through evenbench: frozen, comparable, and free of effects.

Everything here is stdlib only, so that declaring and listing benchmarks never imports numpy or a
runtime. Values do not print, save or plot themselves; `results` writes them and `reports` shows
them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Literal

from harness.core import data_dependent_shapes, dynamic_axes, import_strings, serialization
from harness.core.errors import UsageError
from harness.core.weights import Weights, own

to_json, digest = serialization.to_json, serialization.digest
ANY, SCORE_THRESHOLD = data_dependent_shapes.ANY, data_dependent_shapes.SCORE_THRESHOLD

BATCH = "batch"
"""The symbolic first dimension of a `TensorSpec`, replaced by the cell's batch size."""

PRECISIONS = ("fp32", "tf32", "fp16", "bf16", "int8-dynamic", "int8-static")
"""Every precision that a case may name. Which of them a backend can run is the backend's to say."""

PHASES = ("prepare", "load", "compile", "first_step", "warm_up", "sample", "parity")
"""The one list of phases: every duration and every failure names one of these."""

COMPUTE = "compute"
HOST_TO_HOST = "host_to_host"
BOUNDARIES = (COMPUTE, HOST_TO_HOST)
"""What a lap contains. `compute`: step + sync, inputs already bound. `host_to_host`: bind + step +
sync + fetch.
"""

INNER_BOUNDARIES = ("device", "native")
"""The same laps as `compute`, as a second clock saw them from within: the device's events, or
native code under Python.
"""

Late = Any
"""A callable at the top level of a module, or its late name; a `Model` keeps the name."""

OUTCOMES = ("ok", "mismatch", "fallback", "unsupported", "unavailable", "failed")
Outcome = Literal["ok", "mismatch", "fallback", "unsupported", "unavailable", "failed"]

UNWANTED = ("mismatch", "fallback", "failed")
"""The outcomes that make `evenbench run` exit with 1."""


@dataclass(frozen=True)
class TensorSpec:
    """Name, shape and dtype of one tensor. `shape` holds ints and at most one `BATCH`, as its first
    entry.

    Of a detector's output that entry may be `ANY` instead.
    """

    name: str
    shape: tuple[int | str, ...]
    dtype: str = "float32"

    def __post_init__(self) -> None:
        for size, why in (
            (BATCH, ", or stands twice; batches are made"),
            (ANY, "; objects are listed"),
        ):
            if size in self.shape[1:]:
                raise UsageError(
                    f"tensor {self.name} has shape {list(self.shape)}, in which {size!r} is not the first size{why} "
                    "along the first axis: move it there, or give a number"
                )

    @property
    def is_open(self) -> bool:
        """Whether only the answer tells how large it is."""
        return self.shape[:1] == (ANY,)

    @property
    def is_batched(self) -> bool:
        """Whether its first dimension is the batch."""
        return self.shape[:1] == (BATCH,)

    def concrete(self, batch: int) -> tuple[int, ...]:
        """The shape in elements with the batch filled in. What only the answer tells counts as 0,
        the least that it can be.
        """
        return tuple(
            batch if size == BATCH else 0 if size == ANY else int(size) for size in self.shape
        )


@dataclass(frozen=True)
class Photograph:
    """An image file inside an installed package, found without importing the package, checked by
    sha256.
    """

    name: str
    package: str
    path: str
    sha256: str


@dataclass(frozen=True)
class Recipe:
    """A named preprocessing: an ordered tuple of steps from `harness.preprocess`, applied once for
    all backends.
    """

    name: str
    steps: tuple[Any, ...]


@dataclass(frozen=True)
class Model:
    """What is measured: a late `build` (or a file), its tensors, its preprocessing, its weights.

    `build` is a callable without arguments, or its name as `package.module:function` or
    `file.py:function`; it is imported only in the process that needs it. `images` are the
    photographs that the recipe turns into inputs; where `inputs_from` is given it is called instead
    and returns one array of shape [count, ...] per declared input, by name. `evaluation` returns
    `(inputs, labels)` of a held-out split. `labels` are the names of the classes, which travel with
    the artifact. `calibration` are the photographs from which int8-static takes its ranges, through
    the same recipe and none of them among `images`; `calibration_from` is called instead, as
    `inputs_from` is. `tolerance` overrides the elementwise tolerance of a precision: `{"fp32":
    (rtol, atol)}` with atol in units of the reference's largest magnitude. `task` says what the
    outputs mean, and so what is said of them beside the numbers: `classification`, `segmentation`,
    `text`, or `detection`, whose outputs may have open sizes; objects that score below
    `score_threshold` are not judged. `sizes` are declarations of the same network at other sizes,
    such as the longer and shorter sequences that one loaded network is to take in turn: each with
    the inputs of its size (`harness.core.dynamic_axes`).
    """

    name: str
    build: Late = ""
    inputs: tuple[TensorSpec, ...] = ()
    outputs: tuple[TensorSpec, ...] = ()
    recipe: Recipe | None = None
    weights: Weights = field(default_factory=own)
    task: str = "classification"
    images: tuple[Photograph, ...] = ()
    inputs_from: Late = ""
    evaluation: Late = ""
    calibration: tuple[Photograph, ...] = ()
    calibration_from: Late = ""
    tolerance: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    file: str = ""
    labels: tuple[str, ...] = ()
    arguments: Mapping[str, str] = field(default_factory=dict)
    score_threshold: float = SCORE_THRESHOLD
    sizes: tuple[Model, ...] = ()

    def __post_init__(self) -> None:
        if not self.name or any(character.isspace() for character in self.name):
            raise UsageError(
                f"model name {self.name!r} is empty or has white space; give a name such as 'resnet18'"
            )
        if bool(self.build) == bool(self.file):
            raise UsageError(
                f"model {self.name}: give exactly one of build= and file=, not {self.build!r} and {self.file!r}"
            )
        for key in ("build", "inputs_from", "evaluation", "calibration_from"):
            object.__setattr__(self, key, import_strings.name_of(getattr(self, key)))
        unsized = (
            [spec.name for spec in specs if spec.is_open] for specs in (self.inputs, self.outputs)
        )
        problem = data_dependent_shapes.problem(
            self.task, self.score_threshold, *unsized
        ) or dynamic_axes.problem(self)
        if problem:
            raise UsageError(f"model {self.name}: {problem}")

    def __hash__(self) -> int:
        return hash(self.fingerprint)

    @cached_property
    def fingerprint(self) -> str:
        """sha256 of everything declared that may change a number; folders are left out, so it is
        the same everywhere.
        """
        declared = to_json(self)
        del declared["labels"]  # the names of classes change no number
        del declared["sizes"]
        if self.sizes:
            declared["sizes"] = [each.fingerprint for each in self.sizes]
        if self.score_threshold == SCORE_THRESHOLD:
            del declared["score_threshold"]  # as before there was one
        for key in ("build", "inputs_from", "evaluation", "calibration_from"):
            declared[key] = import_strings.portable(declared[key])
        declared["weights"]["train"] = import_strings.portable(self.weights.train)
        declared["file"] = import_strings.portable(self.file)
        return digest(declared)


@dataclass(frozen=True)
class Cell:
    """One square of the matrix: everything that may change a number, and nothing else."""

    model: Model
    backend: str
    precision: str = "fp32"
    device: str = "cpu"
    batch: int = 1
    threads: int = 1
    options: tuple[tuple[str, Any], ...] = ()
    default_threads: bool = field(default=True, compare=False)

    @cached_property
    def id(self) -> str:
        """For people: `resnet18-ort-fp32-cpu-b1`, with `-t2` and `-option=value` where they are not
        the default.
        """
        parts = [self.model.name, self.backend, self.precision, self.device, f"b{self.batch}"]
        if not self.default_threads:
            parts.append(f"t{self.threads}")
        parts.extend(f"{key}={value}" for key, value in self.options)
        return "-".join(parts)

    @cached_property
    def group(self) -> str:
        """What cells share when they may be compared: all but the backend and its options.

        Throughput, with several requests in flight, is no latency: such cells are a group of their
        own.
        """
        apart = "-throughput" if self.option.get("hint") == "throughput" else ""
        return (
            f"{self.model.name}-{self.precision}-{self.device}-b{self.batch}-t{self.threads}{apart}"
        )

    @cached_property
    def key(self) -> str:
        """For files: 16 hex digits over the whole identity, the model's declaration included."""
        identity = [
            self.model.fingerprint,
            self.backend,
            self.precision,
            self.device,
            self.batch,
            self.threads,
            self.options,
        ]
        return digest(identity)[:16]

    @property
    def option(self) -> dict[str, Any]:
        """The options as a dict."""
        return dict(self.options)

    @property
    def backend_name(self) -> str:
        """The registered name: `ort` of `ort@1.24.1`."""
        return self.backend.partition("@")[0]

    @property
    def interpreter_name(self) -> str:
        """The environment the backend lives in: `1.24.1` of `ort@1.24.1`, or nothing for this one."""
        return self.backend.partition("@")[2]

    def described(self) -> dict[str, Any]:
        """The identity as a JSON object, as it stands in every result."""
        names = (
            "id",
            "key",
            "group",
            "model",
            "backend",
            "precision",
            "device",
            "batch",
            "threads",
        )
        return {
            **{name: getattr(self, name) for name in names},
            "model": self.model.name,
            "options": self.option,
        }
