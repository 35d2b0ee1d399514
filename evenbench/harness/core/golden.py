"""The interface of backends with reference outputs and weights."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from evenbench.harness.core.backend import Backend
from evenbench.harness.core.session import Session
from evenbench.harness.core.tensor_specs import TensorSpec
from evenbench.harness.core.types import Cell, Model


@dataclass(frozen=True)
class Judge:
    """An implementation for the right outputs of a model.

    `load` takes the folder of the golden's artifact. Judges of one `source` are not independent.
    """

    name: str
    source: str
    load: Callable[[Path], Session]
    yardstick: Callable[[Path], Session] | None = None
    """Loads the same implementation in the file's own precision, if it shows the precision's cost;
    None for the golden's `yardstick`.
    """
    seconds: float | None = None
    """The time limit beside a judge that answered; None for no limit."""
    is_witness: bool = False
    """Heard only where the others disagree, or only one of them has an opinion."""


TOLD_APART: Mapping[str, tuple[str, ...]] = {
    "bf16": ("fp16",),
    "fp16": ("bf16",),
    "int8-dynamic": ("bf16", "fp16"),
    "int8-static": ("bf16", "fp16"),
}
"""By precision, the precisions that a runtime may have used instead, whose yardsticks run too."""


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

    def judges(self, cell: Cell) -> Sequence[Judge]:
        """The judges of the cell's model in order of preference; empty for this backend alone.

        Several judges form a committee: the opinion of the majority is the golden.
        """
        return ()

    def judges_key(self, cell: Cell) -> Mapping[str, Any]:
        """Facts about the committee that decide the golden; empty for this backend alone."""
        return {}

    def doubts(self, folder: Path, cell: Cell) -> str:
        """A likely cause in the model for a disagreement of judges, or an empty string."""
        return ""

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

    def described(self, model: Model) -> Mapping[str, Any]:
        """The `inputs` and `outputs` of a user's own model, and optional facts.

        `inputs_from`, `calibration_from` and `arguments` are fields of the model; `batch` is a
        batch size fixed by data; `notes` are sentences for the user.
        """
        return dict(zip(("inputs", "outputs"), self.describe(model), strict=True))

    @abstractmethod
    def describe(self, model: Model) -> tuple[Sequence[TensorSpec], Sequence[TensorSpec]]:
        """The inputs and outputs of a user's own model without declared tensors."""

    def examples(self, model: Model) -> Mapping[str, Any]:
        """Facts of the inputs that `describe` tried, for a model described in this process.

        `given`: whether `build` returned example inputs; `first_size`: their common first size, or
        0. Empty for a golden of models with declared shapes.
        """
        return {}
