"""Facts read from an ExecuTorch program: delegates, kernels, and the arithmetic of layers."""

from __future__ import annotations

from pathlib import Path

import pytest

from evenbench.backends.edge import pte_files

PROGRAM = Path(__file__).parent / "data" / "two_delegates.pte"
"""Convolution, batch norm, GELU, mean, linear and softmax, lowered by ExecuTorch 1.5.1 for XNNPACK.

XNNPACK's partitioner leaves the mean over both axes to ExecuTorch's kernels.
"""


def test_delegates_kernels_and_arithmetic_are_read() -> None:
    facts = pte_files.read(PROGRAM)
    assert facts.delegates == ("XnnpackBackend", "XnnpackBackend")
    assert facts.operators == ("aten::mean.out",)
    assert facts.nodes["XNNConv2d"] == facts.nodes["XNNFullyConnected"] == 1
    assert facts.weights == {"fp32": 2}
    assert not facts.has_dynamic_ranges


def test_a_truncated_program_is_refused(tmp_path: Path) -> None:
    short = tmp_path / "short.pte"
    short.write_bytes(PROGRAM.read_bytes()[:700])
    with pytest.raises(ValueError, match=r"short\.pte cannot be read as program\.fbs"):
        pte_files.read(short)


def test_a_program_of_a_newer_schema_is_refused(tmp_path: Path) -> None:
    newer = tmp_path / "newer.pte"
    data = bytearray(PROGRAM.read_bytes())
    data[4:8] = b"ET99"
    newer.write_bytes(bytes(data))
    with pytest.raises(ValueError, match="known schema: its identifier is b'ET99'"):
        pte_files.read(newer)
