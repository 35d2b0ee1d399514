"""The house rules that can be tests: names, docstrings, sizes, units, and who may say the name of a
runtime.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from typing import Any

import pytest

from evenbench import harness
from evenbench.harness.results import records
from tests.meta.architecture import PACKAGE, ROOT, imports, modules, name_of, outer_imports

RUNTIMES = ("torch", "torchvision", "onnxruntime", "openvino", "tvm", "tensorrt")

SPOKEN = {
    "harness.commands.inspect": "the formats that it reads",
    "harness.commands.tune": "the example of its help text",
    "harness.commands.run": "the examples of its help text",
    "harness.commands.footprint": "the examples of its help text",
    "harness.commands.layerwise": "the examples of its help text",
    "harness.commands.operators.profile": "the examples of its help text",
    "harness.commands.pipeline": "the examples of its help text",
    "harness.commands.package": "the examples of its help text",
    "harness.collection.model_reader": "the sentence that says what a target may be",
}
"""Modules of the harness that may say the name of a runtime to a person, and where."""


def of(package: str) -> list[str]:
    return [module for module in modules() if module.partition(".")[0] == package]


def docstrings(tree: ast.AST) -> set[int]:
    """The ids of the string nodes that document something."""
    bodies = [
        node.body
        for node in ast.walk(tree)
        if isinstance(node, (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef))
    ]
    statements = [
        statement for body in bodies for statement in body if isinstance(statement, ast.Expr)
    ]
    return {
        id(statement.value) for statement in statements if isinstance(statement.value, ast.Constant)
    }


def strings(module: str) -> list[str]:
    tree = modules()[module]
    documenting = docstrings(tree)
    constants = [
        node
        for node in ast.walk(tree)
        if isinstance(node, ast.Constant) and id(node) not in documenting
    ]
    return [node.value for node in constants if isinstance(node.value, str)]


def names_a_runtime(module: str) -> list[str]:
    pattern = re.compile(rf"\b({'|'.join(RUNTIMES)})\b", re.IGNORECASE)
    return [text for text in strings(module) if pattern.search(text)]


@pytest.mark.parametrize("module", of("harness"))
def test_the_harness_never_names_a_runtime(module: str) -> None:
    assert not set(RUNTIMES) & outer_imports(module, only_at_the_top=False)
    if module not in SPOKEN:
        assert names_a_runtime(module) == []


def test_who_may_name_a_runtime_does() -> None:
    assert [module for module in SPOKEN if not names_a_runtime(module)] == []


@pytest.mark.parametrize("module", modules())
def test_a_file_opens_with_a_sentence(module: str) -> None:
    tree = modules()[module]
    if tree.body:
        first = (ast.get_docstring(tree) or "").partition("\n\n")[0].replace("\n", " ")
        assert re.search(r"^[A-Za-z`].{15,}[.?:]", first), f"{module} opens with {first!r}"


@pytest.mark.parametrize("module", of("harness"))
def test_public_functions_and_classes_of_the_harness_are_documented(module: str) -> None:
    kinds = (ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
    public = [
        node
        for node in modules()[module].body
        if isinstance(node, kinds) and not node.name.startswith("_")
    ]
    assert [node.name for node in public if not ast.get_docstring(node)] == []


LINES = 300


def lines_of(module: str) -> list[str]:
    file = PACKAGE / (module.replace(".", "/") + ".py")
    file = file if file.exists() else PACKAGE / module.replace(".", "/") / "__init__.py"
    return file.read_text().splitlines()


def test_no_file_is_long() -> None:
    sources = [*of("harness"), *of("reports"), *of("backends")]
    assert [module for module in sources if len(lines_of(module)) > LINES] == []


PARTICIPLES = {"found", "told", "made", "asked"}
"""Names of variables that do not say what the variable holds; a noun does."""


def variables(tree: ast.AST) -> Iterator[tuple[int, str]]:
    """The line and name of every variable and parameter, without the fields of classes."""
    fields = {
        id(statement.target)
        for node in ast.walk(tree)
        if isinstance(node, ast.ClassDef)
        for statement in node.body
        if isinstance(statement, ast.AnnAssign)
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.arg):
            yield node.lineno, node.arg
        elif (
            isinstance(node, ast.Name)
            and isinstance(node.ctx, ast.Store)
            and id(node) not in fields
        ):
            yield node.lineno, node.id


def test_variables_are_nouns() -> None:
    assert [
        f"{module}:{line} {name}"
        for module in (*of("harness"), *of("backends"), *of("reports"))
        for line, name in variables(modules()[module])
        if name in PARTICIPLES
    ] == []


def test_the_walk_over_variables_sees_parameters_and_skips_fields() -> None:
    source = "class A:\n  kept: int\ndef f(a, *b):\n  c = a.d = 1\n  return [e for e in b]"
    assert sorted(name for _, name in variables(ast.parse(source))) == ["a", "b", "c", "e"]


def test_no_drawer() -> None:
    drawers = {"utils", "util", "helpers", "helper", "common", "misc", "tools"}
    tests = [name_of(file) for file in (ROOT / "tests").rglob("*.py")]
    assert [module for module in (*modules(), *tests) if drawers & set(module.split("."))] == []


def test_a_backend_is_never_named_like_the_package_it_imports() -> None:
    for module in of("backends"):
        assert module.rpartition(".")[2] not in outer_imports(module, only_at_the_top=False)


def calls(module: str) -> Iterator[tuple[str, str]]:
    """Every call as (what stands before the last dot, the name)."""
    for node in ast.walk(modules()[module]):
        if isinstance(node, ast.Call):
            before, _, name = ast.unparse(node.func).rpartition(".")
            yield before, name


AGGREGATES = {
    "mean",
    "fmean",
    "nanmean",
    "average",
    "gmean",
    "geometric_mean",
    "median",
    "std",
    "stdev",
}
QUANTILES = {"percentile", "quantile", "quantiles"}
LIBRARIES = ("np", "numpy", "scipy", "stats", "scipy.stats")


@pytest.mark.parametrize("module", [*of("harness"), *of("reports"), *of("backends")])
def test_there_is_one_summariser(module: str) -> None:
    """Mean here and median there made two tables of one tool disagree; laps are aggregated in one
    module only.
    """
    if module in (
        "harness.statistics.estimates",
        "harness.accuracy.output_errors",
        "harness.statistics.paired_test",
        "harness.statistics.paired_intervals",
    ):
        # means over elements of one output, and over pairs
        return
    aggregates = [
        call for call in calls(module) if call[1] in AGGREGATES and call[0] not in ("", "estimates")
    ]
    quantiles = [call for call in calls(module) if call[1] in QUANTILES and call[0] in LIBRARIES]
    assert aggregates + quantiles == []
    assert "statistics" not in outer_imports(module, only_at_the_top=False), (
        "the standard library's"
    )
    if set(calls(module)) & {
        ("", "median"),
        ("", "quantile"),
        ("estimates", "median"),
        ("estimates", "quantile"),
    }:
        assert "harness.statistics.estimates" in imports(module)


@pytest.mark.parametrize("module", [*of("harness"), *of("backends")])
def test_no_session_has_a_loop_of_its_own_without_a_clock_of_its_own(module: str) -> None:
    for node in ast.walk(modules()[module]):
        if isinstance(node, ast.ClassDef) and module != "harness.core.session":
            methods = {item.name for item in node.body if isinstance(item, ast.FunctionDef)}
            fields = {
                ast.unparse(target)
                for item in node.body
                if isinstance(item, ast.Assign)
                for target in item.targets
            }
            assert "laps" not in methods or "clock" in fields, f"{module}.{node.name}"


def test_one_clock_times_laps() -> None:
    """No other module of the measuring process reads a clock of nanoseconds; a wrong pair of
    readings could hide there.
    """
    readers = [module for module in modules() if "perf_counter_ns" in ast.dump(modules()[module])]
    assert set(readers) <= {
        "harness.measurement.timing",
        "harness.testing.contract",
        "harness.core.session",
        "harness.commands.doctor",
    }


UNITS = (
    *(
        "_ns",
        "_seconds",
        "_bytes",
        "_ticks",
        "_percent",
        "_mhz",
        "_celsius",
        "_watts",
        "_per_second",
        "_pixels",
    ),
    *("bytes", "seconds", "joules"),
)

KEYED_BY = (
    *harness.core.types.BOUNDARIES,
    *harness.core.types.INNER_BOUNDARIES,
    *harness.core.types.PHASES,
)
"""Keys of objects whose own name has the unit."""

WITHOUT_UNIT = {
    "constant_outputs",
    "differing_values",
    "tied_indices",
    *(
        "processes",
        "seed",
        "rounds",
        "untimed_laps",
        "batch",
        "input_shapes",
        "threads",
        "laps",
        "preemptions",
        "minor_faults",
        "major_faults",
        "count",
        "batches",
        "expected_batches",
    ),
    *("cores", "cores_online", "affinity", "placement", "nonfinite"),
    *(
        "needed",
        "allowed",
        "rtol",
        "atol",
        "rmse_factor",
        "needed_elementwise",
        "needed_rmse",
        "cosine",
        "top1_agreement",
        "value",
    ),
    *("scale", "max_abs", "rmse", "rmse_own", "steal", "load_average"),
    *("flops", "flops_by_operator", "flops_uncounted", "metrics"),
    *(
        "top5_overlap",
        "pixel_agreement",
        "miou",
        "classes_seen",
        "worst_cosine",
        "sentences",
        "nearest_agreement",
        "order_agreement",
    ),
    *(
        "detections",
        "matched",
        "unmatched",
        "on_threshold",
        "worst_box_iou",
        "worst_score_difference",
        "worst_mask_iou",
    ),
}
"""Counts, ratios, and errors in the unit of the model's own output."""


