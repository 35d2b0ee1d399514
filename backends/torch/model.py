"""PyTorch models made real: built, given their weights, described. Shared by every backend that
starts from a module.

torch is imported inside the functions, so that the backends' modules stay free to import.
"""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from backends.torch import exported_files
from harness import BATCH, Cell, Model, Source, TensorSpec, UsageError
from harness.core import download, import_strings, source_digests
from harness.inputs import batches as inputs

if TYPE_CHECKING:
    import torch

WEIGHTS = "weights.pt"
DISTRIBUTIONS = ("torch", "torchvision")


def supports_module(model: Model) -> str:
    """An empty string, or why torch cannot take this model."""
    return (
        ""
        if model.build
        else f"needs a PyTorch module, and {model.name} is the file {Path(model.file).name}"
    )


def versions() -> dict[str, str]:
    """Of the distributions that decide what a module computes."""
    return {name: inputs.version_of(name) for name in DISTRIBUTIONS}


def build(model: Model) -> torch.nn.Module:
    """Call the model's `build` and return its module in eval mode, with the weights that `build`
    gave it.
    """
    return module_and_examples(model)[0]


def module_and_examples(model: Model) -> tuple[torch.nn.Module, tuple[Any, ...]]:
    """`build` may return a module, or (module, example inputs), or name a file that holds one.
    Raises UsageError for anything else.
    """
    import torch

    made = (
        exported_files.read(model.build)
        if exported_files.is_file(model.build)
        else import_strings.resolve(model.build)()
    )
    module, examples = made if isinstance(made, tuple) and len(made) == 2 else (made, ())
    if not isinstance(module, torch.nn.Module):
        raise UsageError(
            f"{model.build} returned a {type(module).__name__}; expected a torch.nn.Module, or (module, example inputs)"
        )
    return module.eval(), tuple(examples) if isinstance(examples, (tuple, list)) else (examples,)


def load(folder: Path, cell: Cell) -> torch.nn.Module:
    """The module with the weights in `folder`, in eval mode, gradients off."""
    import torch

    module = build(cell.model)
    state = torch.load(folder / WEIGHTS, map_location="cpu", weights_only=True)
    module.load_state_dict(state)
    return module.requires_grad_(False)


def copy_weights(source: Source, folder: Path) -> None:
    """Put the materialised weights into an artifact's folder, as a hard link where the file system
    allows it.
    """
    try:
        os.link(source.weights_folder / WEIGHTS, folder / WEIGHTS)
    except OSError:
        shutil.copyfile(source.weights_folder / WEIGHTS, folder / WEIGHTS)


# -- weights ---------------------------------------------------------------------------------------


def weights_key(model: Model) -> Mapping[str, Any] | None:
    """What decides the weights: their declaration, the code that builds and trains, the versions.
    None for `own` ones.
    """
    if model.weights.source == "own":
        return None
    sources = [
        import_strings.source_of(name) for name in (model.build, model.weights.train) if name
    ]
    return {
        "weights": model.weights.source,
        "seed": model.weights.seed,
        "sha256": model.weights.sha256,
        "build": import_strings.portable(model.build),
        "train": import_strings.portable(model.weights.train),
        "sources": [
            hashlib.sha256(Path(file).read_bytes()).hexdigest() for file in sources if file
        ],
        "versions": versions(),
    }


def materialise(model: Model, batches: Mapping[str, Path], folder: Path) -> dict[str, Any]:
    """Write the state dict that every backend of this model gets; returns its digest and a note in
    words.
    """
    import torch

    torch.manual_seed(model.weights.seed)
    module, note = _MATERIALISE[model.weights.source](model, batches)
    state = module.state_dict()
    torch.save(state, folder / WEIGHTS)
    parameters = sum(value.numel() for value in module.parameters())
    # Two modules may have equal weights and differ in an activation, or in what a configuration
    # file made of them.
    structure = hashlib.sha256(repr(module).encode()).hexdigest()
    facts = {"sha256": digest(state), "note": note, "parameters": parameters}
    return {**facts, "structure": structure, "code": _code(model, module)}


def _code(model: Model, module: torch.nn.Module) -> dict[str, str]:
    """The source files that decide what `module` computes. torch's and torchvision's own are left
    to their versions.
    """
    named_files = [
        import_strings.source_of(name) for name in (model.build, model.weights.train) if name
    ]
    classes = [
        kind
        for kind in {type(child) for child in module.modules()}
        if kind.__module__.split(".")[0] not in DISTRIBUTIONS
    ]
    return source_digests.read(
        [*named_files, *source_digests.of_types(classes), *source_digests.loaded()]
    )


