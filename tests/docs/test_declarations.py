"""docs/reference/declarations.md has every field of a declaration, with type, default and a valid
example.
"""

from __future__ import annotations

import dataclasses
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from evenbench import harness
from evenbench.harness import BATCH, Case, Model, TensorSpec, UsageError
from evenbench.harness.photographs import PHOTOGRAPHS
from evenbench.harness.preprocess import IMAGENET_224

PAGE = Path(__file__).parents[2] / "docs" / "reference" / "declarations.md"
SPECS = (TensorSpec("ids", (BATCH, 16), "int64"),)
MODEL = Model("m", build="mymodel:build", inputs=SPECS, outputs=SPECS)
STATE_IN, STATE_OUT = TensorSpec("h_in", (BATCH, 8)), TensorSpec("h_out", (BATCH, 8))
LONGER = replace(MODEL, name="longer", inputs=(TensorSpec("ids", (BATCH, 32), "int64"),))
NAMES = {
    **{name: getattr(harness, name) for name in harness.__all__},
    **{"MODEL": MODEL, "LONGER": LONGER, "IMAGENET_224": IMAGENET_224, "PHOTOGRAPHS": PHOTOGRAPHS},
}
VALID: dict[type[Any], Any] = {
    Case: Case(models=(MODEL,)),
    Model: MODEL,
    TensorSpec: TensorSpec("x", (1,)),
}
ROW = re.compile(r"^\| `(\w+)` \| `(.+?)` \| (.+?) \| (.+) \| `(.+)` \|$", re.MULTILINE)


def rows(kind: type[Any]) -> dict[str, tuple[str, str, str]]:
    """Field → type, default and example."""
    _, _, rest = PAGE.read_text().partition(f"\n## {kind.__name__}\n")
    section = rest.partition("\n## ")[0]
    return {
        name: (annotation.replace(r"\|", "|"), default, example)
        for name, annotation, default, _, example in ROW.findall(section)
    }


@pytest.mark.parametrize("kind", VALID, ids=lambda kind: kind.__name__)
def test_every_field_is_described(kind: type[Any]) -> None:
    described = rows(kind)
    fields = {field.name: field for field in dataclasses.fields(kind)}
    assert list(described) == list(fields)
    for name, field in fields.items():
        annotation, default, _ = described[name]
        assert annotation == field.type, name
        if field.default_factory is not dataclasses.MISSING:
            assert eval(default.strip("`"), dict(NAMES)) == field.default_factory(), name
        elif field.default is dataclasses.MISSING:
            assert default == "required", name
        else:
            assert eval(default.strip("`"), dict(NAMES)) == field.default, name


@pytest.mark.parametrize("kind", VALID, ids=lambda kind: kind.__name__)
def test_every_example_is_valid(kind: type[Any]) -> None:
    for name, (_, _, example) in rows(kind).items():
        value = eval(example, dict(NAMES))
        changed = {name: value, "build": ""} if name == "file" else {name: value}
        if name == "state":
            changed |= {"inputs": (STATE_IN,), "outputs": (STATE_OUT,)}
        assert getattr(replace(VALID[kind], **changed), name) == value, name


@pytest.mark.parametrize(
    ("kind", "given", "words"),
    [
        (Case, "precision", "Case has no field precision; did you mean precisions?"),
        (Case, "device", "did you mean devices?"),
        (Case, "backend", "did you mean backends?"),
        (Case, "model", "did you mean models?"),
        (Case, "batches", "did you mean batch?"),
        (Case, "thread", "did you mean threads?"),
        (Model, "output", "did you mean outputs?"),
        (Model, "input_from", "did you mean inputs_from?"),
        (TensorSpec, "type", "did you mean dtype?"),
        (Model, "colour", "expected one of name, build, inputs"),
    ],
)
def test_an_unknown_field_is_answered_with_the_right_name(
    kind: type[Any], given: str, words: str
) -> None:
    with pytest.raises(UsageError, match=re.escape(words)):
        kind(**{given: ()})


def test_int8_in_a_case_is_explained() -> None:
    with pytest.raises(UsageError, match="int8 is a word of the command line"):
        Case(models=(MODEL,), precisions=("int8",))
