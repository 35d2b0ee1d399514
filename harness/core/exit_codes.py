"""Exit codes of judging commands, equal to pytest's for equal meanings.

Imports nothing, because every command reads this module at startup.
"""

PASS, WORSE, INTERRUPTED, INTERNAL, USAGE, NOTHING, UNDECIDED, UNHEALTHY = range(8)
"""The codes from 0: pass, worse, interrupted, internal, usage, nothing, undecided, unhealthy.

1 confirmed worse, wrong or failed; 2 interrupted and not resumable; 3 a defect of evenbench; 4 an
invalid request; 5 no cells; 6 inconclusive under `--require-conclusive`; 7 an alarm of the null
control, which voids all findings, or, with `--strict-health`, a slowdown caused by the machine.
"""

RESUMABLE = 130
"""Interrupted. The same command resumes."""
