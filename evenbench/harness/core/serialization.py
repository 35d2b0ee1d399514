"""Values as plain JSON, and digests of values."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping
from dataclasses import fields
from typing import Any


def to_json(value: Any) -> Any:
    """`value` as plain JSON types. Dataclasses become objects; recipe steps keep the class name."""
    if hasattr(value, "__dataclass_fields__"):
        plain = {item.name: to_json(getattr(value, item.name)) for item in fields(value)}
        return (
            {"step": type(value).__name__, **plain}
            if getattr(type(value), "is_step", False)
            else plain
        )
    if isinstance(value, Mapping):
        return {str(key): to_json(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [to_json(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None  # JSON has neither NaN nor infinity
    return value


def read(text: str) -> Any:
    """`text` as a number, a boolean or another JSON value, as in options; else the text itself."""
    try:
        return json.loads(text)
    except ValueError:
        return {"True": True, "False": False}.get(text, text)


def digest(value: Any) -> str:
    """sha256 (64 hex digits) of `value` as canonical JSON."""
    return hashlib.sha256(
        json.dumps(to_json(value), sort_keys=True, separators=(",", ":")).encode()
    ).hexdigest()
