"""OCI artifacts: layouts on disk, packing, push, pull, signatures, refusing what is not right."""
