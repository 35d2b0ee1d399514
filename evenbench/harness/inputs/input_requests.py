"""The user's facts about the inputs of an undeclared model: sizes, ranges, batches and files.

The facts travel to a worker as arguments of the model, each as JSON.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from evenbench.harness.core.errors import UsageError
from evenbench.harness.core.types import Model

ABSENT = "absent"
"""The rule, and its word in `--range`, of an optional input without a value."""

KEY = "requested_inputs"
"""The model argument with a request."""

NUMBER = r"[-+]?\d+(?:\.\d+)?(?:[eE][-+]?\d+)?"
RANGE = re.compile(rf"({NUMBER})\.\.({NUMBER})")
SIZES = re.compile(r"\d+(x\d+)*")


@dataclass(frozen=True)
class InputRequest:
    """Sizes by dimension, place or input; rules of made-up values by input; batches; files.

    `batches` are the batch sizes of `--batch`. `files` are absolute paths of `--inputs`, or of test
    data found beside the model (`is_found`).
    """

    dims: Mapping[str, Sequence[int]] = field(default_factory=dict)
    ranges: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    batches: Sequence[int] = ()
    files: Sequence[str] = ()
    is_found: bool = False
    photo: Sequence[int] = ()
    """The shape of the only input, a photo after its recipe; empty without photos."""

    @property
    def arguments(self) -> dict[str, str]:
        """The request as arguments of a model."""
        return {KEY: json.dumps(asdict(self))}


def of_model(model: Model) -> InputRequest:
    """The request in a model's arguments; an empty request for other models."""
    return InputRequest(**json.loads(model.arguments.get(KEY, "{}")))


def dims(texts: Sequence[str]) -> dict[str, list[int]]:
    """The sizes in `NAME=N` texts; `N` is a number, or 1x16 for a whole input.

    Raises UsageError for other texts, and for a name with two sizes.
    """
    sizes: dict[str, list[int]] = {}
    for text in texts:
        name, equals, written = text.rpartition("=")
        if not (name and equals and SIZES.fullmatch(written)):
            raise UsageError(
                f"--dim {text!r} is no size; expected NAME=N such as seq=128, a place such as "
                "ids.1=128, or a whole input such as ids=1x128"
            )
        _once(sizes, name, "--dim")
        sizes[name] = [int(size) for size in written.split("x")]
    return sizes


def ranges(texts: Sequence[str]) -> dict[str, dict[str, Any]]:
    """The rules of `harness.inputs.made_up_samples` in texts such as `ids=0..9` or `axes=0,1`.

    Raises UsageError for other texts, and for a name with two rules.
    """
    rules: dict[str, dict[str, Any]] = {}
    for text in texts:
        name, equals, written = text.rpartition("=")
        rule = _rule(written) if name and equals else None
        if rule is None:
            raise UsageError(
                f"--range {text!r} is no range; expected NAME=LOW..HIGH such as ids=0..30521, both "
                "ends included, or values such as rate=16000 or axes=0,1"
            )
        _once(rules, name, "--range")
        rules[name] = rule
    return rules


def _rule(written: str) -> dict[str, Any] | None:
    if written == ABSENT:
        return {ABSENT: True}
    match = RANGE.fullmatch(written)
    if match:
        low, high = map(_number, match.groups())
        return {"low": low, "high": high} if low <= high else None
    parts = written.split(",")
    if all(re.fullmatch(NUMBER, part) for part in parts):
        return {"values": [_number(part) for part in parts]}
    return None


def _number(text: str) -> int | float:
    return int(text) if re.fullmatch(r"[-+]?\d+", text) else float(text)


def _once(known: Mapping[str, Any], name: str, flag: str) -> None:
    if name in known:
        raise UsageError(f"{flag} {name} is given twice; give it once")


def beside(file: Path) -> list[str]:
    """The folder of a model, as files of a request, if ONNX test data lie in it; else empty."""
    folder = file.resolve().parent
    return [str(folder)] if any(folder.glob("test_data_set_*/input_*.pb")) else []
