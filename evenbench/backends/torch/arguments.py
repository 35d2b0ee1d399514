"""Arguments of modules: nested examples and keywords, as a call with tensors in order.

The harness gives every backend tensors in order. The other leaves of an example, such as numbers,
strings and None, are constants of the model.
"""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from evenbench.harness import UsageError

if TYPE_CHECKING:
    import torch

NAMES = "argument_names"
"""The attribute of a wrapped module with the names of its tensors."""


def flattened(
    module: torch.nn.Module, examples: Any, build: str
) -> tuple[torch.nn.Module, tuple[torch.Tensor, ...]]:
    """The module as a function of tensors in order, and the example tensors.

    `examples` are arguments as for `torch.export`: a tensor, a sequence of positional arguments, a
    mapping of keyword arguments, or (arguments, keywords). A module called with tensors in order
    stays as it is. Raises UsageError for examples without a tensor.
    """
    import torch

    arguments, keywords = _split(module, examples)
    if not arguments and not keywords:
        return _with_keywords(module), ()
    arguments, keywords = _as_tensors(arguments), _as_tensors(keywords)
    arguments, keywords = _keyword_only(module, arguments, keywords)
    if not keywords and all(isinstance(value, torch.Tensor) for value in arguments):
        return module, tuple(arguments)
    wrapped, tensors = _wrapped(module, arguments, keywords, build)
    if not tensors:
        raise UsageError(
            f"{build} returned example inputs without a tensor "
            f"({', '.join(type(value).__name__ for value in (*arguments, *keywords.values()))}); "
            "return (module, example_inputs) with at least one tensor"
        )
    return wrapped, tensors


def names(module: torch.nn.Module, count: int) -> list[str]:
    """The names of the `count` tensors in a call, from the signature of `forward`."""
    if hasattr(module, NAMES):
        return list(getattr(module, NAMES))
    labels = [
        parameter.name
        for parameter in _parameters(module)
        if parameter.kind == parameter.POSITIONAL_OR_KEYWORD
    ]
    return labels[:count] if len(labels) >= count else [f"input_{index}" for index in range(count)]


def _parameters(module: torch.nn.Module) -> list[inspect.Parameter]:
    return list(inspect.signature(module.forward).parameters.values())


# -- what an example means -------------------------------------------------------------------------


def _split(module: torch.nn.Module, examples: Any) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """The positional and keyword arguments in an example.

    A mapping with the names of parameters holds keywords; another mapping is a single argument.
    """
    if examples is None:
        return (), {}
    if isinstance(examples, Mapping):
        keywords = dict(examples)
        return ((), keywords) if _are_keywords(module, (), keywords) else ((keywords,), {})
    if not isinstance(examples, (tuple, list)):
        return (examples,), {}
    if examples and isinstance(examples[-1], Mapping):
        *first, last = examples
        keywords = dict(last)
        pair = len(first) == 1 and isinstance(first[0], (tuple, list))
        if pair and _are_keywords(module, first[0], keywords):
            return tuple(first[0]), keywords
        if _are_keywords(module, first, keywords):
            return tuple(first), keywords
    return tuple(examples), {}


def _are_keywords(
    module: torch.nn.Module, arguments: Sequence[Any], keywords: Mapping[Any, Any]
) -> bool:
    """Whether the keys are names of parameters, or accepted by `**kwargs`, beside `arguments`."""
    if not all(isinstance(name, str) for name in keywords):
        return False
    parameters = {parameter.name: parameter for parameter in _parameters(module)}
    others = any(parameter.kind == parameter.VAR_KEYWORD for parameter in parameters.values())
    known = [
        name
        for name in keywords
        if name in parameters and parameters[name].kind not in (inspect.Parameter.VAR_POSITIONAL,)
    ]
    if len(known) < len(keywords) and not (others and (known or not arguments)):
        return False
    try:
        inspect.signature(module.forward).bind(*arguments, **keywords)
    except TypeError:
        return False
    return True


def _keyword_only(
    module: torch.nn.Module, arguments: Sequence[Any], keywords: Mapping[str, Any]
) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """The arguments with those beyond the positional parameters as keyword-only parameters."""
    positional, by_keyword = _kinds(module)
    if positional is None or len(arguments) <= positional:
        return tuple(arguments), dict(keywords)
    free = [name for name in by_keyword if name not in keywords]
    more = arguments[positional:]
    if len(more) > len(free):
        return tuple(arguments), dict(keywords)  # the call itself explains the error
    return tuple(arguments[:positional]), {**dict(zip(free, more, strict=False)), **keywords}


def _kinds(module: torch.nn.Module) -> tuple[int | None, list[str]]:
    """The number of positional parameters (None: any), and the names of keyword-only ones."""
    parameters = _parameters(module)
    if any(parameter.kind == parameter.VAR_POSITIONAL for parameter in parameters):
        return None, []
    positional = [
        parameter
        for parameter in parameters
        if parameter.kind in (parameter.POSITIONAL_ONLY, parameter.POSITIONAL_OR_KEYWORD)
    ]
    by_keyword = [
        parameter.name for parameter in parameters if parameter.kind == parameter.KEYWORD_ONLY
    ]
    return len(positional), by_keyword


# -- a call with tensors in order ------------------------------------------------------------------


