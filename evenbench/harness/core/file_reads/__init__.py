"""Files read by this process, by the kernel's account: Python and C++ code alike."""
