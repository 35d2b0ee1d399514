"""Capture of the tensors inside a module: the outputs of submodules and of landmark functions."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any

from evenbench.backends import module_scopes
from evenbench.backends.torch import precision
from evenbench.harness import Attestation, Session
from evenbench.harness.core.intermediate_tensors import Within

if TYPE_CHECKING:
    import torch

    from evenbench.harness.core.session import Arrays

FOLDING = ("Conv", "Linear")
"""Prefixes of the classes of layers folded by exporters with a following batch norm."""


class WatchedSession(Session):
    """A session with the outputs of submodules and landmarks in `fetch`. Step once per `fetch`.

    `only` names the tensors to keep (None: all); `taken` holds names reserved for declared outputs.
    """

    def __init__(
        self,
        session: Session,
        module: torch.nn.Module,
        only: Collection[str] | None = None,
        taken: Iterable[str] = (),
    ) -> None:
        self.session, self.only, self.taken = session, only, tuple(taken)
        self._forget()
        self.handles: list[Any] = []
        for name, part in precision.without_casts(module).named_modules():
            self.handles.append(part.register_forward_pre_hook(self._entered(name)))
            self.handles.append(part.register_forward_hook(self._left(name)))

    def _forget(self) -> None:
        self.within: list[Within] = []
        self.kept: dict[str, Any] = {}
        self.names: dict[int, str] = {}
        self.operators: dict[str, str] = {}
        self.alive: list[Any] = []
        self.running: list[tuple[str, str]] = []
        self.calls: Counter[str] = Counter(self.taken)

    def bind(self, inputs: Arrays) -> None:
        self.session.bind(inputs)

    def step(self) -> None:
        self._forget()
        with _calls(self._called):
            self.session.step()

    def sync(self) -> None:
        self.session.sync()

    def attest(self) -> Attestation:
        return self.session.attest()

    def fetch(self) -> Mapping[str, Any]:
        return {**self.kept, **self.session.fetch()}

    def close(self) -> None:
        for handle in self.handles:
            handle.remove()
        self.alive = []
        self.session.close()

    def _entered(self, module_name: str) -> Any:
        def enter(module: torch.nn.Module, inputs: Any) -> None:
            parents = [module_scopes.step(name) for name, _ in self.running if name]
            steps = [*parents, module_scopes.step(module_name)] if module_name else parents
            self.running.append((module_name, module_scopes.path(steps)))

        return enter

    def _left(self, module_name: str) -> Any:
        def leave(module: torch.nn.Module, inputs: Any, output: Any) -> None:
            name, path = self.running.pop()
            if name:
                self._keep(
                    name, type(module).__name__, inputs, output, (path, name), _is_norm(module)
                )

        return leave

    def _called(self, function: str, arguments: Any, result: Any) -> None:
        """Keep the result if the function is a landmark, as part of the running module."""
        if self.running and function in module_scopes.FUNCTIONS:
            name, path = self.running[-1]
            places = tuple(module_scopes.landmark(place, function) for place in (path, name))
            self._keep(places[1], function, arguments, result, places)

    def _keep(
        self,
        name: str,
        operator: str,
        inputs: Any,
        output: Any,
        places: tuple[str, ...],
        is_norm: bool = False,
    ) -> None:
        read = tuple(
            self.names[id(value)] for _, value in _tensors(inputs) if id(value) in self.names
        )
        folds = is_norm and len(read) == 1 and self.operators[read[0]].startswith(FOLDING)
        for part, value in _tensors(output):
            previous = self.names.get(id(value), "")
            unique = self._unique(name + part)
            self.names[id(value)] = unique
            self.operators[unique] = operator
            self.alive.append(value)  # a living tensor keeps its id
            if self.only is not None and unique not in self.only:
                continue
            self.kept[unique] = _copied(value)
            if previous.startswith(f"{name}:"):
                self._drop(previous)  # the module returns the landmark itself
            known = () if self._is_known(previous, unique) else places
            self.within.append(
                Within(unique, operator, read, places=known, folded_into=read[0] if folds else "")
            )

    def _drop(self, name: str) -> None:
        self.kept.pop(name, None)
        self.within = [tensor for tensor in self.within if tensor.name != name]

    def _is_known(self, previous: str, name: str) -> bool:
        """Whether a submodule returned the same tensor as `previous`, without later writes."""
        import numpy as np

        return previous in self.kept and np.array_equal(self.kept[previous], self.kept[name])

    def _unique(self, name: str) -> str:
        """A name for this call, with a number for repeated calls of a module."""
        self.calls[name] += 1
        return name if self.calls[name] == 1 else f"{name}#{self.calls[name]}"


def _calls(listener: Any) -> AbstractContextManager[Any]:
    """A context with `listener(name, arguments, result)` called for every PyTorch function."""
    from torch.overrides import TorchFunctionMode

    class Listening(TorchFunctionMode):
        """Forwards calls and results to the listener."""

        def __torch_function__(
            self,
            func: Any,
            types: Any,
            args: Sequence[Any] = (),
            kwargs: Mapping[str, Any] | None = None,
        ) -> Any:
            result = func(*args, **(kwargs or {}))
            listener(getattr(func, "__name__", ""), args, result)
            return result

    return Listening()


def _is_norm(module: torch.nn.Module) -> bool:
    """Whether a module is a batch norm, merged by exporters into the layer before."""
    import torch

    return isinstance(module, torch.nn.modules.batchnorm._BatchNorm)


def _tensors(value: Any, part: str = "") -> Iterator[tuple[str, torch.Tensor]]:
    """Every tensor in a module's arguments or outputs, with the path inside the structure.

    The attribute `tensors` represents other objects, such as torchvision's batches of images.
    """
    import torch

    if isinstance(value, torch.Tensor):
        yield part, value
    elif isinstance(value, Mapping):
        for key, inner in value.items():
            yield from _tensors(inner, f"{part}[{key}]")
    elif isinstance(value, (tuple, list)):
        for number, inner in enumerate(value):
            yield from _tensors(inner, f"{part}[{number}]" if len(value) > 1 else part)
    elif isinstance(held := getattr(value, "tensors", None), torch.Tensor):
        yield f"{part}.tensors", held


def _copied(value: torch.Tensor) -> Any:
    """A numpy copy of the current values: a later module may write to the tensor."""
    import torch

    detached = value.detach()
    narrow = detached.dtype in (torch.bfloat16, torch.float16)
    return (detached.float() if narrow else detached).cpu().clone().numpy()
