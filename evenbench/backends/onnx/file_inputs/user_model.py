"""The description of a user's ONNX file: tensors, and how to make or read the inputs."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from evenbench.backends.onnx import precision
from evenbench.backends.onnx.file_inputs import feeds
from evenbench.backends.onnx.file_inputs.resolution import Resolution, Resolver
from evenbench.harness import Model, UsageError
from evenbench.harness.core import registry
from evenbench.harness.inputs import given_samples, input_requests, made_up_samples

STANDARD = (
    "evenbench.harness.inputs:standard_normal",
    "evenbench.harness.inputs:standard_normal_calibration",
)
MADE_UP = ("evenbench.harness.inputs:made_up", "evenbench.harness.inputs:made_up_calibration")
GIVEN = ("evenbench.harness.inputs:given", "")
"""The sources of inputs and of calibration samples."""


def described(model: Model) -> dict[str, Any]:
    """The file's `inputs` and `outputs` with all sizes, the sources of inputs, and `notes`.

    `batch` is the batch size that the request or the data fix, or None. `arguments` go to the
    sources. Raises UsageError for a request that contradicts the file.
    """
    request = input_requests.of_model(model)
    file = Path(model.file)
    if not request.files:
        resolver = Resolver(file, request)
        return _facts(resolver, resolver.resolve())
    try:
        resolver = Resolver(file, request, registry.read_inputs([Path(p) for p in request.files]))
        return _facts(resolver, resolver.resolve())
    except UsageError as error:
        if not request.is_found:
            raise
        reason = f"the test data beside the file do not fit: {error}"
    resolver = Resolver(file, replace(request, files=(), is_found=False))
    facts = _facts(resolver, resolver.resolve())
    return {**facts, "notes": [*facts["notes"], reason]}


def _facts(resolver: Resolver, resolution: Resolution) -> dict[str, Any]:
    lists = [output.name for output in resolver.outputs if output.is_variable]
    names = {
        feeds.SEQUENCES: resolution.sequences,
        feeds.SEQUENCE_OUTPUTS: lists,
        feeds.ABSENT: resolver.absent,
    }
    sequences = {key: json.dumps(value) for key, value in names.items() if value}
    notes = list(resolution.notes)
    if resolver.given:
        arguments, source = _given_arguments(resolver, resolution), GIVEN
        notes.append(_given_note(resolver))
    else:
        arguments, source = _rule_arguments(resolution), STANDARD
        exotic = any(not _is_plain(spec.dtype) for spec in resolution.inputs)
        source = MADE_UP if arguments or exotic else STANDARD
    return {
        "inputs": resolution.inputs,
        "outputs": resolution.outputs,
        "arguments": {**arguments, **sequences},
        "inputs_from": source[0],
        "calibration_from": source[1],
        "batch": resolution.batch,
        "stored": precision.stored(resolver.model),
        "notes": notes,
    }


def _is_plain(dtype: str) -> bool:
    """Whether `standard_normal` makes this dtype: numpy's own numbers."""
    plain = dtype.startswith(("float16", "float32", "float64", "int", "uint", "bool"))
    return plain and dtype not in feeds.PACKED and "_" not in dtype


def _rule_arguments(resolution: Resolution) -> dict[str, str]:
    rules = {
        name: {key: value for key, value in rule.items() if key != "why"}
        for name, rule in resolution.rules.items()
    }
    return {made_up_samples.RULES: json.dumps(rules)} if rules else {}


def _given_arguments(resolver: Resolver, resolution: Resolution) -> dict[str, str]:
    files = resolver.request.files
    # The digests are part of the key, so changed data of the same name make new inputs.
    digests = [given_samples.digest(Path(path)) for path in files]
    arguments: Mapping[str, Any] = {
        given_samples.FILES: list(files),
        given_samples.DIGESTS: digests,
        given_samples.VARIED: resolver.variable(resolution),
    }
    return {key: json.dumps(value) for key, value in arguments.items() if value}


def _given_note(resolver: Resolver) -> str:
    given = resolver.given
    assert given is not None
    count = len(given.samples)
    where = ", ".join(Path(path).name for path in resolver.request.files)
    origin = "test data beside the file" if resolver.request.is_found else where
    left = f", {given.left_out} of other shapes left out" if given.left_out else ""
    known = any(given.expected)
    return (
        f"inputs: {count} sample{'s' if count > 1 else ''} from {origin}{left}"
        f"{', with expected outputs' if known else ''}"
    )
