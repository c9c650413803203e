"""Detached signing: for keys on a machine that this one has no connection to.

First everything that has to be signed is exported as files; there the key's owner signs them with
any tool; then the same work is done again here with the signatures attached. What is signed does
not depend on when or where, so both runs come to the same bytes.
"""

from __future__ import annotations

import hashlib
import re
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import rsa

from sprout.base.errors import SproutError
from sprout.base.files import read_bounded, write_file
from sprout.signing.certificates import public_key, signature_fits

MAX_SIGNATURE_BYTES = 4096
_UNSAFE = re.compile(r"[^A-Za-z0-9._-]|^[.-]")
_MAX_NAME = 80


def file_name(label: str) -> str:
    """Give a file name without suffix for `label`; different labels get different names."""
    name = _UNSAFE.sub("_", label)[:_MAX_NAME] or "_"
    if name != label:
        name += f"-{hashlib.sha256(label.encode()).hexdigest()[:8]}"
    return name


class Export:
    """Writes what has to be signed to a directory, as LABEL.tbs.

    What `sign` gives is not a signature but zeros of its size: the result must be thrown away.
    """

    def __init__(self, certificate: x509.Certificate, directory: Path, key: str = "KEY") -> None:
        """`key` is what the instructions call the private key, such as "db"."""
        self._certificate = certificate
        self._directory = directory
        self._key = key
        self._written: dict[Path, bytes] = {}

    @property
    def certificate(self) -> x509.Certificate:
        """The certificate of the key that will sign."""
        return self._certificate

    @property
    def written(self) -> tuple[Path, ...]:
        """The files written so far."""
        return tuple(self._written)

    def sign(self, message: bytes, label: str) -> bytes:
        """Write `message`; raises SproutError when `label` was used for another one."""
        path = self._directory / f"{file_name(label)}.tbs"
        if self._written.setdefault(path, message) != message:
            raise SproutError(f"{path}: two things to sign have this name", "Sign one at a time.")
        write_file(path, message)
        key = public_key(self._certificate, "certificate")
        return bytes(key.key_size // 8 if isinstance(key, rsa.RSAPublicKey) else 72)

    def instructions(self) -> tuple[str, ...]:
        """Give the commands that sign the files where the key is, one each."""
        return tuple(
            f"openssl dgst -sha256 -sign {self._key}.key -out {path.stem}.sig {path.name}"
            for path in self._written
        )


class Attach:
    """Gives the signatures that were made elsewhere, from files LABEL.sig."""

    def __init__(self, certificate: x509.Certificate, directory: Path) -> None:
        self._certificate = certificate
        self._directory = directory

    @property
    def certificate(self) -> x509.Certificate:
        """The certificate of the key that signed."""
        return self._certificate

    def has(self, label: str) -> bool:
        """Tell whether there is a signature for `label`."""
        return (self._directory / f"{file_name(label)}.sig").exists()

    def sign(self, message: bytes, label: str) -> bytes:
        """Give the signature over `message`; raises SproutError when it is missing or wrong."""
        path = self._directory / f"{file_name(label)}.sig"
        if not path.exists():
            raise SproutError(
                f"{path}: no such signature", "Sign the exported .tbs file, and put it there."
            )
        signature = read_bounded(path, MAX_SIGNATURE_BYTES)
        if not signature_fits(self._certificate, message, signature):
            raise SproutError(
                f"{path}: is no signature by {self._certificate.subject.rfc4514_string()} over "
                f"{label} as it is now",
                "Export again and sign that, with the key of this certificate and SHA-256.",
            )
        return signature
