"""Functions that the nodes of an exported program may call.

torch looks up the dotted name of a node's target from the modules `torch`, `math` and `_operator`,
so a name such as `torch.serialization.os.system` would be called with the node's arguments.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

OPERATOR = re.compile(r"torch\.ops\.(?P<space>[a-z]\w*)\.(?P<name>[a-z_]\w*)(\.[A-Za-z_]\w*)?")
"""An operator of torch or of an installed package, with its overload."""

ARITHMETIC = re.compile(
    r"_operator\.(eq|ne|[lg][et]|neg|pos|mul|add|sub|floordiv|truediv|mod|pow|and_|or_|[lr]shift"
    r"|getitem)"
    r"|math\.(trunc|ceil|floor|sqrt|pow)|torch\._?sym_[a-z]\w*"
)
"""Functions on sizes."""

FILES = frozenset({"save", "from_file", "load_library", "import_module"})
"""Operators with the name of a file or module as an argument."""

HIGHER_ORDER = frozenset(
    {
        *("cond", "while_loop", "scan", "associative_scan", "map", "map_impl", "strict_mode"),
        *("wrap", "wrap_with_set_grad_enabled", "wrap_with_autocast", "hints_wrapper"),
        *("flex_attention", "invoke_subgraph"),
    }
)
"""Operators on parts of the graph; others call compiled code."""


def dangers(target: object) -> Iterator[str]:
    """The target, unless it is a known kind of function on tensors and sizes."""
    text = str(target)
    operator = OPERATOR.fullmatch(text)
    if "__" in text or not (operator or ARITHMETIC.fullmatch(text)):
        yield f"a node calls {text[:80]!r}"
    elif operator and operator["space"] == "higher_order":
        if operator["name"] not in HIGHER_ORDER:
            yield f"a node calls {text[:80]!r}"
    elif operator and operator["name"] in FILES:
        yield f"a node reads or writes a file by {text[:80]!r}"