def weights_read(module: torch.nn.Module) -> int:
    """How many elements of its parameters every step reads: all but the tables of embeddings, of
    which a step needs a few rows.
    """
    import torch

    readers = [
        child
        for child in module.modules()
        if not isinstance(child, (torch.nn.Embedding, torch.nn.EmbeddingBag))
    ]
    read = {id(value): value for child in readers for value in child.parameters(recurse=False)}
    return sum(value.numel() for value in read.values())


def digest(state: Mapping[str, torch.Tensor]) -> str:
    """sha256 over names, shapes, dtypes and values of a state dict."""
    whole = hashlib.sha256()
    for name, tensor in sorted(state.items()):
        whole.update(f"{name} {tuple(tensor.shape)} {tensor.dtype}".encode())
        whole.update(tensor.detach().cpu().contiguous().numpy().tobytes())
    return whole.hexdigest()


def _own(model: Model, batches: Mapping[str, Path]) -> tuple[torch.nn.Module, str]:
    return build(model), "the weights that build returned"


def _pretrained(model: Model, batches: Mapping[str, Path]) -> tuple[torch.nn.Module, str]:
    import torch

    file = download.fetch(model.weights.url, model.weights.sha256)
    module = build(model)
    module.load_state_dict(torch.load(file, map_location="cpu", weights_only=True))
    return module, f"pretrained, {model.weights.url}"


def _trained(model: Model, batches: Mapping[str, Path]) -> tuple[torch.nn.Module, str]:
    import torch

    torch.use_deterministic_algorithms(True)
    module = build(model)
    import_strings.resolve(model.weights.train)(module, model.weights.seed)
    return (
        module.eval(),
        f"trained by {import_strings.portable(model.weights.train)}, seed {model.weights.seed}",
    )


def _seeded(model: Model, batches: Mapping[str, Path]) -> tuple[torch.nn.Module, str]:
    """Random numbers alone leave activations that shrink or grow layer by layer, down to denormals;
    see `recalibrate`.
    """
    module = build(model)
    count = recalibrate(module, *_passes(model, batches))
    what = (
        f"batch-norm statistics recalibrated on {count} input images"
        if count
        else "no batch norm to recalibrate"
    )
    return module, f"random initialisation, seed {model.weights.seed}; {what}"


_MATERIALISE: Mapping[str, Callable[[Model, Mapping[str, Path]], tuple[Any, str]]] = {
    "own": _own,
    "pretrained": _pretrained,
    "trained": _trained,
    "seeded": _seeded,
}


def _passes(model: Model, batches: Mapping[str, Path]) -> list[Sequence[torch.Tensor]]:
    """All samples of every input, [count, ...], from the batch-1 input files; one by one for a
    model that takes one, as detectors do.
    """
    import numpy as np
    import torch

    arrays = [torch.from_numpy(np.load(batches[spec.name])) for spec in model.inputs]
    if not any(BATCH in spec.shape for spec in model.inputs) or any(
        spec.is_open for spec in model.outputs
    ):
        return list(zip(*arrays, strict=True))
    return [[array.flatten(0, 1) for array in arrays]]


def recalibrate(module: torch.nn.Module, *passes: Sequence[torch.Tensor]) -> int:
    """Set every batch norm's running statistics to those of the samples; returns how many samples,
    0 without a batch norm.

    A pass is what the module is called with: all samples at once, or one by one. Only the batch
    norms run in training mode, so dropout and stochastic depth stay off. `momentum=None` makes the
    running statistics the plain average over the passes.
    """
    import torch

    norms = [
        child
        for child in module.modules()
        if isinstance(child, torch.nn.modules.batchnorm._BatchNorm)
    ]
    if not norms:
        return 0
    momenta = [norm.momentum for norm in norms]
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None
        norm.train()
    with torch.no_grad():
        for arguments in passes:
            module(*arguments)
    for norm, momentum in zip(norms, momenta, strict=True):
        norm.momentum = momentum
        norm.eval()
    return len(passes) if len(passes) > 1 else len(passes[0][0])


# -- a user's own model ----------------------------------------------------------------------------


def describe(model: Model) -> tuple[list[TensorSpec], list[TensorSpec]]:
    """Inputs and outputs of a user's own module: from its example inputs or `arguments["shape"]`,
    and by running it.

    The first dimension is the batch where the module accepts another size there and answers with
    it.
    """
    import torch

    module, examples = module_and_examples(model)
    if not examples:
        examples = _examples(model)
    names = _argument_names(module, len(examples))
    specs = [
        TensorSpec(name, tuple(value.shape), _dtype(value))
        for name, value in zip(names, examples, strict=True)
    ]
    with torch.no_grad():
        first = named(module(*examples), None, model.name)
        if not first:
            raise UsageError(
                f"{model.build} answers with no tensor; expected a tensor, or a sequence or a dictionary of tensors"
            )
        batched = _accepts_batch(module, examples, first)
    outputs = [TensorSpec(name, tuple(value.shape), _dtype(value)) for name, value in first.items()]
    if batched:
        specs = [TensorSpec(spec.name, (BATCH, *spec.shape[1:]), spec.dtype) for spec in specs]
        outputs = [TensorSpec(spec.name, (BATCH, *spec.shape[1:]), spec.dtype) for spec in outputs]
    return specs, outputs


