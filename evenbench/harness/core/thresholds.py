"""Limits for load on the machine. Beyond a limit, a command warns about the measurement.

Warnings of runs, paired comparisons, pages and `evenbench doctor` all read these constants. Shares
of a core are means over the measured time: 0.02 is 20 ms of every second.
"""

FOREIGN_CORES = 0.25
"""Cores used by other processes."""

STEAL_CORES = 0.02
"""Time taken by the hypervisor, summed over all cores, as a number of cores."""

SHARED_CORE_SHARE = 0.7
"""CPU time over wall time of a slow process, as a share of the median of the other processes.

Two threads on one core have half the CPU time per wall time of two threads on two cores.
"""

PRESSURE_PERCENT = 10.0
"""Percentage of the last ten seconds with a task waiting for a core (Linux PSI, `avg10`)."""

PREEMPTED_SHARE = 0.25
"""Share of samples with an involuntary context switch."""

BUSY_PERCENT = 5.0
"""Percentage of one core used by a single other process."""

LOAD_PER_CORE = 0.2
"""Load average of the last minute, per usable core."""

AVAILABLE_MEMORY_SHARE = 0.2
"""Share of the machine's memory. Below this limit, models and runtimes may be paged out."""

SWAP_BYTES = 64 * 2**20
"""Swap space in use."""