def numbers(schema: Any, name: str = "") -> Iterator[str]:
    """The names under which a JSON schema allows numbers."""
    if isinstance(schema, list):
        for item in schema:
            yield from numbers(item, name)
    elif isinstance(schema, dict):
        kinds = schema.get("type", ())
        if {"integer", "number"} & set([kinds] if isinstance(kinds, str) else kinds):
            yield name
        for key in ("items", "prefixItems", "anyOf", "oneOf", "allOf", "additionalProperties"):
            yield from numbers(schema.get(key), name)
        for key in ("properties", "$defs"):
            for inner, value in schema.get(key, {}).items():
                parent_has_a_unit = name.endswith(UNITS) and inner in KEYED_BY
                yield from numbers(value, name if parent_has_a_unit else inner)


def test_every_number_in_a_result_has_its_unit_in_its_name() -> None:
    found = set(numbers(records.schema()))
    assert {"samples_ns", "wall_ns", "peak_rss_bytes", "import_seconds"} <= found, (
        "the walk is blind"
    )
    assert (
        sorted(name for name in found if not name.endswith(UNITS) and name not in WITHOUT_UNIT)
        == []
    )


def test_the_public_names_are_these() -> None:
    constants = ["ALL", "ANY", "BATCH", "PLANS"]
    classes = [
        "Attestation",
        "Backend",
        "Case",
        "Cell",
        "Golden",
        "Laps",
        "Model",
        "Photograph",
        "Plan",
        "Recipe",
        "Session",
        "Source",
    ]
    classes += ["TensorSpec", "Unavailable", "Unsupported", "UsageError", "Weights"]
    public = [*constants, *classes, "own", "pretrained", "seeded", "trained"]
    assert harness.__all__ == public
    assert all(hasattr(harness, name) for name in public)
