"""The contract for backends, shipped with evenbench for third parties.

    from harness.testing import BackendContract

    class TestMine(BackendContract):
        name = "mine"

Sessions run in the test process, on artifacts prepared by fresh worker processes; parity and
crashes go through whole runs. A test expected to fail is named in `expected_failures` with its
reason, and must then fail.
"""

from evenbench.harness.testing.contract import BackendContract
from evenbench.harness.testing.crashing import Crashing, fresh_registry
from evenbench.harness.testing.kit import Kit
from evenbench.harness.testing.outputs import answer, assert_close, assert_equal, copied

__all__ = [
    "BackendContract",
    "Crashing",
    "Kit",
    "answer",
    "assert_close",
    "assert_equal",
    "copied",
    "fresh_registry",
]
