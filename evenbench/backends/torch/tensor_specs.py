"""Inputs and outputs of an undeclared module, from example inputs and a trial run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from evenbench.backends.torch import adoption, arguments, batch_axis, resized_examples
from evenbench.backends.torch.files import exported_files
from evenbench.backends.torch.model import module_and_examples
from evenbench.backends.torch.outputs import distinct, named
from evenbench.harness import ANY, BATCH, Model, TensorSpec, UsageError
from evenbench.harness.core import import_strings

if TYPE_CHECKING:
    import torch


TRIALS = 3
"""Calls on other inputs, to see whether sizes of outputs depend on values."""
_SEEN: dict[str, Mapping[str, Any]] = {}
"""The facts of `examples` by fingerprint, of the models described in this process."""

SHAPE_FLAGS = "give --shape 1x3x224x224, or --input photo.jpg --recipe imagenet_224"


def describe(model: Model) -> tuple[list[TensorSpec], list[TensorSpec]]:
    """The inputs and outputs of a user's own module, from example inputs and a trial run.

    `arguments["shape"]` gives the shapes of random inputs, or resizes the example inputs of
    `build`. The first dimension is the batch if `batch_axis.is_open`.
    """
    import torch

    module, examples = module_and_examples(model)
    given = bool(examples)
    examples = resized_examples.resized(model, examples) if given else _examples(model)
    _SEEN[model.fingerprint] = {"given": given, "first_size": batch_axis.first_size(examples)}
    names = arguments.names(module, len(examples))
    specs = [
        TensorSpec(name, tuple(value.shape), _dtype(value))
        for name, value in zip(names, examples, strict=True)
    ]
    with torch.no_grad():
        first = _trial(module, examples, model)
        batched = _accepts_batch(module, examples, first)
        unsized = () if batched else _unsized(module, examples, first)
    outputs = [
        TensorSpec(
            name, (ANY, *value.shape[1:]) if key in unsized else tuple(value.shape), _dtype(value)
        )
        for name, (key, value) in zip(distinct(first, names), first.items(), strict=True)
    ]
    if batched:
        specs = [TensorSpec(spec.name, (BATCH, *spec.shape[1:]), spec.dtype) for spec in specs]
        outputs = [TensorSpec(spec.name, (BATCH, *spec.shape[1:]), spec.dtype) for spec in outputs]
    return specs, outputs


def _trial(
    module: torch.nn.Module, examples: Sequence[torch.Tensor], model: Model
) -> dict[str, torch.Tensor]:
    """The outputs of a call by default name. Raises UsageError for a result without a tensor."""
    try:
        result = module(*(value.clone() for value in examples))
    except RuntimeError as error:
        explained = adoption.explained(error, module, model.build)
        if explained is None:
            raise
        raise explained from error
    first = named(result, None, model.name)
    if not first:
        raise UsageError(
            f"{model.build} returns no tensor; "
            "expected a tensor, or a sequence or a dictionary of tensors"
        )
    return first


def examples(model: Model) -> Mapping[str, Any]:
    """Facts of a described model's inputs: `given` by build, and their common `first_size`.

    `first_size` is 0 without a common size.
    """
    return _SEEN[model.fingerprint]


def _examples(model: Model) -> tuple[torch.Tensor, ...]:
    import torch

    shapes = [text for text in model.arguments.get("shape", "").split(",") if text]
    if not shapes and exported_files.is_file(model.build):
        file = import_strings.source_of(model.build)
        raise UsageError(f"{file} does not record the shapes of its inputs; {SHAPE_FLAGS}")
    if not shapes:
        raise UsageError(
            f"{model.build} returned a module without example inputs; "
            f"return (module, example_inputs), or {SHAPE_FLAGS}"
        )
    generator = torch.Generator().manual_seed(0)
    return tuple(
        torch.randn([int(size) for size in shape.split("x")], generator=generator)
        for shape in shapes
    )


def _accepts_batch(
    module: torch.nn.Module, examples: Sequence[torch.Tensor], first: Mapping[str, torch.Tensor]
) -> bool:
    if hasattr(module, exported_files.ONE_SIZE):
        return False
    return batch_axis.is_open(lambda values: named(module(*values), None, ""), examples, first)


def _unsized(
    module: torch.nn.Module, examples: Sequence[torch.Tensor], first: Mapping[str, torch.Tensor]
) -> set[str]:
    """The outputs with another first size for other values of the inputs, such as `nonzero`'s."""
    import torch

    generator = torch.Generator().manual_seed(0)
    unsized: set[str] = set()
    for _ in range(TRIALS):
        others = [
            torch.randn(value.shape, generator=generator, dtype=value.dtype)
            if value.is_floating_point()
            else value
            for value in examples
        ]
        try:
            again = named(module(*others), None, "")
        except Exception:  # the module accepts its example, and other values need not be valid
            return unsized
        unsized |= {
            name
            for name, value in again.items()
            if name in first
            and value.ndim == first[name].ndim > 0
            and value.shape[0] != first[name].shape[0]
            and value.shape[1:] == first[name].shape[1:]
        }
    return unsized


def _dtype(value: torch.Tensor) -> str:
    return str(value.dtype).removeprefix("torch.")
