"""Signatures of kernel modules: what the kernel's own scripts/sign-file appends to a module.

After the module's bytes come a SignedData over them, a `module_signature` of 12 bytes and a line of
text (Linux, include/linux/module_signature.h; read by kernel/module/signing.c and
kernel/module_signature.c). The result is deterministic: nothing in it depends on time or place.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

from sprout.base.errors import SproutError
from sprout.signing import cms
from sprout.signing.signer import Signer

MARKER = b"~Module signature appended~\n"
MAX_MODULE_BYTES = 256 << 20
# algo, hash, id_type, signer_len, key_id_len, padding, sig_len (the one big-endian number).
_TRAILER = struct.Struct(">5B3sI")
_PKCS7 = 2
_HINT = "Sign the module again; this one is damaged."


@dataclass(frozen=True)
class ModuleSignature:
    """A signed module taken apart: the module's own bytes, and the message over them."""

    content: bytes
    message: cms.SignedData


def is_module(data: bytes) -> bool:
    """Tell whether `data` begins like a kernel module: a little-endian ELF relocatable file."""
    head = data[:18]
    return len(head) == 18 and head[:4] == b"\x7fELF" and head[16:] == b"\x01\x00" and head[5] == 1


def check_unsigned(data: bytes, label: str) -> None:
    """Refuse what is no kernel module, or one that is signed."""
    if not is_module(data):
        raise SproutError(f"{label}: is no kernel module", "Name an uncompressed .ko file.")
    if data.endswith(MARKER):
        raise SproutError(
            f"{label}: is signed already", "Sign the module that the kernel build left unsigned."
        )


def sign_module(data: bytes, signer: Signer, label: str) -> bytes:
    """Give the module with its signature appended; `label` names it.

    Raises SproutError when `data` is no kernel module or is signed already, or the key cannot sign.
    """
    check_unsigned(data, label)
    message = cms.anonymous(signer, data, label)
    trailer = _TRAILER.pack(0, 0, _PKCS7, 0, 0, bytes(3), len(message))
    return data + message + trailer + MARKER


def parse(data: bytes, where: object) -> ModuleSignature | None:
    """Take a signed module apart; None when it is not signed. Nothing is verified.

    Raises SproutError naming the field when the signature is damaged.
    """
    if not data.endswith(MARKER):
        return None
    end = len(data) - len(MARKER) - _TRAILER.size
    if end < 0:
        raise SproutError(f"{where}: module_signature: is cut short", _HINT)
    algo, digest, kind, name, key, padding, size = _TRAILER.unpack_from(data, end)
    if kind != _PKCS7 or algo or digest or name or key or any(padding):
        raise SproutError(f"{where}: module_signature: is no PKCS #7 signature", _HINT)
    if not 0 < size < end:
        raise SproutError(f"{where}: module_signature: sig_len {size:,} cannot be", _HINT)
    message = cms.parse(data[end - size : end], where, wrapped=True)
    if message.content is not None or message.content_type != cms.DATA:
        raise SproutError(f"{where}: signature: is not over detached data", _HINT)
    # Both as in the kernel's crypto/asymmetric_keys: pkcs7_verify and pkcs7_sig_note_pkey_algo.
    if message.attributes is not None:
        raise SproutError(f"{where}: signature: has signed attributes", _HINT)
    if message.algorithm != cms.RSA:
        raise SproutError(f"{where}: signatureAlgorithm: is not rsaEncryption", _HINT)
    return ModuleSignature(data[: end - size], message)
