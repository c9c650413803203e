"""Lays stub, kernel and initramfs into one PE, reads such a PE back, and makes bootable disks."""
