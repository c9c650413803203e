"""Binary tables that two programs share: one definition gives the C header and the Python codec."""
