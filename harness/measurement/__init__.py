"""What happens inside one measured process: load, warm up, sample, attest, judge."""
