"""Signs a file by what it is: a boot image with a db key, a kernel module with a module key."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from sprout.base.errors import SproutError
from sprout.signing import authenticode, modules
from sprout.signing.signer import Signer
from sprout.signing.trust import Trust
from sprout.signing.verify import Reason, verify_image, verify_module

MAX_IMAGE_BYTES = 1 << 30


def role_of(data: bytes, where: object) -> Literal["db", "module"]:
    """Give the role of the key that signs a file with these bytes.

    Raises SproutError when it is neither a PE image nor a kernel module.
    """
    if data[:2] == b"MZ":
        return "db"
    if modules.is_module(data):
        return "module"
    raise SproutError(
        f"{where}: is neither a PE image nor a kernel module",
        "Name a boot image (.efi) or an uncompressed module (.ko); sign the image, not its disk.",
    )


def check_signable(data: bytes, label: str, *, append: bool = False) -> None:
    """Refuse what `signed_bytes` would refuse, before anybody is asked for a passphrase."""
    if role_of(data, label) == "module":
        modules.check_unsigned(data, label)
    elif authenticode.signatures(data, label) and not append:
        raise SproutError(
            f"{label}: is signed already", "Use --append to add a signature to those it has."
        )


def signed_bytes(data: bytes, signer: Signer, label: str, *, append: bool = False) -> bytes:
    """Give a boot image or a module with a signature; the same inputs give the same bytes.

    `append` adds it to the signatures that an image has. Raises SproutError when the file is of
    another kind or damaged, or is signed and `append` is not asked for.
    """
    check_signable(data, label, append=append)
    if role_of(data, label) == "module":
        return modules.sign_module(data, signer, label)
    return authenticode.sign_image(data, [signer], label)


def check_signed(data: bytes, signer: Signer, label: str) -> tuple[str, ...]:
    """Judge what was just signed as `sprout verify` does, and give what there is to warn of.

    A certificate outside its validity is a warning: firmware boots what it signed. Raises
    SproutError when the file would be refused, such as by a key that is not its certificate's.
    """
    trust = Trust(images=(signer.certificate,), modules=(signer.certificate,))
    judge = verify_module if role_of(data, label) == "module" else verify_image
    refusals = judge(data, label, trust).refusals
    for row in refusals:
        if row.reason not in (Reason.EXPIRED, Reason.NOT_YET_VALID):
            raise SproutError(
                f"{label}: would be refused: {row.text}",
                "Mend that first; nothing was written.",
            )
    return tuple(row.text for row in refusals)


def signed_name(path: Path) -> Path:
    """Give the name that a signed copy has by default: `zone.efi` becomes `zone.signed.efi`."""
    return path.with_name(f"{path.stem}.signed{path.suffix}")
