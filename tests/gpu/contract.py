"""The backend contract for every pair that this machine has: collected by `make gpu-check` alone,
which names this file.
"""

from evenbench.harness.testing import BackendContract
from tests.gpu.pairs import pairs

for pair in pairs():
    if not pair.lacks:
        namespace = {
            "name": pair.backend,
            "device": pair.device,
            "precision": pair.precision,
            "__module__": __name__,
        }
        globals()[pair.test] = type(pair.test, (BackendContract,), namespace)
