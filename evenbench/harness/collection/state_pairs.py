"""The state of a user's own model: from `--state`, or guessed by the names of tensors."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from evenbench.harness.core import stream_state
from evenbench.harness.core.errors import UsageError
from evenbench.harness.core.tensor_specs import TensorSpec

NONE = "none"
"""The value of `--state` for a model without state, whatever its names."""

SUBJECT = re.compile(
    "h|c|hx|cx|hc|states?|hidden|cell|caches?|buffers?|memory|mem|rnn|lstm|gru|context|carry"
)
"""The name of a state has at least one of these words."""

TIME = re.compile(
    "in|out|input|output|prev(ious)?|past|present|old|new|next|current|init(ial)?|n|t"
)
"""Words for the time of a state, before or after the step."""

Tensors = Sequence[TensorSpec]


def find(target: str, texts: Sequence[str], inputs: Tensors, outputs: Tensors) -> dict[str, str]:
    """The output by the input with the value, from `IN=OUT` texts, or guessed without texts.

    Raises UsageError for another form, unknown names, and tensors of other shapes.
    """
    if not texts:
        return guessed(inputs, outputs)
    if tuple(texts) == (NONE,):
        return {}
    pairs: dict[str, str] = {}
    for text in texts:
        name, equals, source = text.partition("=")
        if not (name and equals and source) or name in pairs:
            raise UsageError(
                f"--state {text!r} is no pair, or its input is given twice; expected INPUT=OUTPUT "
                f"such as h_in=h_out, or {NONE} alone"
            )
        pairs[name] = source
    problem = stream_state.problem(pairs, inputs, outputs)
    if problem:
        raise UsageError(f"{target}: --{problem}")
    return pairs


def guessed(inputs: Tensors, outputs: Tensors) -> dict[str, str]:
    """The pairs of an input and an output with equal subject, shape and type.

    An input or output in two pairs is in none.
    """
    pairs = [
        (before.name, after.name)
        for before in inputs
        for after in outputs
        if (before.shape, before.dtype) == (after.shape, after.dtype)
        and _subject(before.name)
        and _subject(before.name) == _subject(after.name)
    ]
    names = [name for pair in pairs for name in pair]
    return {
        before: after
        for before, after in pairs
        if names.count(before) == (2 if before == after else 1) and names.count(after) == 1
    }


def _subject(name: str) -> tuple[str, ...]:
    """The words of a name without its time; empty if no word speaks of state.

    `h_in`, `hn`, `h0`, `new_h` and `h_out` have the subject h; `stateN` has the subject state.
    """
    words = re.findall(r"[a-z]+|[A-Z]+(?![a-z])|[A-Z][a-z]*|\d+", name)
    parts = [_base(word.lower()) for word in words if word != "0"]
    kept = tuple(word for word in parts if not TIME.fullmatch(word))
    return kept if any(map(SUBJECT.fullmatch, kept)) else ()


def _base(word: str) -> str:
    """`hn` and `cn` are the last values of h and c."""
    return word[0] if word in ("hn", "cn") else word


def note(state: Mapping[str, str], is_guessed: bool) -> str:
    """The sentence on a state, or an empty string."""
    if not state:
        return ""
    pairs = ", ".join(f"{name} gets {source}" for name, source in state.items())
    origin = f", guessed by name (--state {NONE} if not)" if is_guessed else ""
    return f"state: {pairs} of the step before{origin}"
