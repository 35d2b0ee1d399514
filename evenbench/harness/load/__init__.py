"""Load scenarios: batch sweeps, concurrent callers, random arrivals, changing shapes."""
