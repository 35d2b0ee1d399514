"""The GPU's cells are run by `make gpu-check` on a machine that has one, not collected with the
tests.
"""

collect_ignore = ["bench_gpu.py"]
