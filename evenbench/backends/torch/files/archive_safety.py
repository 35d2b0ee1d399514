"""Code that torch would run for a stranger's archive, found without running the code.

`torch.export.load` falls back to full unpickling, gives the text of symbolic sizes to sympy, which
evaluates the text as Python, and looks up the target of a node among all that torch imports.
TorchScript can write files. This module reads an archive's pickles as opcodes and all else as text,
so a stranger's file is refused before torch sees it.
"""

from __future__ import annotations

import io
import json
import os
import pickletools
import re
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from evenbench.backends.torch.files import graph_targets, script_safety
from evenbench.harness import UsageError

TRUST = "EVENBENCH_TRUST"
"""The variable behind `--trust`, inherited by workers."""

SAFE_GLOBALS = re.compile(
    r"torch\._utils _rebuild_(tensor|tensor_v2|tensor_v3|parameter|qtensor|sparse_tensor)"
    r"|torch (\w+Storage|Size|device|b?float\d*|u?int\d+|bool|double|half|long|short)"
    r"|torch\.storage (UntypedStorage|TypedStorage)|torch\.serialization _get_layout"
    r"|collections OrderedDict"
)
"""Names that a pickle of tensors may import: those that torch's own restricted reader knows."""

OPAQUE = ("STACK_GLOBAL", "INST", "OBJ", "NEWOBJ_EX", "EXT1", "EXT2", "EXT4")
"""Opcodes of pickle that import or call by other means than GLOBAL; torch writes none of them."""

NAMES = """
Symbol Integer Float Rational Add Mul Pow Mod Max Min Abs Eq Ne Lt Le Gt Ge And Or Not Xor
StrictLessThan LessThan StrictGreaterThan GreaterThan Equality Unequality Piecewise ExprCondPair
floor ceiling sqrt log log2 exp Identity Where FloorDiv CeilDiv CleanDiv ModularIndexing PythonMod
IntTrueDiv FloatTrueDiv FloorToInt CeilToInt TruncToInt TruncToFloat RoundToInt RoundDecimal
ToFloat PowByNatural FloatPow BitwiseFn_bitwise_and BitwiseFn_bitwise_or LShift RShift
IsNonOverlappingAndDenseIndicator oo int_oo zoo nan E pi true false True False positive negative
nonnegative nonpositive integer real finite infinite zero nonzero even odd prime rational
irrational commutative complex imaginary extended_real extended_positive extended_negative
extended_nonnegative extended_nonpositive extended_nonzero hermitian evaluate
"""

SAFE_WORDS = frozenset(NAMES.split())
"""Names in the text of a symbolic size, beside symbols such as `s77`."""

TENSOR = re.compile(r"(tensor|weight|param)_\d+$")
"""Members with plain numbers; members of other names are unpickled."""

SYMBOL = re.compile(r"[a-z]{1,4}\d+")
WORD = re.compile(r"[^\W\d]\w*")
QUOTED = re.compile(r"'\w+'|\"\w+\"")
FORBIDDEN = re.compile(r"__|\b(import|eval|exec|open|lambda|compile|getattr|globals|os|sys)\b")
"""Parts of Python that no guard on sizes has."""

EXPRESSION = re.compile(r"[\w\s+\-*/%(),.=<>!&|~]*")


def check(file: Path) -> None:
    """Raise UsageError for a file with code that torch would run, unless the user trusts files.

    A file that is no archive passes; torch then says what the file is.
    """
    if os.environ.get(TRUST) == "1":
        return
    if not zipfile.is_zipfile(file):
        return
    try:
        with zipfile.ZipFile(file) as archive:
            danger = next(_dangers(archive), "")
    except Exception as error:  # zipfile raises errors of many types
        raise UsageError(
            f"{file} is a damaged archive ({type(error).__name__}: {error}); export it again"
        ) from error
    if danger:
        raise UsageError(
            f"{file} can run code of its own when torch reads or runs it ({danger}); export the "
            "model again, or allow the code with --trust if you know where the file comes from"
        )


def _dangers(archive: zipfile.ZipFile) -> Iterator[str]:
    for entry in archive.infolist():
        name = entry.filename.partition("/")[2] or entry.filename
        if name.endswith("_config.json") or name.startswith("models/"):
            yield from (f"{name}: {reason}" for reason in _in_text(archive.read(entry)))
        elif name.startswith("data/") and name.endswith(".pt"):
            yield from (f"{name}: {reason}" for reason in _in_tensors(archive.read(entry)))
        elif name.startswith("code/") and name.endswith(".py"):
            yield from (
                f"{name}: {reason}" for reason in script_safety.in_code(archive.read(entry))
            )
        elif name.endswith(".pkl"):
            reasons = script_safety.in_objects(archive.read(entry))
            yield from (f"{name}: {reason}" for reason in reasons)


def _in_text(content: bytes) -> Iterator[str]:
    try:
        value = json.loads(content)
        yield from _in_value(value)
    except (ValueError, RecursionError):
        yield "no JSON"


def _in_value(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        if value.get("use_pickle"):
            yield "a weight is a pickle"
        if not TENSOR.match(str(value.get("path_name", "tensor_0"))):
            yield f"a constant is the object {str(value['path_name'])[:80]!r}"
        if {"target", "inputs", "outputs"} <= value.keys():
            yield from graph_targets.dangers(value["target"])
        expression = value.get("expr_str", "")
        if not _is_plain(expression):
            yield f"a size is {str(expression)[:80]!r}"
        for code in value.get("guards_code") or ():
            if FORBIDDEN.search(str(code)):
                yield f"a guard is {str(code)[:80]!r}"
        for item in value.values():
            yield from _in_value(item)
    elif isinstance(value, list):
        for item in value:
            yield from _in_value(item)


def _is_plain(expression: object) -> bool:
    """Whether the text of a size has numbers, symbols and known functions only."""
    if not isinstance(expression, str):
        return False
    unquoted = QUOTED.sub("", expression)
    words = WORD.findall(re.sub(r"\d+(\.\d*)?(e[+-]?\d+)?", "0", unquoted))
    return (
        EXPRESSION.fullmatch(unquoted) is not None
        and re.search(r"\.\s*[^\W\d]|__", unquoted) is None
        and all(word in SAFE_WORDS or SYMBOL.match(word) for word in words)
    )


def _in_tensors(content: bytes) -> Iterator[str]:
    """Dangers in a file of `torch.save`."""
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as inner:
            pickles = [inner.read(name) for name in inner.namelist() if name.endswith(".pkl")]
    except (zipfile.BadZipFile, EOFError):
        pickles = [content]  # the form of old versions: a bare pickle
    for pickled in pickles:
        yield from _in_pickle(pickled)


def _in_pickle(pickled: bytes) -> Iterator[str]:
    try:
        for opcode, argument, _ in pickletools.genops(pickled):
            if opcode.name in OPAQUE:
                yield f"a pickle with {opcode.name}"
            elif opcode.name == "GLOBAL" and not SAFE_GLOBALS.fullmatch(str(argument)):
                yield f"a pickle that imports {str(argument).replace(' ', '.')}"
    except Exception:  # pickletools raises errors of many types
        yield "a damaged pickle"
