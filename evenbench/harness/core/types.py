"""The values of evenbench: frozen, comparable, and free of side effects.

Stdlib only, so declaring and listing benchmarks imports neither numpy nor a runtime. Values do not
print, save or plot themselves; `results` writes values and `reports` shows values.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Literal

from evenbench.harness.core import (
    data_dependent_shapes,
    dynamic_axes,
    import_strings,
    serialization,
    stream_state,
)
from evenbench.harness.core.errors import UsageError, naming_fields
from evenbench.harness.core.tensor_specs import TensorSpec
from evenbench.harness.core.weights import Weights, own

to_json, digest = serialization.to_json, serialization.digest
ANY, SCORE_THRESHOLD = data_dependent_shapes.ANY, data_dependent_shapes.SCORE_THRESHOLD

PRECISIONS = ("fp32", "tf32", "fp16", "bf16", "int8-dynamic", "int8-static")
"""Every precision for cases. Each backend declares its supported subset."""

FILE_PRECISIONS = ("fp64", "int8")
"""Further precisions of model files; no conversion makes them."""

CALIBRATED = "int8-static"
"""The precision with ranges from calibration data."""

PHASES = ("prepare", "load", "compile", "first_step", "warm_up", "sample", "parity")
"""All phases. Every duration and every failure names a phase."""

COMPUTE = "compute"
HOST_TO_HOST = "host_to_host"
BOUNDARIES = (COMPUTE, HOST_TO_HOST)
"""The content of a lap: step + sync with bound inputs, or bind + step + sync + fetch."""

INNER_BOUNDARIES = ("device", "native")
"""The laps of `compute` by a second, inner clock: device events, or native code under Python."""

Late = Any
"""A module-level callable, or its late name. A `Model` keeps the name."""

OUTCOMES = ("ok", "mismatch", "fallback", "unsupported", "unavailable", "failed")
Outcome = Literal["ok", "mismatch", "fallback", "unsupported", "unavailable", "failed"]

UNWANTED = ("mismatch", "fallback", "failed")
"""Outcomes with exit code 1 in `evenbench run`."""


@dataclass(frozen=True)
class Photograph:
    """An image file in an installed package, located without an import and checked by sha256."""

    name: str
    package: str
    path: str
    sha256: str


@dataclass(frozen=True)
class Recipe:
    """A named preprocessing: ordered steps from `harness.preprocess`, run once for all backends."""

    name: str
    steps: tuple[Any, ...]


@naming_fields
@dataclass(frozen=True)
class Model:
    """A model: a late `build` or a file, with tensors, preprocessing and weights.

    `build` is a callable without arguments, or its name as `package.module:function` or
    `file.py:function`, imported only in the process of use. The recipe turns `images` into inputs;
    `inputs_from` replaces both, and returns an array of shape [count, ...] per declared input, by
    name. `evaluation` returns `(inputs, labels)` of a held-out split. `labels` are class names,
    stored with the artifact. int8-static takes its ranges from the photographs in `calibration`, by
    the same recipe, all different from `images`, or from `calibration_from`, called like
    `inputs_from`. `tolerance` overrides the elementwise tolerance of a precision: `{"fp32": (rtol,
    atol)}` with atol in units of the reference's largest magnitude. `task` is the meaning of the
    outputs, and selects the task metrics: `classification`, `segmentation`, `text`, or `detection`,
    with open sizes allowed in outputs; objects with scores below `score_threshold` are not judged.
    `sizes` are declarations of the same network at other sizes, such as longer and shorter
    sequences for a loaded network, with separate inputs (`harness.core.dynamic_axes`). `stored`
    names the precisions in a file, if others than fp32 alone, its own first: `int8`, `fp16,fp32`.
    `state` maps an input to the output with the value for the next step: `{"h_in": "h_out"}`.
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
    stored: str = ""
    state: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not self.name or any(character.isspace() for character in self.name):
            raise UsageError(
                f"model name {self.name!r} is empty or has white space; give a name such as "
                "'resnet18'"
            )
        if bool(self.build) == bool(self.file):
            raise UsageError(
                f"model {self.name}: give exactly one of build= and file=, not {self.build!r} "
                f"and {self.file!r}"
            )
        for key in ("build", "inputs_from", "evaluation", "calibration_from"):
            object.__setattr__(self, key, import_strings.name_of(getattr(self, key)))
        unsized = (
            [spec.name for spec in specs if spec.is_open] for specs in (self.inputs, self.outputs)
        )
        problem = data_dependent_shapes.problem(
            self.task, self.score_threshold, *unsized
        ) or dynamic_axes.problem(self)
        problem = problem or stream_state.problem(self.state, self.inputs, self.outputs)
        if problem:
            raise UsageError(f"model {self.name}: {problem}")

    def __hash__(self) -> int:
        return hash(self.fingerprint)

    @property
    def is_calibrated(self) -> bool:
        """Whether the model has calibration data for int8-static."""
        return bool(self.calibration or self.calibration_from)

    @property
    def own_precision(self) -> str:
        """The precision of an unconverted file; fp32 for all other models."""
        return self.stored.partition(",")[0] or "fp32"

    @cached_property
    def fingerprint(self) -> str:
        """sha256 of all declarations with an effect on results, without folders (portable)."""
        declared = to_json(self)
        del declared["labels"]  # class names do not change results
        del declared["sizes"]
        if self.sizes:
            declared["sizes"] = [size.fingerprint for size in self.sizes]
        if self.score_threshold == SCORE_THRESHOLD:
            del declared["score_threshold"]  # keeps the keys from before thresholds
        for key in ("build", "inputs_from", "evaluation", "calibration_from"):
            declared[key] = import_strings.portable(declared[key])
        for late_field in ("stored", "state"):  # keeps the keys from before these fields
            if not declared[late_field]:
                del declared[late_field]
        if not self.weights.offsets:
            del declared["weights"]["offsets"]  # keeps the keys from before offsets
        declared["weights"]["train"] = import_strings.portable(self.weights.train)
        declared["file"] = import_strings.portable(self.file)
        return digest(declared)


