"""Facts about a measured process for the record: attestation, digests and installation."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from evenbench.harness.core import artifact_store, import_path, registry
from evenbench.harness.core.backend import Backend
from evenbench.harness.core.measurements import Attestation
from evenbench.harness.core.session import Session
from evenbench.harness.core.types import Cell, to_json
from evenbench.harness.environment import system_info
from evenbench.harness.environment.installers import distribution_of
from evenbench.harness.inputs import batches
from evenbench.harness.measurement import attestation
from evenbench.harness.measurement.phases import Stopwatch


def provenance(
    cell: Cell,
    attested: Attestation,
    folders: Mapping[str, Path],
    watch: Stopwatch,
    distributions: Sequence[str] = (),
    observed: Sequence[str] = (),
) -> dict[str, Any]:
    """The record's facts about the process, as plain JSON values.

    `folders` holds the artifact and the inputs; `distributions` are recorded beside the backend's;
    `observed` are differences from the request beside those attested.
    """
    files = {
        spec.name: folders["inputs"] / batches.file_of(spec.name) for spec in cell.model.inputs
    }
    recorded = (*_distributions(registry.find(cell.backend)), *distributions)
    return {
        # Digests of the folders that were loaded prove that the judged bytes are the timed ones.
        "artifact_sha256": artifact_store.digest_folder(folders["artifact"]),
        "input_sha256": batches.digest_batches(files),
        "attested": to_json(attested),
        "asked_is_used": attestation.difference(cell, attested, observed),
        "phases_seconds": watch.seconds,
        "installation": {
            "python": system_info.python(),
            "packages": system_info.packages(recorded),
            "origins": import_path.origins(),
        },
        "variables": system_info.relevant_variables(),
        "machine": system_info.load(),
    }


def peak_rss_bytes(session: Session) -> int:
    """Peak resident bytes of the computing process: this process or the session's program."""
    usage = session.usage()
    return system_info.peak_rss_bytes() if usage is None else usage.peak_rss_bytes


def steady_rss_bytes(session: Session) -> int:
    """Resident bytes of the computing process after the laps."""
    usage = session.usage()
    return system_info.rss_bytes((usage.process_id if usage else 0) or os.getpid())


def _distributions(backend: Backend) -> tuple[str, ...]:
    """The backend's distributions, and the replacements in the virtual environments."""
    elsewhere = {
        distribution_of(requirement)
        for requirements in backend.environments.values()
        for requirement in requirements
    }
    return (*backend.distributions, *sorted(elsewhere))
