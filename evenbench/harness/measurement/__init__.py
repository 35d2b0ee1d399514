"""The steps inside a measured process: load, warm up, sample, attest, judge."""
