"""Sessions that compute on all cores. `make test` gives each of its two workers cores of its own,
so that elsewhere a cell may have one.

`test_torch_precisions` does the same for what inductor compiles, through the whole walk.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from evenbench.harness.core.session import Session
from evenbench.harness.measurement import judging
from evenbench.harness.testing import BackendContract, Kit, answer, copied


@pytest.mark.alone
class OnAllCores(BackendContract):
    """The contract of a session, its cell asking for all cores. How it prepares and crashes has
    nothing to do with their number.
    """

    test_prepare_writes_only_in_its_folder = None
    test_crash_in_step_becomes_an_outcome = None
    test_parity = None

    def test_it_is_right_on_all_of_them(self, kit: Kit, session: Session) -> None:
        kept = {index: copied(answer(session, batch)) for index, batch in enumerate(kit.batches())}
        golden = kit.prepared().golden
        assert golden is not None
        assert judging.judge(kit.cell(), {"compute": kept}, Path(golden.path))["verdict"] == "pass"


class TestTorchEager(OnAllCores):
    name = "torch-eager"


@pytest.mark.nightly
class TestTorchScript(OnAllCores):
    name = "torch-script"


class TestOnnxRuntime(OnAllCores):
    name = "ort"


class TestOpenVino(OnAllCores):
    name = "openvino"


class TestCppOrt(OnAllCores):
    name = "cpp-ort"


@pytest.mark.nightly
class TestCppOpenVino(OnAllCores):
    name = "cpp-openvino"


@pytest.mark.nightly
class TestCppLibtorch(OnAllCores):
    name = "cpp-libtorch"


@pytest.mark.nightly
class TestTvm(OnAllCores):
    name = "tvm"
