"""Runtimes made for boards, phones and small binaries."""