@dataclass(frozen=True)
class Cell:
    """A combination of the matrix: everything with an effect on results, and nothing else."""

    model: Model
    backend: str
    precision: str = "fp32"
    device: str = "cpu"
    batch: int = 1
    threads: int = 1
    options: tuple[tuple[str, Any], ...] = ()
    default_threads: bool = field(default=True, compare=False)
    side: str = ""
    """The commit with the code of the cell, as `main:1a2b3c4d`; empty for the working folder."""

    @cached_property
    def id(self) -> str:
        """The readable name: `resnet18-ort-fp32-cpu-b1`, plus threads, shape and options if set.

        A cell of another commit ends in `-at=main:1a2b3c4d`.
        """
        parts = [self.model.name, self.backend, self.precision, self.device, f"b{self.batch}"]
        if not self.default_threads:
            parts.append(f"t{self.threads}")
        if self.shape:
            parts.append(self.shape)
        parts.extend(f"{key}={value}" for key, value in self.options)
        if self.side:
            parts.append(f"at={self.side}")
        return "-".join(parts)

    @cached_property
    def shape(self) -> str:
        """The input shapes of the command line, such as `1x3x64x64` or `1x16+1x4`; empty otherwise.

        Equal shapes of all inputs appear once. Shapes of a recipe are the recipe's.
        """
        arguments = self.model.arguments
        is_named = "=" not in arguments.get("recipe", "=")  # a named recipe has a size of its own
        text = "" if is_named else arguments.get("shape", "")
        return "+".join(dict.fromkeys(text.split(",")))

    @cached_property
    def group(self) -> str:
        """The comparison group: all parts except the backend and its options, with any shape.

        Throughput with several requests in flight is no latency, so throughput cells form a
        separate group.
        """
        apart = f"-{self.shape}" if self.shape else ""
        apart += "-throughput" if self.is_throughput else ""
        return (
            f"{self.model.name}-{self.precision}-{self.device}-b{self.batch}-t{self.threads}{apart}"
        )

    @cached_property
    def key(self) -> str:
        """The name for files: 16 hex digits over the identity, with the model's declaration."""
        identity = [
            self.model.fingerprint,
            self.backend,
            self.precision,
            self.device,
            self.batch,
            self.threads,
            self.options,
            *([self.side] if self.side else []),
        ]
        return digest(identity)[:16]

    @property
    def option(self) -> dict[str, Any]:
        """The options as a dict."""
        return dict(self.options)

    @property
    def stored_precisions(self) -> frozenset[str]:
        """The precisions in an unconverted file; empty for fp32 files and other cells."""
        is_own = self.model.stored and self.precision == self.model.own_precision
        return frozenset(self.model.stored.split(",")) if is_own else frozenset()

    @property
    def is_throughput(self) -> bool:
        """Whether several requests in flight are asked for."""
        return bool(self.option.get("hint") == "throughput")

    @property
    def backend_name(self) -> str:
        """The registered name: `ort` of `ort@1.24.1`."""
        return self.backend.partition("@")[0]

    @property
    def backend_label(self) -> str:
        """The backend with the side, for progress: `ort`, or `ort at main:1a2b3c4d`."""
        return f"{self.backend} at {self.side}" if self.side else self.backend

    @property
    def interpreter_name(self) -> str:
        """The backend's environment: `1.24.1` of `ort@1.24.1`, empty for this environment."""
        return self.backend.partition("@")[2]

    def described(self) -> dict[str, Any]:
        """The identity as a JSON object, part of every result."""
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
            "input_shapes": {spec.name: list(spec.shape) for spec in self.model.inputs},
            **({"side": self.side} if self.side else {}),
        }
