"""From source to kernel: fetch, verify, patch, configure, build, audit."""