def _examples(model: Model) -> tuple[torch.Tensor, ...]:
    import torch

    shapes = [text for text in model.arguments.get("shape", "").split(",") if text]
    if not shapes and exported_files.is_file(model.build):
        told = "give --shape 1x3x224x224, or --input photo.jpg --recipe imagenet_224"
        raise UsageError(
            f"{import_strings.source_of(model.build)} does not say the shapes of its inputs; {told}"
        )
    if not shapes:
        raise UsageError(
            f"{model.build} returned a module without example inputs; return (module, example_inputs), "
            "or give --shape 1x3x224x224, or --input photo.jpg --recipe imagenet_224"
        )
    generator = torch.Generator().manual_seed(0)
    return tuple(
        torch.randn([int(size) for size in shape.split("x")], generator=generator)
        for shape in shapes
    )


def _argument_names(module: torch.nn.Module, count: int) -> list[str]:
    import inspect

    parameters = inspect.signature(module.forward).parameters.values()
    named_ones = [
        parameter.name
        for parameter in parameters
        if parameter.kind == parameter.POSITIONAL_OR_KEYWORD
    ]
    return (
        named_ones[:count]
        if len(named_ones) >= count
        else [f"input_{index}" for index in range(count)]
    )


def _accepts_batch(
    module: torch.nn.Module, examples: Sequence[torch.Tensor], first: Mapping[str, torch.Tensor]
) -> bool:
    import torch

    if hasattr(module, exported_files.ONE_SIZE) or any(
        value.ndim == 0 or value.shape[0] != 1 for value in examples
    ):
        return False
    try:
        twice = named(module(*(torch.cat([value, value]) for value in examples)), None, "")
    except (
        Exception
    ):  # whatever a module says about a batch of two, the answer is that it takes one
        return False
    if twice.keys() != first.keys():
        return False
    return all(
        value.ndim > 0 and value.shape[0] == 2 == 2 * first[name].shape[0]
        for name, value in twice.items()
    )


def _dtype(value: torch.Tensor) -> str:
    return str(value.dtype).removeprefix("torch.")


def named(result: Any, specs: Iterable[TensorSpec] | None, model: str) -> dict[str, torch.Tensor]:
    """A module's answer (tensor, sequence or mapping) by declared name; made-up names where `specs`
    is None.

    A list of one mapping is that mapping: torchvision's detectors answer with one for each image.
    Raises UsageError where names or number differ from those declared.
    """
    import torch

    if isinstance(result, (list, tuple)) and len(result) == 1 and isinstance(result[0], Mapping):
        result = result[0]
    if isinstance(result, Mapping):
        found = {
            str(name): value for name, value in result.items() if isinstance(value, torch.Tensor)
        }
        declared = list(found) if specs is None else [spec.name for spec in specs]
        if sorted(declared) != sorted(found):
            raise UsageError(
                f"model {model} returns outputs {sorted(found)}, but declares {sorted(declared)}; make them agree"
            )
        return {name: found[name] for name in declared}
    tensors = (
        [result]
        if isinstance(result, torch.Tensor)
        else [value for value in result if isinstance(value, torch.Tensor)]
    )
    made_up = (
        ["output"] if len(tensors) == 1 else [f"output_{index}" for index in range(len(tensors))]
    )
    declared = made_up if specs is None else [spec.name for spec in specs]
    if len(declared) != len(tensors):
        raise UsageError(
            f"model {model} returns {len(tensors)} outputs, but declares {declared}; make them agree"
        )
    return dict(zip(declared, tensors, strict=True))


def in_declared_order(module: torch.nn.Module, model: Model) -> torch.nn.Module:
    """`module` with its outputs as a tuple in declared order: an exporter names them by position, a
    dict has its own order.
    """
    import torch

    class InOrder(torch.nn.Module):
        """The module, and the order of its outputs."""

        def __init__(self) -> None:
            super().__init__()
            self.inner = module

        def forward(self, *arguments: torch.Tensor) -> tuple[torch.Tensor, ...]:
            return tuple(named(self.inner(*arguments), model.outputs, model.name).values())

    return InOrder().eval() if wrappers(model) else module


def wrappers(model: Model) -> int:
    """How many modules `in_declared_order` puts around a model's, each of which calls the one
    within `inner`.
    """
    return int(len(model.outputs) > 1)
