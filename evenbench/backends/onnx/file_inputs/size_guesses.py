"""Guesses for free dimensions, from the name, the place and the neighbours of a dimension."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence

from evenbench.backends.onnx.file_inputs.declared import Declared

CHANNELS = (1, 3, 4)

RULES: Mapping[str, tuple[tuple[int, ...], str]] = {
    "past": ((16, 0, 1), "a short past"),
    "channels": ((3, 1, 4), "channels of an image"),
    "side": ((224, 640, 320, 512, 48, 32), "side of an image, a multiple of 32"),
    "audio": ((16000, 512, 8000, 48000), "a second of audio at 16 kHz"),
    "frames": ((100, 3000, 16, 1), "a second of frames of 10 ms"),
    "tokens": ((128, 512, 16, 1, 16000), "tokens"),
    "other": ((16, 1, 8, 32, 64, 128), "no hint in the file"),
}
"""By kind of dimension: sizes to try, the first first, and the reason in words."""

WORDS: Mapping[str, re.Pattern[str]] = {
    "past": re.compile(r"past|cache|history|memory", re.I),
    "channels": re.compile(r"chan|(^|[^a-z])c([^a-z]|$)", re.I),
    "side": re.compile(r"height|width|(^|[^a-z])[hw]([^a-z]|$)|image_?size|pixel", re.I),
    "audio": re.compile(r"audio|wav|pcm|speech|signal|samples|sample_?len", re.I),
    "frames": re.compile(r"frame|time|mel|feat|(^|[^a-z])t([^a-z]|$)", re.I),
    "tokens": re.compile(r"seq|token|length|len([^a-z]|$)|words?([^a-z]|$)|position", re.I),
}
"""Words in the name of a dimension, or else of its input, by kind. Order is that of RULES."""

STATE = re.compile(r"state|hidden|cell|(^|_)[hc][0n]?(_|$)", re.I)
"""Names of inputs with a recurrent state [layers, batch, size]."""

RATE = re.compile(r"(^|_)(sr|sample_?rate|sampling_?rate)$", re.I)
"""Names of inputs with the sampling rate of audio."""


def explains(declared: Declared, shape: Sequence[int | str]) -> bool:
    """Whether the name of the first dimension says other things than batch, such as `seq_len`."""
    first = str(shape[0])
    return bool(first) and any(
        WORDS[kind].search(first) for kind in ("past", "side", "audio", "frames", "tokens")
    )


def is_state(declared: Declared) -> bool:
    """Whether an input is a recurrent state with an anonymous size for the batch, at axis 1."""
    shape = declared.shape or ()
    return (
        len(shape) == 3
        and shape[1] == ""
        and isinstance(shape[0], int)
        and isinstance(shape[2], int)
        and bool(STATE.search(declared.name))
    )


def guess(
    declared: Declared,
    shape: Sequence[int | str],
    axis: int,
    inputs: Sequence[Declared],
    attempt: int = 0,
) -> tuple[int, str]:
    """A size for an axis and the reason. `attempt` counts the guesses that failed before."""
    kind = _kind(declared, shape, axis, inputs)
    sizes, reason = RULES[kind]
    place = min(attempt, len(sizes) - 1)
    return sizes[place], reason if place == 0 else "accepted in a trial run"


def attempts() -> int:
    """The number of different guesses."""
    return max(len(sizes) for sizes, _ in RULES.values())


def total(name: str, size_of: Callable[[str], int | None]) -> int | None:
    """The size of a name such as `past_sequence_length + sequence_length`; None for plain names."""
    if "+" not in name:
        return None
    parts = [part.strip() for part in name.split("+")]
    sizes = [int(part) if part.isdigit() else size_of(part) for part in parts]
    return None if None in sizes else sum(size for size in sizes if size is not None)


def _kind(
    declared: Declared, shape: Sequence[int | str], axis: int, inputs: Sequence[Declared]
) -> str:
    name = str(shape[axis])
    by_name = next((kind for kind in WORDS if name and WORDS[kind].search(name)), "")
    is_picture = len(shape) >= 3 and not declared.is_integer
    if is_picture and _is_side(shape, axis):
        return "side"
    if by_name in ("frames", "tokens") and declared.is_integer:
        return "tokens"
    is_last = axis == len(shape) - 1
    is_signal = not declared.is_integer and is_last and len(shape) <= 2
    if is_signal and any(RATE.search(other.name) for other in inputs):
        return "audio"
    if by_name:
        return by_name
    if len(shape) >= 4 and axis == len(shape) - 3:
        return "channels"
    if is_signal and WORDS["audio"].search(declared.name):
        return "audio"
    if declared.is_integer:
        return "tokens" if len(shape) >= 2 else "other"
    by_input = next((kind for kind in WORDS if WORDS[kind].search(declared.name)), "")
    return by_input if by_input in ("past", "audio", "frames", "tokens") else "other"


def _is_side(shape: Sequence[int | str], axis: int) -> bool:
    """Whether an axis is the height or width of a picture: channels first or last."""
    rank = len(shape)
    if _says_other(shape[axis]):
        return False
    sides_last, sides_middle = range(rank - 2, rank), range(rank - 3, rank - 1)
    if rank >= 4 and axis in sides_last and (shape[-3] in CHANNELS or shape[-3] == ""):
        return True
    if rank >= 4 and axis in sides_last and all(isinstance(shape[i], str) for i in sides_last):
        return True
    if shape[-1] in CHANNELS and axis in sides_middle and rank >= 3:
        return all(isinstance(shape[i], str) for i in sides_middle) or rank >= 4
    if rank == 3 and shape[0] in CHANNELS and axis in sides_last:
        return all(isinstance(shape[i], str) for i in sides_last)
    return False


def _says_other(name: int | str) -> bool:
    kinds = ("past", "audio", "frames", "tokens")
    return any(WORDS[kind].search(str(name)) for kind in kinds)
