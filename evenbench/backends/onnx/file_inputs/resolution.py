"""A file's inputs and outputs with all sizes, valid values, and notes for the user."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from evenbench.backends.onnx import description
from evenbench.backends.onnx.file_inputs import declared as file_tensors
from evenbench.backends.onnx.file_inputs import (
    given_inputs,
    notes,
    output_shapes,
    size_guesses,
    value_outputs,
    values,
)
from evenbench.backends.onnx.file_inputs.consumers import Consumers
from evenbench.backends.onnx.file_inputs.declared import ELEMENTS, MAP, SEQUENCE, Declared
from evenbench.backends.onnx.file_inputs.sizes import Sizes
from evenbench.backends.onnx.file_inputs.trial import Trial
from evenbench.harness import BATCH, TensorSpec, UsageError
from evenbench.harness.inputs import batches, made_up_samples
from evenbench.harness.inputs.given_samples import Given
from evenbench.harness.inputs.input_requests import InputRequest

Shape = tuple[int | str, ...]


@dataclass(frozen=True)
class Resolution:
    """Specs of inputs and outputs, rules of made-up values, and sentences for the user.

    `batch` is the batch size of the request or data, if fixed by them.
    """

    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    rules: Mapping[str, Mapping[str, Any]]
    sequences: tuple[str, ...]
    batch: int | None
    notes: tuple[str, ...]


@dataclass
class Resolver:
    """Resolves a file. Guesses that a trial run refuses are replaced by other guesses."""

    file: Path
    request: InputRequest
    raw: Given | None = None
    """Samples of the request's files, as read."""

    def resolve(self) -> Resolution:
        """The resolution. Raises UsageError for facts that contradict the file."""
        self._check_names()
        self._check_outputs()
        first: Resolution | None = None
        refusals: list[str] = []
        for attempt in range(size_guesses.attempts()):
            sizes = self._sizes(attempt)
            resolution, refusal = self._attempt(sizes)
            first = first or resolution
            if not refusal:
                return resolution
            refusals.append(refusal)
            if not sizes.guesses:
                break
        assert first is not None
        note = f"a trial run refuses the made-up inputs: {refusals[0]}"
        remedy = "give sizes with --dim, values with --range, or real inputs with --inputs"
        return Resolution(
            *(first.inputs, first.outputs, first.rules, first.sequences, first.batch),
            notes=(*first.notes, f"{note}; {remedy}"),
        )

    @cached_property
    def model(self) -> Any:
        return description.read(self.file)

    @cached_property
    def inputs(self) -> list[Declared]:
        return file_tensors.inputs(self.model.graph)

    @cached_property
    def absent(self) -> tuple[str, ...]:
        """The optional inputs without a value."""
        return given_inputs.absent(self.inputs, self.raw, self.request.ranges)

    @property
    def present(self) -> list[Declared]:
        """The inputs that get a value."""
        return [item for item in self.inputs if item.name not in self.absent]

    @cached_property
    def outputs(self) -> list[Declared]:
        return file_tensors.outputs(self.model.graph)

    @cached_property
    def given(self) -> Given | None:
        """The given samples under the file's names and in its dtypes."""
        return given_inputs.fitted(self.present, self.raw) if self.raw else None

    @cached_property
    def trial(self) -> Trial:
        return Trial(self.file)

    def _check_names(self) -> None:
        maps = [declared.name for declared in self.inputs if declared.kind == MAP]
        if maps:
            raise UsageError(f"input {maps[0]} is a map; only tensors and sequences can be given")
        known = {declared.name for declared in self.inputs}
        for name in self.request.ranges:
            if name not in known:
                raise UsageError(
                    f"--range {name}: the model has no input of this name; expected "
                    f"{', '.join(sorted(known)) or 'none, because the model has no input'}"
                )

    def _check_outputs(self) -> None:
        names = [output.name for output in self.outputs]
        double = [name for name in names if names.count(name) > 1]
        if double:
            raise UsageError(f"the file lists output {double[0]} twice; export it again")

    def _sizes(self, attempt: int) -> Sizes:
        known = self.given.shapes if self.given else {}
        dims = {**self._photo_sizes(), **self.request.dims}
        return Sizes(self.present, dims, known, attempt, bool(self.request.batches))

    def _photo_sizes(self) -> dict[str, list[int]]:
        """The sizes of a photo for the free dimensions of the only input, by place."""
        photo = self.request.photo
        shape = self.inputs[0].shape if len(self.inputs) == 1 else None
        if shape is None or len(photo) != len(shape):
            return {}
        return {
            f"{self.inputs[0].name}.{axis}": [photo[axis]]
            for axis, size in enumerate(shape)
            if isinstance(size, str) and axis > 0
        }

    def _attempt(self, sizes: Sizes) -> tuple[Resolution, str]:
        """A resolution by these sizes, and the refusal of a trial run, if any."""
        batch = self._batch(sizes)
        at_batch = output_shapes.filled(sizes.resolved, batch)
        rules = {} if self.given else self._rules(at_batch)
        inputs, sequences = self._input_specs(sizes)
        known = output_shapes.Known(
            {name: size for name, (size, _) in sizes.guesses.items()} | sizes.named,
            sizes.batch_names,
            batch,
            len(self.request.batches) <= 1,
        )
        shapes = output_shapes.inferred(self.model, self.outputs, sizes.resolved, known)
        refusal, flat = "", self.outputs
        lists = [output.name for output in self.outputs if output.is_variable]
        doubtful = bool(self.inputs) and self._is_doubtful(sizes, rules, shapes)
        if (doubtful or lists) and not self.trial.refusal:
            flat, shapes, refusal = self._tried(inputs, rules, sequences, shapes, known)
        if lists and flat is self.outputs:
            raise UsageError(
                f"output {lists[0]} is a sequence, a map or optional; a run shows its tensors, but "
                f"ONNX Runtime refuses: {refusal or self.trial.refusal}; give inputs by --inputs"
            )
        outputs = tuple(
            TensorSpec(output.name, shapes[output.name], output.dtype) for output in flat
        )
        sentences = (*notes.of_sizes(sizes), *notes.of_values(rules))
        return Resolution(inputs, outputs, rules, sequences, sizes.batch, sentences), refusal

    def _batch(self, sizes: Sizes) -> int:
        wanted = self.request.batches
        if sizes.batch is not None and wanted and set(wanted) != {sizes.batch}:
            raise UsageError(
                f"--batch {','.join(map(str, wanted))} contradicts the batch of {sizes.batch} "
                "of --dim or the given inputs; leave one out"
            )
        return sizes.batch or (wanted[0] if wanted else 1)

    def _rules(self, shapes: Mapping[str, Sequence[int]]) -> dict[str, Mapping[str, Any]]:
        graph = Consumers(self.model, dict(shapes))
        rules: dict[str, Mapping[str, Any]] = dict(values.rules(graph, self.present, shapes))
        rules |= {name: {**rule, "why": "--range"} for name, rule in self.request.ranges.items()}
        return {name: rule for name, rule in rules.items() if name not in self.absent}

    def _input_specs(self, sizes: Sizes) -> tuple[tuple[TensorSpec, ...], tuple[str, ...]]:
        specs: list[TensorSpec] = []
        for declared in self.present:
            shape = sizes.resolved[declared.name]
            if declared.kind != SEQUENCE:
                specs.append(TensorSpec(declared.name, shape, declared.dtype))
                continue
            whole = tuple(1 if size == BATCH else size for size in shape)
            known = self.given.shapes if self.given else {}
            specs += [
                TensorSpec(name, known.get(name, whole), declared.dtype)
                for name in value_outputs.elements(declared.name, self._elements(declared))
            ]
        sequences = tuple(item.name for item in self.present if item.kind == SEQUENCE)
        return tuple(specs), sequences

    def _elements(self, declared: Declared) -> int:
        """The number of tensors in a sequence: as in the given samples, or a few."""
        if not self.given:
            return ELEMENTS
        names = self.given.samples[0]
        return sum(name.startswith(f"{declared.name}[") for name in names)

    def _is_doubtful(
        self, sizes: Sizes, rules: Mapping[str, Any], shapes: Mapping[str, Shape]
    ) -> bool:
        """Whether a trial run can show more: guesses may be invalid, or sizes are unknown."""
        open_sizes = any(
            isinstance(size, str) and size != BATCH for shape in shapes.values() for size in shape
        )
        return bool(sizes.guesses or rules) or open_sizes

    def _tried(
        self,
        inputs: tuple[TensorSpec, ...],
        rules: Mapping[str, Mapping[str, Any]],
        sequences: tuple[str, ...],
        shapes: Mapping[str, Shape],
        known: output_shapes.Known,
    ) -> tuple[Sequence[Declared], Mapping[str, Shape], str]:
        """The outputs and their shapes in trial runs at two batch sizes, and any refusal.

        The elements of a sequence are separate outputs.
        """

        def run(batch: int, seed: int = 0) -> tuple[dict[str, list[int]], str]:
            arrays = self._first_batch(inputs, rules, batch, seed)
            return self.trial.run(arrays, sequences, self.absent)

        one, refusal = run(known.batch)
        if refusal:
            return self.outputs, shapes, refusal
        batched = any(spec.batch_axis is not None for spec in inputs)
        two = run(known.batch + 1)[0] if batched and not self.given else one
        others = [run(known.batch, seed)[0] for seed in (1, 2)]
        flat = file_tensors.separated(self.outputs, list(one))
        sizes = output_shapes.of_runs(flat, shapes, one, two or one, others, known)
        return flat, sizes, ""

    def _first_batch(
        self,
        inputs: tuple[TensorSpec, ...],
        rules: Mapping[str, Mapping[str, Any]],
        batch: int,
        seed: int,
    ) -> dict[str, Any]:
        import numpy as np

        if self.given:
            return dict(self.given.samples[seed % len(self.given.samples)])
        generator = np.random.default_rng(seed)
        samples = {
            spec.name: made_up_samples.sample(
                spec, rules.get(spec.name, {}), generator, max(batch, 1)
            )
            for spec in inputs
        }
        return {spec.name: batches.first(spec, samples[spec.name], batch) for spec in inputs}

    def variable(self, resolution: Resolution) -> list[str]:
        """The inputs of a single given sample whose elements a second sample may reorder.

        Empty if several samples are given, or if a trial run refuses the reordered inputs.
        """
        if self.given is None or len(self.given.samples) > 1 or self.trial.refusal:
            return []
        shapes = {name: list(shape) for name, shape in self.given.shapes.items()}
        graph = Consumers(self.model, dict(shapes))
        fixed = {
            name
            for name, rule in values.rules(graph, self.present, shapes).items()
            if "low" not in rule
        }
        names = [
            spec.name
            for spec in resolution.inputs
            if spec.name not in fixed and self.given.samples[0][spec.name].size > 1
        ]
        varied = self.given.varied(names).samples
        tried = (self.trial.run(item, resolution.sequences, self.absent) for item in varied)
        refused = any(error for _, error in tried)
        return [] if refused else names
