"""Facts about this machine and this Python installation."""
