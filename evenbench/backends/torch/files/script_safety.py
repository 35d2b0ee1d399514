"""Dangers in TorchScript archives: code that reads or writes files, and objects of C++ classes.

TorchScript cannot start programs, but `torch.save` and `torch.from_file` in its code open any file
of the user, and a class registered in C++ may load a library. Code runs with the first call, and
`__setstate__` while the archive is read.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

FILES = re.compile(r"\b(save|from_file)\b")
"""Operators with the name of a file, whatever the name of the module in front."""

LOOKUP = re.compile(r"\bgetattr\b(?!\([^\"'\n]*, \"[^\"\\\n]*\"\))")
"""A look-up of an attribute in another form than torch writes."""

CLASSES = re.compile(rb"__torch__\.torch\.classes\.([\w.]+)")
SAFE_CLASSES = re.compile(rb"(quantized|_quantized|rnn|sparse|xnnpack|mkldnn|mkl|vulkan)\.\w+")
"""Classes with packed weights."""


def in_code(content: bytes) -> Iterator[str]:
    """Dangers in a source file of the archive."""
    text = content.decode(errors="replace")
    for line in text.splitlines():
        if FILES.search(line):
            yield f"the code reads or writes files: {line.strip()[:80]!r}"
        if LOOKUP.search(line):
            yield f"the code looks up a name: {line.strip()[:80]!r}"
    yield from in_objects(content)


def in_objects(content: bytes) -> Iterator[str]:
    """Objects of C++ classes in a source file or a pickle, other than packed weights."""
    for match in CLASSES.finditer(content.replace(b"\n", b".")):  # as torch joins a class's name
        if not SAFE_CLASSES.match(match[1]):
            yield f"an object of the C++ class {match[1].decode()[:80]!r}"
