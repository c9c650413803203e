"""Keys, Authenticode, EFI variables, module signatures: everything that a key does or vouches for."""
