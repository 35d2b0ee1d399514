"""The executed precision of an ONNX file in the original form."""

from __future__ import annotations

from collections.abc import Collection

NARROW = ("fp16", "bf16", "int8")
"""Precisions whose files a runtime may compute in fp32, with less memory than an fp32 file."""

FILE_PRECISIONS = ("fp16", "bf16", "fp64", "int8")
"""The precisions of unconverted files, beside fp32."""


def executed(requested: str, ran: Collection[str], in_file: Collection[str]) -> tuple[str, str]:
    """The executed precision, and a note if the arithmetic is wider than the file.

    `ran` are the precisions of the executed layers, `in_file` the precisions of the file.
    A file is unchanged if every executed layer has a precision of the file.
    """
    if set(ran) <= set(in_file) or (requested in NARROW and requested in ran):
        return requested, ""
    if requested in NARROW and set(ran) == {"fp32"}:
        return requested, f"the file stores {requested}; the arithmetic runs in fp32"
    return ",".join(sorted(ran)), ""
