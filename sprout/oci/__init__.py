"""OCI artifacts: layout on disk, packing, push, pull, signatures, and refusing what is not right."""
