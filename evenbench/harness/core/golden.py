"""The interface of backends with reference outputs and weights."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

from evenbench.harness.core.backend import Backend
from evenbench.harness.core.session import Session
from evenbench.harness.core.types import Model, TensorSpec


class Golden(Backend):
    """A backend that supplies reference outputs, and materialises a model's weights."""

    kind: ClassVar[str] = "reference"
    """The golden's name in verdicts, such as `float64 torch eager`."""
    samples: ClassVar[str] = ""
    """Late name of a function like `inputs_from`, for a user's own model; empty if unsupported.

    The function makes inputs from the example inputs returned by `build`.
    """
    calibration: ClassVar[str] = ""
    """The same as `samples`, for int8-static's calibration."""
    yardstick: ClassVar[str] = ""
    """The backend whose error at a precision is the precision's cost; empty for none."""

    def kind_of(self, session: Session) -> str:
        """The golden's name in this session's verdicts, if the model matters; `kind` otherwise."""
        return self.kind

    def work(self, session: Session) -> Mapping[str, Any]:
        """Operations and bytes of one step of a bound session; empty if not counted.

        `flops` by `rule` (None if nothing could be counted, see `why_not`), `by_operator`, and
        `uncounted` operators; `weights`, the elements read by every step, and `weight_bytes` as
        stored, or None.
        """
        return {}

    @abstractmethod
    def weights_key(self, model: Model) -> Mapping[str, Any] | None:
        """Facts behind the weights, without building the model; None if only a build can tell."""

    @abstractmethod
    def materialise(
        self, model: Model, batches: Mapping[str, Path], folder: Path
    ) -> Mapping[str, Any]:
        """Create the weights in `folder`. Returns facts: `sha256` of the values, and a `note`.

        `code` in the facts maps the portable names of source files to their sha256
        (`harness.core.build_sources`), so a code change is a cache miss.
        """

    @abstractmethod
    def describe(self, model: Model) -> tuple[Sequence[TensorSpec], Sequence[TensorSpec]]:
        """The inputs and outputs of a user's own model without declared tensors."""

    def examples(self, model: Model) -> Mapping[str, Any]:
        """Facts of the inputs that `describe` tried, for a model described in this process.

        `given`: whether `build` returned example inputs; `first_size`: their common first size, or
        0. Empty for a golden of models with declared shapes.
        """
        return {}
