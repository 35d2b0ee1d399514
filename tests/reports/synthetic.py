"""SYNTHETIC TEST DATA: records that look like real ones and were never measured. Seeded, so every
test sees the same.
"""

from __future__ import annotations

import hashlib
import json
import random
from typing import Any

Record = dict[str, Any]

MODELS = {
    "mobilenet-v3": 6.1e6,
    "resnet18": 18.4e6,
    "resnet50": 47.0e6,
    "vit-tiny": 31.0e6,
    "digits-cnn": 0.21e6,
}
"""Typical compute time of torch eager in nanoseconds."""

BACKENDS = {
    "torch-eager": (1.0, 0.9, 0.02),
    "torchscript": (0.93, 1.1, 0.9),
    "torch-compile": (0.66, 1.0, 21.0),
    "ort": (0.48, 0.35, 1.4),
    "openvino": (0.41, 0.5, 2.2),
    "tvm": (0.8, 0.6, 38.0),
    "null": (0.001, 0.05, 0.0),
}
"""Per backend: time relative to eager, import seconds, prepare seconds."""

RUN = {
    "id": "2026-11-21T01-36-00Z-3f2a",
    "started": "2026-11-21T01:36:00Z",
    "plan": "default",
    "processes": 3,
    "seed": 0,
    "evenbench": "0.1.0",
}


def sha(*parts: Any) -> str:
    """64 hex digits that depend on `parts`."""
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()


def record(
    model: str = "resnet18",
    backend: str = "ort",
    precision: str = "fp32",
    *,
    batch: int = 1,
    outcome: str = "ok",
    process_ns: tuple[float, ...] = (9.0e6, 9.1e6, 8.9e6),
    laps: int = 24,
    **changed: Any,
) -> Record:
    """One record whose compute laps lie around `process_ns`, one value per process; `changed`
    replaces whole keys.
    """
    rng = random.Random(f"{model}{backend}{precision}{batch}{process_ns}")
    identity = f"{model}-{backend}-{precision}-cpu-b{batch}"
    ran = outcome in ("ok", "mismatch", "fallback") and bool(process_ns)
    made: Record = {
        "schema": 2,
        "run": dict(RUN, processes=len(process_ns)),
        "time": "2026-11-21T01:40:12Z",
        "case": "benchmarks/bench_classification.py::latency",
        "cell": _cell(model, backend, precision, batch, identity),
        "outcome": outcome,
        "reason": "",
        "phase": "",
        "traceback": "",
        "signal": "",
        "hint": "",
        "role": "control" if backend == "null" else "runtime",
        "labels": ["deprecated"] if backend == "torchscript" else [],
        "warnings": [],
        "samples_ns": _samples(rng, process_ns, laps) if ran else {},
        "clock": "time.perf_counter_ns",
        "inner_clock": "",
        "binding_ns": [],
        "gpu": [],
        "stability": {
            "compute": ["stable"] * len(process_ns),
            "host_to_host": ["stable"] * len(process_ns),
        }
        if ran
        else {},
        "blocks": _blocks(rng, len(process_ns), laps) if ran else {},
        "phases_seconds": _phases(rng, backend, len(process_ns), process_ns[0] / 1e9 * 6)
        if ran
        else {},
        "import_seconds": [
            round(BACKENDS.get(backend, (1, 0.5, 1))[1] * rng.uniform(0.95, 1.1), 4)
            for _ in process_ns
        ]
        if ran
        else [],
        "prepare": {"seconds": BACKENDS.get(backend, (1, 1, 1.0))[2], "cached": False}
        if ran
        else None,
        "memory": {"peak_rss_bytes": [int(3.1e8 * rng.uniform(0.98, 1.05)) for _ in process_ns]}
        if ran
        else {},
        "parity": _parity(rng, outcome) if ran else None,
        "accuracy": {"metric": "top-1", "value": 0.975, "count": 360}
        if model == "digits-cnn" and ran
        else None,
        "attested": _attested(backend) if ran else None,
        "input_sha256": sha("input", model),
        "inputs": {"recipe": "imagenet_224", "names": ["china", "flower"], "batches": 8},
        "artifact_sha256": sha("artifact", identity),
        "artifact": {"bytes": 46_800_000, "facts": {"opset": 20}},
        "weights": {
            "source": "seeded",
            "sha256": sha("weights", model),
            "note": (
                "random initialisation, seed 0, "
                "batch-norm statistics recalibrated on 10 photographs"
            ),
        },
        "environment": _environment(rng),
        "reproduce": f"evenbench run benchmarks -k {identity}",
    }
    return made | changed


