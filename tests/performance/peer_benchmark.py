"""The inference of a prepared artifact as a benchmark of pytest-benchmark, with its defaults.

`bench_peers` runs this file in fresh processes; pytest does not collect it by itself.
"""

from __future__ import annotations

from typing import Any

from tests.performance import peer_process


def test_inference(benchmark: Any) -> None:
    session = peer_process.from_environment()

    def infer() -> None:
        session.step()
        session.sync()

    benchmark(infer)
    session.close()
