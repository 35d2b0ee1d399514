"""Inputs from the user's files: whole inputs of a model by name, and expected outputs if known."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from evenbench.harness.core.errors import UsageError
from evenbench.harness.core.tensor_specs import TensorSpec
from evenbench.harness.core.types import Model
from evenbench.harness.inputs import element_types

if TYPE_CHECKING:
    import numpy as np

    Array = np.ndarray[Any, Any]

FILES, DIGESTS, VARIED = "samples", "samples_sha256", "varied"
"""The model arguments with the paths of the files, their digests, and the inputs to vary; JSON."""


@dataclass(frozen=True)
class Given:
    """Whole inputs of a model by name, one mapping per sample, and expected outputs per sample.

    `expected` has as many entries as `samples`; an entry is empty where no outputs are known.
    `left_out` counts samples of other shapes than the first sample.
    """

    samples: tuple[Mapping[str, Array], ...]
    expected: tuple[Mapping[str, Array], ...] = ()
    left_out: int = 0

    @property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        """The shape of each input."""
        return {name: array.shape for name, array in self.samples[0].items()}

    def fitted(self, inputs: Mapping[str, tuple[int | None, str]]) -> Given:
        """The samples under the model's names and in its dtypes, of one shape.

        `inputs` has the rank (None if unknown) and dtype of each input. Arrays with one axis more
        than their input hold several samples along the first axis. Names that differ from the
        model's stand for the inputs in order. Raises UsageError for other arrays.
        """
        pairs = zip(self.samples, self.expected or ({},) * len(self.samples), strict=True)
        samples, expected = [], []
        for sample, outputs in pairs:
            parts = _split(_named(sample, list(inputs)), inputs)
            samples += parts
            expected += [outputs if len(parts) == 1 else {}] * len(parts)
        shapes = [{name: array.shape for name, array in sample.items()} for sample in samples]
        kept = [index for index, shape in enumerate(shapes) if shape == shapes[0]]
        return Given(
            tuple(samples[index] for index in kept),
            tuple(expected[index] for index in kept),
            len(samples) - len(kept),
        )

    def varied(self, names: Sequence[str]) -> Given:
        """A single sample, followed by two with the elements of some inputs in another order.

        One sample cannot show whether a new input changes the output. Several samples stay as they
        are.
        """
        if len(self.samples) > 1 or not names:
            return self
        (first,) = self.samples
        others = [
            {name: order(array) if name in names else array for name, array in first.items()}
            for order in (_reversed, _rotated)
        ]
        return replace(self, samples=(first, *others), expected=(*self.expected, {}, {}))


def _reversed(array: Array) -> Array:
    return array.reshape(-1)[::-1].reshape(array.shape)


def _rotated(array: Array) -> Array:
    import numpy as np

    return np.roll(array.reshape(-1), max(1, array.size // 3)).reshape(array.shape)


def _named(sample: Mapping[str, Array], names: Sequence[str]) -> dict[str, Array]:
    # An optional tensor reads as a sequence of one element.
    single = {f"{name}[0]": name for name in names}
    sample = {single.get(name, name): array for name, array in sample.items()}
    if set(sample) >= set(names):
        return {name: sample[name] for name in names}
    if len(sample) != len(names):
        raise UsageError(
            f"the inputs are named {', '.join(sample) or 'nothing'}; the model has "
            f"{', '.join(names) or 'no input'}"
        )
    shared = set(sample) & set(names)
    if shared:
        raise UsageError(
            f"the inputs are named {', '.join(sample)}, expected {', '.join(names)}; rename the "
            "arrays"
        )
    return dict(zip(names, sample.values(), strict=True))


def _split(
    sample: Mapping[str, Array], inputs: Mapping[str, tuple[int | None, str]]
) -> list[dict[str, Array]]:
    """The samples of one file: itself, or the parts along an additional first axis."""
    whole = {name: _typed(name, array, inputs[name][1]) for name, array in sample.items()}
    more = [
        rank is not None and array.ndim == rank + 1
        for array, (rank, _) in zip(whole.values(), inputs.values(), strict=True)
    ]
    counts = {len(array) for array, is_more in zip(whole.values(), more, strict=True) if is_more}
    if not whole or not all(more) or len(counts) != 1:
        return [whole]
    return [{name: array[index, ...] for name, array in whole.items()} for index in range(*counts)]


def _typed(name: str, array: Array, dtype: str) -> Array:
    """The array in the model's dtype. Raises UsageError if the dtypes differ in kind."""
    text = element_types.is_text(array)
    if dtype == element_types.TEXT or text:
        if not (text and dtype == element_types.TEXT):
            raise UsageError(f"{name} is {array.dtype} in the file, the model takes {dtype}")
        return array.astype("str")
    wanted = element_types.dtype_of(dtype)
    if array.dtype == wanted:
        return array
    if array.dtype.newbyteorder("=") == wanted:
        return array.astype(wanted)
    if array.dtype.kind in "uV" and wanted.isbuiltin == 2 and array.itemsize == wanted.itemsize:
        return array.view(wanted)  # the bits of a narrow type, as numpy stores them
    raise UsageError(
        f"{name} is {array.dtype} in the file, the model takes {dtype}; convert the array, for "
        "example with .astype"
    )


def digest(path: Path) -> str:
    """The sha256 of a file, or of all test data in a folder."""
    whole = hashlib.sha256()
    files = sorted(path.rglob("*.pb")) if path.is_dir() else [path]
    for file in files:
        whole.update(str(file.relative_to(path)).encode() + b"\0" + file.read_bytes())
    return whole.hexdigest()


# -- in the worker that makes the input batches ----------------------------------------------------


def read(model: Model) -> Given:
    """The samples of a model with the arguments `FILES` and `VARIED`, whole, in declared dtypes."""
    from evenbench.harness.core import registry

    given: Given = registry.read_inputs([Path(path) for path in json.loads(model.arguments[FILES])])
    wanted: dict[str, tuple[int | None, str]] = {
        spec.name: (len(spec.shape), spec.dtype) for spec in model.inputs
    }
    return given.fitted(wanted).varied(json.loads(model.arguments.get(VARIED, "[]")))


def whole_batch(model: Model) -> int:
    """The number of single samples in each given sample; 1 for models without given samples."""
    return batch_of(model.inputs, read(model)) if FILES in model.arguments else 1


def samples(model: Model) -> dict[str, Array]:
    """Arrays [count, ...] per input, as for `inputs_from`; whole batches become single samples."""
    import numpy as np

    given = read(model)
    batch = batch_of(model.inputs, given)
    return {
        spec.name: np.concatenate(
            [_singles(spec, sample[spec.name], batch) for sample in given.samples]
        )
        for spec in model.inputs
    }


def batch_of(specs: Sequence[TensorSpec], given: Given) -> int:
    """The number of single samples in each whole input; 1 for a model without a batch axis."""
    sizes = {
        given.samples[0][spec.name].shape[spec.batch_axis]
        for spec in specs
        if spec.batch_axis is not None
    }
    if len(sizes) > 1:
        raise UsageError(f"the inputs have different batch sizes: {sorted(sizes)}")
    return sizes.pop() if sizes else 1


def _singles(spec: TensorSpec, array: Array, batch: int) -> Array:
    """The samples of a whole input along a new first axis, without the batch axis."""
    import numpy as np

    if spec.batch_axis is None:
        return np.stack([array] * batch)
    return np.moveaxis(array, spec.batch_axis, 0)
