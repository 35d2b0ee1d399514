"""Sizes of free dimensions: given by name or place, taken from data, or guessed and reported."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from evenbench.backends.onnx.file_inputs import size_guesses
from evenbench.backends.onnx.file_inputs.declared import SEQUENCE, Declared
from evenbench.harness import BATCH, UsageError

BATCH_NAME = re.compile(r"^(n|b|bs|bsz)$|batch", re.IGNORECASE)
"""Names of batch dimensions, such as `N`, `batch_size` or `decoder_batch`."""

ELEMENT_SHAPE = (2, 3)
"""The shape of made-up elements of a sequence without a declared shape."""

Shape = tuple[int | str, ...]


@dataclass
class Sizes:
    """The sizes of all free dimensions of a file's inputs.

    `given` are the sizes of the command line by dimension (`seq`), place (`ids.1`) or input
    (`x`, the whole shape). `known` are shapes of data by input name. `attempt` selects other
    guesses after the first guesses failed.
    """

    inputs: Sequence[Declared]
    given: Mapping[str, Sequence[int]] = field(default_factory=dict)
    known: Mapping[str, Sequence[int]] = field(default_factory=dict)
    attempt: int = 0
    splits: bool = False
    """Whether the batch of data is split into samples, and so fixes nothing."""
    batch: int | None = field(default=None, init=False)
    """The batch size of the command line or of data; None if free."""
    guesses: dict[str, tuple[int, str]] = field(default_factory=dict, init=False)
    """The guessed sizes by dimension or place, each with the reason."""

    def __post_init__(self) -> None:
        self.named: dict[str, int] = {}
        """Sizes of the command line or data, by the name of a dimension."""
        self._used: set[str] = set()
        self.shapes = {declared.name: self._declared_shape(declared) for declared in self.inputs}
        self.batch_names = self._batch_names()
        for name, shape in self.shapes.items():
            self._collect(name, shape)
        self.resolved = {name: self._resolved(name) for name in self.shapes}
        unused = sorted(set(self.given) - self._used)
        if unused:
            raise UsageError(
                f"--dim {unused[0]}: no free dimension has this name or place; expected "
                f"{self._alternatives()}"
            )

    # -- what is known -----------------------------------------------------------------------------

    def _declared_shape(self, declared: Declared) -> Shape:
        whole = self.given.get(declared.name, ())
        if declared.kind == SEQUENCE and declared.shape is None:
            return tuple(whole) or ELEMENT_SHAPE
        if declared.shape is None:
            shape = self.known.get(declared.name, whole)
            if not shape and declared.name not in (*self.given, *self.known):
                raise UsageError(
                    f"{declared.name} has no shape in the file; give --dim {declared.name}=1x16, "
                    "with the real sizes, or real inputs with --inputs FILE"
                )
            self._used.add(declared.name)
            return tuple(shape)
        if len(whole) == len(declared.shape) and declared.name not in self._names(declared.shape):
            for axis, size in enumerate(declared.shape):
                if isinstance(size, int) and size != whole[axis]:
                    raise UsageError(
                        f"--dim {declared.name}={'x'.join(map(str, whole))}: the file fixes axis "
                        f"{axis} at {size}"
                    )
            self._used.add(declared.name)
            return tuple(whole)
        return declared.shape

    @staticmethod
    def _names(shape: Shape) -> set[str]:
        return {size for size in shape if isinstance(size, str)}

    def _batch_names(self) -> set[str]:
        """The names of the batch dimension; the empty name stands for anonymous first sizes.

        A name that says batch, at any axis, or a first dimension that nothing else explains.
        """
        every = {size for shape in self.shapes.values() for size in self._names(shape)}
        called = {name for name in every if BATCH_NAME.search(name)}
        first = {
            shape[0]
            for declared, shape in zip(self.inputs, self.shapes.values(), strict=True)
            if shape and isinstance(shape[0], str) and not size_guesses.explains(declared, shape)
        }
        return called or first

    def _is_batch(self, name: str, axis: int) -> bool:
        size = self.shapes[name][axis]
        if not isinstance(size, str) or f"{name}.{axis}" in self.given or size in self.given:
            return False
        if axis == 1 and size_guesses.is_state(self._input(name)):
            return True
        return (size in self.batch_names and (axis == 0 or size != "")) or (
            axis == 0 and size == "" and not size_guesses.explains(self._input(name), (size,))
        )

    def _input(self, name: str) -> Declared:
        return next(declared for declared in self.inputs if declared.name == name)

    def _collect(self, name: str, shape: Shape) -> None:
        """Note the sizes that the command line or data give to names."""
        data = self.known.get(name)
        for axis, size in enumerate(shape):
            place = f"{name}.{axis}"
            value = self._given(place, size)
            if data is not None and len(data) == len(shape):
                self._check_data(name, axis, size, data[axis], value)
                value = data[axis]
            if value is None:
                continue
            if self._is_batch(name, axis):
                if data is None or not self.splits:
                    self.batch = value
                continue
            if isinstance(size, str) and size:
                self.named[size] = value
        if data is not None and len(data) != len(shape):
            raise UsageError(
                f"{name} has {len(shape)} dimensions in the file, but the data have shape "
                f"{list(data)}"
            )

    def _given(self, place: str, size: int | str) -> int | None:
        for key in (place, size):
            if isinstance(key, str) and key in self.given and len(self.given[key]) == 1:
                self._used.add(key)
                value = self.given[key][0]
                if isinstance(size, int) and size != value:
                    raise UsageError(f"--dim {key}={value}: the file fixes this size at {size}")
                return value
        name, _, axis = place.rpartition(".")
        if BATCH in self.given and self._is_batch(name, int(axis)):
            self._used.add(BATCH)
            return self.given[BATCH][0]
        return None

    @staticmethod
    def _check_data(name: str, axis: int, size: int | str, actual: int, wanted: int | None) -> None:
        expected = size if isinstance(size, int) else wanted
        if expected is not None and expected != actual:
            raise UsageError(
                f"{name}: axis {axis} has size {actual} in the data, expected {expected}"
            )

    # -- what is guessed ---------------------------------------------------------------------------

    def _resolved(self, name: str) -> Shape:
        declared, shape, data = self._input(name), self.shapes[name], self.known.get(name)
        sizes: list[int | str] = []
        for axis, size in enumerate(shape):
            place = f"{name}.{axis}"
            if isinstance(size, int):
                sizes.append(size)
            elif self._is_batch(name, axis) and BATCH not in sizes:
                sizes.append(BATCH)
            elif data is not None:
                sizes.append(data[axis])
            elif place in self.given:
                sizes.append(self.given[place][0])
            elif size in self.named:
                sizes.append(self.named[size])
            else:
                sizes.append(self._guess(declared, axis, size or place))
        return tuple(sizes)

    def _guess(self, declared: Declared, axis: int, name: str) -> int:
        if name not in self.guesses:
            total = size_guesses.total(name, self._size_of)
            known = self.shapes[declared.name]
            self.guesses[name] = (
                (total, "sum of its parts")
                if total is not None
                else size_guesses.guess(declared, known, axis, self.inputs, self.attempt)
            )
        return self.guesses[name][0]

    def _size_of(self, name: str) -> int | None:
        """The size of another named dimension, guessed if necessary; None for unknown names."""
        if name in self.named:
            return self.named[name]
        for declared in self.inputs:
            shape = self.shapes[declared.name]
            if name in shape:
                return self._guess(declared, shape.index(name), name)
        return None

    def _alternatives(self) -> str:
        places = [
            size or f"{name}.{axis}"
            for name, shape in self.shapes.items()
            for axis, size in enumerate(shape)
            if isinstance(size, str)
        ]
        return ", ".join(dict.fromkeys(places)) or "none, because the file fixes all sizes"
