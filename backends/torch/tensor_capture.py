"""What a module's own modules return, kept by forward hooks as it runs, and what a few functions
make between them: by name, in order.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any

from backends import module_scopes
from backends.torch import precision
from harness import Attestation, Session
from harness.core.intermediate_tensors import Within

if TYPE_CHECKING:
    import torch

    from harness.core.session import Arrays

FOLDING = ("Conv", "Linear")
"""What the classes begin with into which exporters fold the batch norm behind."""


class WatchedSession(Session):
    """A session whose `fetch` also has what its modules and the landmarks between them made. It may
    be stepped once for each `fetch`.

    `only` names what is kept (None: all); `taken` are names that are none of these tensors.
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
        self.made_by: dict[int, str] = {}
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
            above = [module_scopes.step(name) for name, _ in self.running if name]
            steps = [*above, module_scopes.step(module_name)] if module_name else above
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

    def _called(self, function: str, arguments: Any, made: Any) -> None:
        """One of the landmarks, called by the module that is running."""
        if self.running and function in module_scopes.FUNCTIONS:
            name, path = self.running[-1]
            places = tuple(module_scopes.landmark(place, function) for place in (path, name))
            self._keep(places[1], function, arguments, made, places)

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
            self.made_by[id(value)] for _, value in _tensors(inputs) if id(value) in self.made_by
        )
        folds = is_norm and len(read) == 1 and self.operators[read[0]].startswith(FOLDING)
        for part, value in _tensors(output):
            before = self.made_by.get(id(value), "")
            called = self._free(name + part)
            self.made_by[id(value)] = called
            self.operators[called] = operator
            self.alive.append(value)  # so that no later tensor gets its number
            if self.only is not None and called not in self.only:
                continue
            self.kept[called] = _copied(value)
            if before.startswith(f"{name}:"):
                self._drop(before)  # what the module returns is the landmark itself
            where = () if self._is_known(before, called) else places
            self.within.append(
                Within(called, operator, read, places=where, folded_into=read[0] if folds else "")
            )

    def _drop(self, name: str) -> None:
        self.kept.pop(name, None)
        self.within = [each for each in self.within if each.name != name]

    def _is_known(self, before: str, called: str) -> bool:
        """Whether the tensor was returned by a module within already, as `before`, and nothing has
        written to it since.
        """
        import numpy as np

        return before in self.kept and np.array_equal(self.kept[before], self.kept[called])

    def _free(self, name: str) -> str:
        """The name of this call: a module that is called again is told apart by a number."""
        self.calls[name] += 1
        return name if self.calls[name] == 1 else f"{name}#{self.calls[name]}"


def _calls(tell: Any) -> AbstractContextManager[Any]:
    """While it is entered, `tell(name, arguments, result)` hears of every function of PyTorch that
    Python code calls.
    """
    from torch.overrides import TorchFunctionMode

    class Listening(TorchFunctionMode):
        """Hands on what was called, and its answer."""

        def __torch_function__(
            self,
            func: Any,
            types: Any,
            args: Sequence[Any] = (),
            kwargs: Mapping[str, Any] | None = None,
        ) -> Any:
            made = func(*args, **(kwargs or {}))
            tell(getattr(func, "__name__", ""), args, made)
            return made

    return Listening()


def _is_norm(module: torch.nn.Module) -> bool:
    """Whether it is a batch norm, which exporters merge into the layer before it."""
    import torch

    return isinstance(module, torch.nn.modules.batchnorm._BatchNorm)


def _tensors(value: Any, part: str = "") -> Iterator[tuple[str, torch.Tensor]]:
    """Every tensor of a module's arguments or answer, with where in it it stands. A batch of images
    is what it holds as `tensors`.
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
    """As numpy, as it is now: a later module may write into it."""
    import torch

    there = value.detach()
    wide = there.float() if there.dtype in (torch.bfloat16, torch.float16) else there
    return wide.cpu().clone().numpy()
