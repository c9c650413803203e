"""Starts an image in QEMU and reads its timeline."""
