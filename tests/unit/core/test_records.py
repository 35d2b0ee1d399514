"""The types of records against the published schema, the dataclasses that become records, and a
measured process.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from evenbench.harness.core import measurements
from evenbench.harness.core.records import environment as environment_records
from evenbench.harness.core.records import outcome as record_types
from evenbench.harness.core.records import parity
from evenbench.harness.core.records import sampling as sampling_records
from evenbench.harness.measurement import resident
from evenbench.harness.results import records
from tests.unit.builders import cell, plan, product, register, samples

SCHEMA = records.schema()


def node(path: str) -> Mapping[str, Any]:
    """The part of the schema at a path such as `environment.lock`, without its `null`."""
    found: Any = SCHEMA
    for name in path.split("."):
        found = found["items"] if name == "[]" else found["properties"][name]
        found = next((part for part in found.get("anyOf", ()) if part != {"type": "null"}), found)
        if "$ref" in found:
            found = SCHEMA["$defs"][found["$ref"].rpartition("/")[2]]
    return found


PARTS: Mapping[str, Any] = {
    "run": record_types.RunRecord,
    "cell": record_types.CellRecord,
    "blocks.compute.[].[]": sampling_records.BlockRecord,
    "warm_up.[]": sampling_records.WarmUpRecord,
    "memory": record_types.MemoryRecord,
    "parity": parity.ParityRecord,
    "parity.outputs.[]": parity.OutputErrorRecord,
    "agreement": parity.AgreementRecord,
    "accuracy": parity.AccuracyRecord,
    "dataset": parity.DatasetRecord,
    "calibration": record_types.CalibrationRecord,
    "attested": record_types.AttestationRecord,
    "inputs": record_types.InputsRecord,
    "artifact": record_types.ArtifactRecord,
    "weights": record_types.WeightsRecord,
    "prepare": record_types.PrepareRecord,
    "limit": environment_records.LimitRecord,
    "gpu.[]": environment_records.GpuRecord,
    "gpu.[].device": environment_records.GpuDeviceRecord,
    "gpu.[].blocks.compute.[]": environment_records.GpuReadingRecord,
    "energy": environment_records.EnergyRecord,
    "energy.processes.[]": environment_records.EnergyReadingRecord,
    "environment": environment_records.EnvironmentRecord,
    "environment.lock": environment_records.LockRecord,
    "environment.gpus.[]": environment_records.GpuSummaryRecord,
}


def check_keys(kind: Any, schema: Mapping[str, Any]) -> None:
    assert set(schema["properties"]) == kind.__required_keys__ | kind.__optional_keys__
    assert set(schema.get("required", ())) == kind.__required_keys__


def test_an_outcome_has_the_keys_of_the_schema() -> None:
    check_keys(record_types.OutcomeRecord, SCHEMA)


@pytest.mark.parametrize("path", PARTS)
def test_a_part_of_an_outcome_has_the_keys_of_the_schema(path: str) -> None:
    check_keys(PARTS[path], node(path))


@pytest.mark.parametrize(
    ("dataclass", "kind"),
    [
        (measurements.Block, sampling_records.BlockRecord),
        (measurements.OutputError, parity.OutputErrorRecord),
        (measurements.ParityVerdict, parity.JudgementRecord),
        (measurements.Attestation, record_types.AttestationRecord),
    ],
)
def test_a_dataclass_becomes_a_record_of_its_fields(dataclass: Any, kind: Any) -> None:
    assert {field.name for field in fields(dataclass)} == kind.__required_keys__


def test_a_measured_process_returns_the_keys_of_its_type(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    register(monkeypatch)
    folders = {name: tmp_path / name for name in ("artifact", "inputs", "golden")}
    for folder in folders.values():
        folder.mkdir()
    weights = np.ones((4, 3), np.float32)
    x = samples(product())["x"][:, None, :]
    np.save(folders["artifact"] / "weights.npy", weights)
    np.save(folders["inputs"] / "x.npy", x)
    np.savez(folders["golden"] / "outputs.npz", y=x.astype(np.float64) @ weights.astype(np.float64))
    facts = json.dumps({"kind": "float64 numpy", "own_rmse": {}})
    (folders["golden"] / "facts.json").write_text(facts)
    turns = [{"do": "turn", "number": 0}]
    record = resident.run(cell("product"), plan(), folders, commands=turns)
    for part, kind in (
        (record, record_types.ProcessRecord),
        (record["parity"], parity.JudgementRecord),
        (record["attested"], record_types.AttestationRecord),
        (record["warm_up"], sampling_records.WarmUpRecord),
        (record["energy"], environment_records.ProcessEnergyRecord),
        (record["installation"], environment_records.InstallationRecord),
        (record["machine"], environment_records.MachineLoadRecord),
        (record["blocks"]["compute"][0], sampling_records.BlockRecord),
    ):
        assert set(part) == kind.__required_keys__
