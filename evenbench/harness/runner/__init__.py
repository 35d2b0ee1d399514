"""Prepares cells, schedules their processes and records outcomes."""
