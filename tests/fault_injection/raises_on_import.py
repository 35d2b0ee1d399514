"""A backend's module that cannot be imported, as where its runtime is imported at the top of the
file.
"""

raise OSError("libmissing.so.1: cannot open shared object file")
