"""Weights of PyTorch models: cache key, materialisation from each source, digest."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from evenbench.backends.torch import adoption
from evenbench.backends.torch.model import DISTRIBUTIONS, WEIGHTS, build, versions
from evenbench.harness import BATCH, Model
from evenbench.harness.core import build_sources, download, import_strings, source_digests

if TYPE_CHECKING:
    import torch


OFFSETS = (0.1, 0.3)
"""Standard deviation of drawn parameters around 0, and relative around other numbers. Raised values
change all weights of `seeded(offsets=True)`.
"""


def weights_key(model: Model) -> Mapping[str, Any] | None:
    """The cache key of the weights: declaration, code of `build` and `train`, versions of torch.

    None for weights of source `own`.
    """
    if model.weights.source == "own":
        return None
    sources = [import_strings.source_sha256(name) for name in (model.build, model.weights.train)]
    offsets = {"offsets": OFFSETS} if model.weights.offsets else {}
    return {
        **offsets,
        "weights": model.weights.source,
        "seed": model.weights.seed,
        "sha256": model.weights.sha256,
        "build": import_strings.portable(model.build),
        "train": import_strings.portable(model.weights.train),
        "sources": [sha256 for sha256 in sources if sha256],
        "versions": versions(),
    }


def materialise(model: Model, batches: Mapping[str, Path], folder: Path) -> dict[str, Any]:
    """Write the state dict shared by all backends; return its digest, a note and other facts."""
    import torch

    torch.manual_seed(model.weights.seed)
    module, note = _MATERIALISE[model.weights.source](model, batches)
    # Other state (`get_extra_state`) is made again by every build.
    state = {
        name: value
        for name, value in module.state_dict().items()
        if isinstance(value, torch.Tensor)
    }
    torch.save(state, folder / WEIGHTS)
    parameters = sum(value.numel() for value in module.parameters())
    # Two modules may have equal weights, but different activations or a different configuration.
    structure = hashlib.sha256(repr(module).encode()).hexdigest()
    facts = {"sha256": digest(state), "note": note, "parameters": parameters}
    return {**facts, "structure": structure, "code": _code(model, module)}


def _code(model: Model, module: torch.nn.Module) -> dict[str, str]:
    """The digests of the source files behind `module`; versions cover torch and torchvision."""
    named_files = [
        import_strings.source_of(name) for name in (model.build, model.weights.train) if name
    ]
    classes = [
        kind
        for kind in {type(child) for child in module.modules()}
        if kind.__module__.split(".")[0] not in DISTRIBUTIONS
    ]
    more = [file for file in (*named_files, *source_digests.of_types(classes)) if file]
    return build_sources.recorded(model, more, DISTRIBUTIONS)


def read_per_step(module: torch.nn.Module) -> int:
    """The number of parameter elements read by every step.

    Embedding tables are left out, because a step reads only a few rows of a table.
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
    """The sha256 of the names, shapes, dtypes and values of a state dict."""
    whole = hashlib.sha256()
    for name, tensor in sorted(state.items()):
        whole.update(f"{name} {tuple(tensor.shape)} {tensor.dtype}".encode())
        whole.update(_bytes(tensor))
    return whole.hexdigest()


def _bytes(tensor: torch.Tensor) -> bytes:
    """The values of a tensor in C order, also of types unknown to numpy."""
    import torch

    whole = tensor.detach().cpu().contiguous()
    try:
        return whole.numpy().tobytes()
    except TypeError:
        return whole.reshape(-1).view(torch.uint8).numpy().tobytes()


def _own(model: Model, batches: Mapping[str, Path]) -> tuple[torch.nn.Module, str]:
    module = build(model)
    return module, "the weights that build returned" + adoption.cast_note(module)


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
    """A randomly initialised module with recalibrated batch norms.

    Without calibration, activations shrink or grow layer by layer, down to denormals.
    """
    module = build(model)
    drawn = draw_offsets(module) if model.weights.offsets else 0
    count = recalibrate(module, *_passes(model, batches))
    recalibrated = (
        f"batch-norm statistics recalibrated on {count} input images"
        if count
        else "no batch norm to recalibrate"
    )
    offsets = f"; {drawn} constant parameters drawn around their value" if drawn else ""
    return module, f"random initialisation, seed {model.weights.seed}; {recalibrated}{offsets}"


def draw_offsets(module: torch.nn.Module) -> int:
    """Draw constant parameters around the constant; returns how many.

    These are biases, scales and shifts, and scales of layers. Uses torch's global generator.
    """
    import torch

    def is_constant(value: torch.Tensor) -> bool:
        flat = value.detach().flatten()
        return value.is_floating_point() and flat.numel() > 1 and bool((flat == flat[0]).all())

    constant = [value for value in module.parameters() if is_constant(value)]
    around_zero, relative = OFFSETS
    with torch.no_grad():
        for value in constant:
            first = float(value.flatten()[0])
            spread = relative * abs(first) if first else around_zero
            value.add_(torch.randn_like(value).clamp_(-2, 2) * spread)
    return len(constant)


_MATERIALISE: Mapping[str, Callable[[Model, Mapping[str, Path]], tuple[Any, str]]] = {
    "own": _own,
    "pretrained": _pretrained,
    "trained": _trained,
    "seeded": _seeded,
}


def _passes(model: Model, batches: Mapping[str, Path]) -> list[Sequence[torch.Tensor]]:
    """The samples of the batch-1 input files, as arguments for `recalibrate`.

    A single pass holds all samples of every input, [count, ...]. For models without a batch
    dimension, such as detectors, each sample is a pass.
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
    """Set the running statistics of every batch norm to the statistics of the samples.

    Returns the number of samples, or 0 without a batch norm. A pass holds the arguments of a call:
    all samples together, or a single sample. Only batch norms run in training mode, so dropout and
    stochastic depth stay off. `momentum=None` turns the running statistics into the plain average
    over the passes.
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
