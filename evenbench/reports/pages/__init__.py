"""The HTML pages: report, history, load and pipeline."""
