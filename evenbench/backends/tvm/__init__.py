"""Apache TVM: compilation, tuning, and the database of tuning records."""
