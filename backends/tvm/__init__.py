"""Apache TVM: compilation, tuning and its database of schedules."""
