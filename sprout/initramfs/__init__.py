"""A reproducible cpio from a list, and the programs compiled into it."""
