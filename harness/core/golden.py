"""A backend that supplies reference outputs and weights."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

from harness.core.backend import Backend
from harness.core.session import Session
from harness.core.types import Model, TensorSpec


class Golden(Backend):
    """A backend that others are judged against, and that knows how to make a model's weights real."""

    kind: ClassVar[str] = "reference"
    """What a verdict calls it, such as `float64 torch eager`."""
    samples: ClassVar[str] = ""
    """Late name of what makes the inputs of a user's own model from the example inputs that its
    `build` returned, as `inputs_from` does; empty where there is no such thing."""
    calibration: ClassVar[str] = ""
    """The same for the samples that int8-static is calibrated on."""
    yardstick: ClassVar[str] = ""
    """The backend whose own error at a precision measures what that precision costs; empty where
    there is none.
    """

    def kind_of(self, session: Session) -> str:
        """What a verdict of this session calls it, where that depends on the model; `kind`
        otherwise.
        """
        return self.kind

    def work(self, session: Session) -> Mapping[str, Any]:
        """How much one step of this golden's session, which is bound, computes and has to read;
        empty where that is not counted.

        `flops` as `rule` says (None where nothing could be counted, and `why_not`), `by_operator`,
        what is `uncounted`; `weights`, the elements that every step reads, and `weight_bytes` as
        they are stored, or None.
        """
        return {}

    @abstractmethod
    def weights_key(self, model: Model) -> Mapping[str, Any] | None:
        """What decides the weights, known without building the model; None where only building it
        can tell.
        """

    @abstractmethod
    def materialise(
        self, model: Model, batches: Mapping[str, Path], folder: Path
    ) -> Mapping[str, Any]:
        """Make the weights in `folder`; returns facts with at least `sha256` of their values and
        `note` in words.

        `code` in the facts maps the source files that the model was built from to their sha256
        (`harness.core.source_digests`), so that a change of code is a miss.
        """

    @abstractmethod
    def describe(self, model: Model) -> tuple[Sequence[TensorSpec], Sequence[TensorSpec]]:
        """The inputs and outputs of a user's own model that declares none."""
