"""Sentences for the user on guessed sizes and made-up values."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from evenbench.backends.onnx.file_inputs.sizes import Sizes


def of_sizes(sizes: Sizes) -> list[str]:
    """A sentence with all guessed sizes and the flag for others; empty without guesses."""
    if not sizes.guesses:
        return []
    listed = ", ".join(f"{name}={size} ({why})" for name, (size, why) in sizes.guesses.items())
    example = next(iter(sizes.guesses))
    return [f"guessed {listed}; say --dim {example}=N for another size"]


def of_values(rules: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """A sentence with all rules of values and the flag for others; empty without rules."""
    described = [f"{name} {_shown(rule)} ({rule['why']})" for name, rule in rules.items()]
    return (
        [f"made up {', '.join(described)}; say --range NAME=LOW..HIGH for other values"]
        if described
        else []
    )


def _shown(rule: Mapping[str, Any]) -> str:
    if "low" in rule:
        return f"{rule['low']:g}..{rule['high']:g}"
    numbers = rule.get("values", rule.get("choices", ()))
    listed = ",".join(f"{n:g}" if isinstance(n, (int, float)) else str(n) for n in numbers[:4])
    return listed + (",..." if len(numbers) > 4 else "")