def suite(seed: int = 0) -> list[Record]:
    """Five models on seven backends, with one of every outcome: what a report of a good day looks
    like.
    """
    rng = random.Random(seed)
    found = [
        record(model, backend, process_ns=_times(rng, model, backend))
        for model in MODELS
        for backend in BACKENDS
    ]
    _wound(found)
    return found


def many(cells: int) -> list[Record]:
    """As many cells as asked, for the tests of speed; most of them with samples."""
    rng = random.Random(1)
    wanted = [
        (f"model-{number:04d}", backend)
        for number in range(cells // len(BACKENDS) + 1)
        for backend in BACKENDS
    ]
    outcomes = ("ok", "ok", "ok", "ok", "ok", "mismatch", "unsupported", "failed")
    return [_quick(rng, model, backend, rng.choice(outcomes)) for model, backend in wanted[:cells]]


def _quick(rng: random.Random, model: str, backend: str, outcome: str) -> Record:
    times = tuple(1e7 * BACKENDS[backend][0] * rng.lognormvariate(0, 0.02) for _ in range(3))
    reason = "" if outcome == "ok" else f"synthetic {outcome} of {model}"
    return record(model, backend, outcome=outcome, process_ns=times, laps=16, reason=reason)


def _times(rng: random.Random, model: str, backend: str) -> tuple[float, ...]:
    factor = BACKENDS[backend][0] * (
        1.04 if (model, backend) == ("vit-tiny", "torchscript") else 1.0
    )
    if model == "digits-cnn":
        factor = {"torch-compile": 1.3, "ort": 0.20, "openvino": 0.205, "tvm": 0.5}.get(
            backend, factor
        )
    if model == "resnet50":
        factor = {"torch-compile": 0.97, "ort": 0.985, "openvino": 0.975, "tvm": 1.24}.get(
            backend, factor
        )
    return tuple(MODELS[model] * factor * rng.lognormvariate(0, 0.018) for _ in range(3))


def _wound(found: list[Record]) -> None:
    by_id = {line["cell"]["id"]: line for line in found}

    def spoil(identity: str, outcome: str, reason: str, **changed: Any) -> None:
        line = by_id[identity]
        line.update(outcome=outcome, reason=reason, **changed)
        if outcome not in ("mismatch", "fallback"):
            line.update(
                samples_ns={},
                blocks={},
                phases_seconds={},
                import_seconds=[],
                parity=None,
                attested=None,
                memory={},
                prepare=None,
            )

    rng = random.Random(5)
    spoil(
        "vit-tiny-openvino-fp32-cpu-b1",
        "mismatch",
        "logits: RMSE is 6.2 times the allowed one",
        parity=_parity(rng, "mismatch"),
    )
    spoil(
        "resnet18-ort-fp32-cpu-b1",
        "fallback",
        "asked for 2 threads, the session attests 1",
        phase="sample",
    )
    spoil(
        "mobilenet-v3-tvm-fp32-cpu-b1",
        "unsupported",
        "tvm has no lowering for hardswish with a dynamic batch",
    )
    for model in ("resnet50", "vit-tiny"):
        spoil(
            f"{model}-tvm-fp32-cpu-b1",
            "unavailable",
            "tvm is not installed",
            hint="pip install apache-tvm",
        )
    spoil(
        "vit-tiny-torch-compile-fp32-cpu-b1",
        "failed",
        "the worker died with SIGSEGV",
        signal="SIGSEGV",
        phase="first_step",
        traceback='Fatal Python error: Segmentation fault\n  File "worker.py", line 31 in step',
    )
    by_id["resnet50-torch-compile-fp32-cpu-b1"]["warnings"] = ["sample: 30 % of laps preempted"]


def _cell(model: str, backend: str, precision: str, batch: int, identity: str) -> Record:
    group = f"{model}-{precision}-cpu-b{batch}-t2"
    names = {
        "id": identity,
        "key": sha(identity)[:16],
        "group": group,
        "model": model,
        "backend": backend,
    }
    return names | {
        "precision": precision,
        "device": "cpu",
        "batch": batch,
        "threads": 2,
        "options": {},
    }


def _samples(rng: random.Random, process_ns: tuple[float, ...], laps: int) -> Record:
    compute = [[max(1, int(typical * _jitter(rng))) for _ in range(laps)] for typical in process_ns]
    host = [
        [max(1, int(typical * 1.06 * _jitter(rng) + 9000)) for _ in range(laps)]
        for typical in process_ns
    ]
    return {"compute": compute, "host_to_host": host}


def _jitter(rng: random.Random) -> float:
    return 1 + abs(rng.gauss(0, 0.012)) + (rng.uniform(0.05, 0.3) if rng.random() < 0.04 else 0)


def _blocks(rng: random.Random, processes: int, laps: int) -> Record:
    block = {
        "laps": laps,
        "wall_ns": 10**8,
        "cpu_ns": 2 * 10**8,
        "preemptions": rng.randrange(3),
        "minor_faults": 4,
        "major_faults": 0,
        "steal_ticks": 0,
        "machine_cpu_ns": 0,
    }
    return {
        boundary: [[block] for _ in range(processes)] for boundary in ("compute", "host_to_host")
    }


def _phases(rng: random.Random, backend: str, processes: int, first_seconds: float) -> Record:
    prepare = BACKENDS.get(backend, (1, 1, 1.0))[2]
    spread = {
        "load": 0.12,
        "first_step": first_seconds + 0.01,
        "warm_up": 0.4,
        "sample": 0.9,
        "parity": 0.05,
    }
    return {
        "prepare": [prepare],
        **{
            name: [round(value * rng.uniform(0.9, 1.1), 5) for _ in range(processes)]
            for name, value in spread.items()
        },
    }


def _parity(rng: random.Random, outcome: str) -> Record:
    needed = 6.2 if outcome == "mismatch" else rng.choice([0.0, 0.01, 0.04, 0.2, 0.6])
    output = {
        "name": "logits",
        "scale": 5.1,
        "max_abs": 3e-6 * (1 + needed),
        "rmse": 1e-6,
        "rmse_own": 9e-7,
        "cosine": 0.9999999,
        "nonfinite": 0,
    }
    output |= {"needed_elementwise": needed, "needed_rmse": needed / 2, "top1_agreement": 1.0}
    verdict = {
        "verdict": "fail" if needed > 1 else "pass",
        "reason": "",
        "golden": "float64 torch eager",
        "needed": needed,
        "allowed": 1.0,
    }
    rule = {"rtol": 1e-5, "atol": 1e-5, "rmse_factor": 3.0, "outputs": [output]}
    return verdict | rule | {"artifact_sha256": sha("a"), "input_sha256": sha("i")}


def _attested(backend: str) -> Record:
    runtime = {
        "ort": ("onnxruntime", "1.31.1"),
        "openvino": ("openvino", "2026.3.0"),
        "tvm": ("tvm", "0.22.0"),
        "null": ("null", "1"),
    }.get(backend, ("torch", "2.15.0"))
    facts = {
        "runtime": runtime[0],
        "version": runtime[1],
        "device": "cpu",
        "precision": "fp32",
        "threads": 2,
        "denormals": "preserved",
    }
    placed = (
        {"providers": ["CPUExecutionProvider"], "placement": {"CPUExecutionProvider": 52}}
        if backend == "ort"
        else {"providers": [], "placement": {}}
    )
    return facts | placed | {"spinning": "off", "emulated": "", "labels": [], "details": {}}


def _environment(rng: random.Random) -> Record:
    packages = {
        "torch": "2.15.0",
        "onnxruntime": "1.31.1",
        "openvino": "2026.3.0",
        "numpy": "2.4.6",
        "torchvision": "0.30.0",
    }
    machine = {
        "python": "3.11.7",
        "os": "Debian GNU/Linux 12, Linux 6.8",
        "cpu": "AMD EPYC 9B14",
        "cores": 2,
        "cpu_flags": ["avx2", "avx512f", "fma"],
    }
    moving = {
        "governor": "",
        "turbo": "",
        "load_average": round(rng.uniform(0.2, 0.9), 2),
        "steal": 0.0,
    }
    return (
        machine
        | moving
        | {"packages": packages, "commit": "abc123", "variables": {"OMP_NUM_THREADS": "2"}}
    )