def _as_tensors(value: Any) -> Any:
    """An example with numpy arrays as tensors, and mappings such as `BatchEncoding` as dicts."""
    import numpy as np
    import torch

    if isinstance(value, np.ndarray):
        return torch.from_numpy(np.ascontiguousarray(value))
    if isinstance(value, Mapping):
        kept = type(value) if hasattr(value, "to_tuple") else dict
        return kept({name: _as_tensors(inner) for name, inner in value.items()})
    if type(value) in (tuple, list):
        return type(value)(_as_tensors(inner) for inner in value)
    return value


def _wrapped(
    module: torch.nn.Module, arguments: Sequence[Any], keywords: Mapping[str, Any], build: str
) -> tuple[torch.nn.Module, tuple[torch.Tensor, ...]]:
    """The module as a function of the tensors in nested arguments; other leaves are constants."""
    import torch
    from torch.utils import _pytree as pytree

    _register_dataclasses((arguments, keywords))
    paths, structure = pytree.tree_flatten_with_path((tuple(arguments), dict(keywords)))
    leaves = [value for _, value in paths]
    places = [at for at, value in enumerate(leaves) if isinstance(value, torch.Tensor)]
    for path, value in paths:
        _check_leaf(value, pytree.keystr(path), build)
    constants = [None if at in places else value for at, value in enumerate(leaves)]

    def rebuilt(tensors: Sequence[torch.Tensor]) -> tuple[Any, Any]:
        filled = list(constants)
        for at, tensor in zip(places, tensors, strict=True):
            filled[at] = tensor
        inner: tuple[Any, Any] = pytree.tree_unflatten(filled, structure)
        return inner

    positional = [
        parameter.name
        for parameter in _parameters(module)
        if parameter.kind in (parameter.POSITIONAL_ONLY, parameter.POSITIONAL_OR_KEYWORD)
    ]
    wrapped = _called(module, rebuilt)
    setattr(wrapped, NAMES, _names([paths[at][0] for at in places], positional))
    return wrapped, tuple(leaves[at] for at in places)


def _called(module: torch.nn.Module, rebuilt: Any) -> torch.nn.Module:
    """A module that calls `module` with the arguments and keywords of `rebuilt(tensors)`."""
    import torch

    class Called(torch.nn.Module):
        """A module called with tensors in order."""

        def __init__(self) -> None:
            super().__init__()
            self.inner = module

        def forward(self, *tensors: torch.Tensor) -> Any:
            arguments, keywords = rebuilt(tensors)
            return self.inner(*arguments, **keywords)

        def state_dict(self, *more: Any, **options: Any) -> Any:
            return self.inner.state_dict(*more, **options)

        def load_state_dict(self, *more: Any, **options: Any) -> Any:
            return self.inner.load_state_dict(*more, **options)

    return Called().eval()


def _with_keywords(module: torch.nn.Module) -> torch.nn.Module:
    """A module without examples: keyword-only parameters take the tensors after the others."""
    positional, by_keyword = _kinds(module)
    required = {
        parameter.name
        for parameter in _parameters(module)
        if parameter.kind == parameter.KEYWORD_ONLY and parameter.default is parameter.empty
    }
    if positional is None or not required:
        return module
    names = [name for name in by_keyword if name in required]

    def rebuilt(tensors: Sequence[torch.Tensor]) -> tuple[Any, Any]:
        return tensors[: -len(names)], dict(zip(names, tensors[-len(names) :], strict=True))

    return _called(module, rebuilt)


def _names(paths: Sequence[Any], positional: Sequence[str]) -> list[str]:
    """A name per tensor: the parameter, and the keys and places below."""
    labels: list[str] = []
    for path in paths:
        _, first, *below = path
        top = getattr(first, "key", None)
        if top is None:
            at = first.idx
            top = positional[at] if at < len(positional) else f"input_{at}"
        parts = [str(top), *(str(_step(step)) for step in below)]
        name = "_".join(parts)
        keys = [step for step in below if not hasattr(step, "idx")]
        if keys and len(below) == 1 and str(_step(below[0])) not in labels:
            name = str(_step(below[0]))  # a dictionary as a single argument
        while name in labels:
            name += "_"
        labels.append(name)
    return labels


def _step(step: Any) -> Any:
    """The key, index or attribute of a step in a path."""
    return next(getattr(step, kind) for kind in ("key", "idx", "name") if hasattr(step, kind))


def _register_dataclasses(value: Any) -> None:
    """Make the dataclasses in an example known to pytree."""
    import dataclasses

    from torch.utils import _pytree as pytree

    if isinstance(value, Mapping):
        parts = list(value.values())
    elif isinstance(value, (tuple, list)):
        parts = list(value)
    elif dataclasses.is_dataclass(value) and not isinstance(value, type):
        if type(value) not in pytree.SUPPORTED_NODES:
            pytree.register_dataclass(type(value))
        parts = [getattr(value, field.name) for field in dataclasses.fields(value)]
    else:
        return
    for part in parts:
        _register_dataclasses(part)


def _check_leaf(value: Any, path: str, build: str) -> None:
    """Raise UsageError for an object with tensors inside, because its tensors stay unseen."""
    import torch

    held = vars(value).values() if hasattr(value, "__dict__") else ()
    if isinstance(value, (torch.Tensor, torch.nn.Module, type)) or not held:
        return
    leaves, _ = torch.utils._pytree.tree_flatten(list(held))
    if any(isinstance(inner, torch.Tensor) for inner in leaves):
        raise UsageError(
            f"{build}: the example input {path} is a {type(value).__name__}, "
            "unknown to torch.utils._pytree; give tensors, tuples, lists or dictionaries, or "
            "register the class with torch.utils._pytree.register_pytree_node"
        )
