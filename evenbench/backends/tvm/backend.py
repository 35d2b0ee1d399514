"""The backend `tvm`: Apache TVM's Relax virtual machine, labelled by the state of tuning."""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from evenbench.backends.onnx import backend as onnx_backend
from evenbench.backends.onnx import conversion as onnx_conversion
from evenbench.backends.onnx import export
from evenbench.backends.torch import model
from evenbench.backends.torch.files import exported_files
from evenbench.backends.tvm import compilation, session, tuning_database
from evenbench.backends.tvm import tuning as tvm_tuning
from evenbench.harness import Cell, Session, Source
from evenbench.harness.core import artifact_store
from evenbench.harness.core.backend import Tunable
from evenbench.harness.environment import gpu
from evenbench.harness.inputs import batches

REFUSED: Mapping[str, str] = {
    "tf32": "tvm has no TF32 in its generated kernels",
    "bf16": "tvm supports fp16 but not bfloat16: its mixed-precision pass lacks bfloat16",
    "int8-dynamic": "tvm reads quantised graphs with ranges fixed ahead; use int8-static",
}


class Tvm(Tunable):
    """TVM, compiled ahead from a PyTorch module or a quantised ONNX file, with tuned schedules."""

    name = "tvm"
    requires = ("tvm",)
    precisions = ("fp32", "fp16", "int8-static")
    devices = ("cpu", "cuda")
    distributions = ("apache-tvm", "apache-tvm-ffi", "torch")
    options = {
        "spinning": (
            "'default' lets TVM's idle threads spin briefly; 'off' lets idle threads sleep at once"
        )
    }

    def supports(self, cell: Cell) -> str:
        reason = REFUSED.get(cell.precision, "")
        reason = reason or super().supports(cell) or model.supports_module(cell.model)
        return reason or exported_files.refuses(cell.model) or onnx_conversion.refuses(cell)

    def lacks(self, cell: Cell) -> str:
        return onnx_conversion.lacks(cell) if cell.precision == "int8-static" else ""

    def variables(self, cell: Cell) -> Mapping[str, str]:
        # By default, TVM uses half of the cores and pins the main thread.
        spinning = {session.SPIN_COUNT: "0"} if cell.option.get("spinning") == "off" else {}
        return {
            "TVM_NUM_THREADS": str(cell.threads),
            "TVM_BIND_THREADS": "0",
            **spinning,
            **onnx_backend.QUIET,
        }

    def artifact_key(self, cell: Cell) -> Mapping[str, Any]:
        records = tuning_database.database_folder(cell) / tuning_database.RECORDS
        return {
            "format": "tvm library",
            "threads": cell.threads,
            "device": cell.device,
            "machine": tuning_database.machine_key(),
            "records": artifact_store.digest_file(records) if records.exists() else "",
            **{name: batches.version_of(name) for name in ("apache-tvm", "apache-tvm-ffi")},
            **(export.key(cell) if cell.precision == "int8-static" else model.versions()),
        }

    def prepare(self, source: Source, cell: Cell, folder: Path) -> Mapping[str, Any]:
        compilation.import_cpu_intrinsics()
        target = compilation.target_for(cell)
        ir = compilation.import_model(source, cell, target)
        with tempfile.TemporaryDirectory() as copy:
            # A snapshot, unaffected by a running tuner.
            database = tuning_database.copy_complete(
                tuning_database.database_folder(cell), Path(copy)
            )
            tuning = tvm_tuning.facts(database, compilation.tuning_tasks(ir, target), target)
            dtypes = compilation.compile_library(
                ir, target, database if tuning["trials"] else None, folder / session.LIBRARY
            )
        if not gpu.is_cuda(cell.device):
            compilation.compile_denormal_probe(cell.threads, target, folder / session.PROBE)
        (folder / session.FACTS).write_text(json.dumps({"tuning": tuning, "dtypes": dtypes}))
        return {"format": "tvm shared library", "dtypes": dtypes, "tuning": tuning}

    def load(self, folder: Path, cell: Cell) -> Session:
        # The thread pool reads these variables at its first use. Workers start with the variables;
        # a notebook doesn't.
        os.environ.update(self.variables(cell))
        return session.RelaxSession(folder, cell)

    def tune(self, source: Source, cell: Cell, per_task: int) -> Mapping[str, Any]:
        return tvm_tuning.tune(source, cell, tuning_database.database_folder(cell), per_task)

    def trials(self, cell: Cell) -> tuple[int, int]:
        return tuning_database.recorded_trials(
            tuning_database.database_folder(cell)
        ), tuning_database.requested_trials(tuning_database.database_folder(cell))
