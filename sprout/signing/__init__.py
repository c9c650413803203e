"""Keys, Authenticode, EFI variables, module signatures: all that a key does or vouches for."""
