"""Sprout builds minimal hardened kernels and boots them in milliseconds."""

__version__ = "0.1.0"
