"""The outputs of a module's own modules, kept by forward hooks as it runs: by name, in the order in which they were done."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator, Mapping
from typing import TYPE_CHECKING, Any

from backends import torch_precision
from harness import Attestation, Session
from harness.backend import Within

if TYPE_CHECKING:
    import torch

    from harness.backend import Arrays


class WatchedSession(Session):
    """A session whose `fetch` also has what its modules made. It may be stepped once for each `fetch`."""

    def __init__(self, session: Session, module: torch.nn.Module, only: Collection[str] | None = None) -> None:
        self.session, self.only = session, only
        self.within: list[Within] = []
        self.kept: dict[str, Any] = {}
        self.made_by: dict[int, str] = {}
        self.alive: list[Any] = []
        self.calls: Counter[str] = Counter()
        inner = torch_precision.without_casts(module)
        self.handles = [part.register_forward_hook(self._hook(name)) for name, part in inner.named_modules() if name]

    def bind(self, inputs: Arrays) -> None:
        self.session.bind(inputs)

    def step(self) -> None:
        self.within, self.kept, self.made_by, self.alive, self.calls = [], {}, {}, [], Counter()
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

    def _hook(self, module_name: str) -> Any:
        def keep(module: torch.nn.Module, inputs: Any, output: Any) -> None:
            read = tuple(self.made_by[id(value)] for _, value in _tensors(inputs) if id(value) in self.made_by)
            for part, value in _tensors(output):
                name = self._free(module_name + part)
                self.made_by[id(value)] = name
                self.alive.append(value)  # so that no later tensor gets its number
                if self.only is None or name in self.only:
                    self.within.append(Within(name, type(module).__name__, read))
                    self.kept[name] = _copied(value)

        return keep

    def _free(self, name: str) -> str:
        """The name of this call: a module that is called again is told apart by a number."""
        self.calls[name] += 1
        return name if self.calls[name] == 1 else f"{name}#{self.calls[name]}"


def _tensors(value: Any, part: str = "") -> Iterator[tuple[str, torch.Tensor]]:
    """Every tensor of a module's arguments or answer, with where in it it stands."""
    import torch

    if isinstance(value, torch.Tensor):
        yield part, value
    elif isinstance(value, Mapping):
        for key, inner in value.items():
            yield from _tensors(inner, f"{part}[{key}]")
    elif isinstance(value, (tuple, list)):
        for number, inner in enumerate(value):
            yield from _tensors(inner, f"{part}[{number}]" if len(value) > 1 else part)


def _copied(value: torch.Tensor) -> Any:
    """As numpy, as it is now: a later module may write into it."""
    import torch

    there = value.detach()
    wide = there.float() if there.dtype in (torch.bfloat16, torch.float16) else there
    return wide.cpu().clone().numpy()
