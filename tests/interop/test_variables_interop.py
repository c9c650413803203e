"""Signature lists and authenticated writes: the same bytes as efitools', read by virt-firmware."""

from __future__ import annotations

import subprocess
from datetime import UTC, datetime
from pathlib import Path
from uuid import UUID

import pytest
from memory_signers import revoked_tbs, signer

from sprout.signing import siglist, variables

OWNER = UUID("77fa9abd-0359-4d32-bd60-28f4e78f784b")
TIME = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
KEYS = {bits: signer(f"KEK {bits}", bits=bits) for bits in (2048, 3072)}
DB = signer("db")
DIGESTS = [bytes(range(32)), b"\7" * 32]


def run(*command: str | Path) -> None:
    subprocess.run(command, check=True, capture_output=True)


def everything() -> bytes:
    lists = [siglist.x509(OWNER, DB.certificate), siglist.images(OWNER, DIGESTS)]
    return siglist.pack([*lists, revoked_tbs(OWNER, DB.certificate)])


def test_list_is_the_one_that_efitools_make(tmp_path: Path) -> None:
    target = tmp_path / "db.esl"
    run("cert-to-efi-sig-list", "-g", str(OWNER), DB.write(tmp_path, "db")[1], target)
    assert target.read_bytes() == siglist.pack([siglist.x509(OWNER, DB.certificate)])


def test_efitools_read_our_list(tmp_path: Path) -> None:
    source = tmp_path / "all.esl"
    source.write_bytes(siglist.pack([siglist.x509(OWNER, DB.certificate)] * 2))
    run("sig-list-to-certs", source, tmp_path / "out")
    found = tmp_path / "out-1.der"
    assert siglist.x509(OWNER, DB.certificate).signatures[0].data == found.read_bytes()


@pytest.mark.parametrize("bits", KEYS)
@pytest.mark.parametrize("name", ["PK", "KEK", "db", "dbx"])
@pytest.mark.parametrize("append", [False, True])
def test_update_is_the_one_that_efitools_make(
    tmp_path: Path, bits: int, name: str, append: bool
) -> None:
    key, data = KEYS[bits], everything()
    variable = variables.well_known(name, data)
    ours = variables.authenticated(variable, TIME, key, append=append)
    private, certificate = key.write(tmp_path, "KEK")
    source, target = tmp_path / "source.esl", tmp_path / "target.auth"
    source.write_bytes(data)
    words = ["sign-efi-sig-list", *(["-a"] if append else []), "-t", "2026-01-02 03:04:05"]
    run(*words, "-k", private, "-c", certificate, name, source, target)
    assert target.read_bytes() == ours
    found = variables.verify_update(
        target.read_bytes(), name, variable.guid, [key.certificate], target, append=append
    )
    assert found == variables.well_known(name, data, TIME)


def test_private_variable_is_written_the_same_way(tmp_path: Path) -> None:
    key = KEYS[2048]
    variable = variables.well_known("SbatLevel", b"level table")
    private, certificate = key.write(tmp_path, "KEK")
    source, target = tmp_path / "level", tmp_path / "level.auth"
    source.write_bytes(variable.data)
    words = ["sign-efi-sig-list", "-g", str(variable.guid), "-t", "2026-01-02 03:04:05"]
    run(*words, "-k", private, "-c", certificate, "SbatLevel", source, target)
    assert target.read_bytes() == variables.authenticated(variable, TIME, key)


def test_virt_firmware_reads_ours() -> None:
    from virt.firmware.efi.efivar import EfiVar
    from virt.firmware.efi.siglist import EfiSigDB
    from virt.firmware.efi.ucs16 import from_string

    data = everything()
    database = EfiSigDB(data)
    assert [str(row.guid) for row in database] == [
        str(row) for row in (siglist.X509, siglist.SHA256, siglist.X509_SHA256)
    ]
    assert bytes(database) == data
    written = variables.authenticated(variables.well_known("dbx", data), TIME, KEYS[2048])
    found = EfiVar(from_string("dbx"), authdata=written)
    assert bytes(found.data) == data
    assert bytes(found.bytes_time()) == written[:16]


def test_openssl_reads_the_signature(tmp_path: Path) -> None:
    written = variables.authenticated(variables.well_known("db", b"new"), TIME, KEYS[2048])
    size = int.from_bytes(written[16:20], "little")
    body = written[40 : 16 + size]
    head = bytes.fromhex("06092a864886f70d010702")
    wrapped = b"\xa0\x82" + len(body).to_bytes(2, "big") + body
    whole = b"\x30\x82" + (len(head) + len(wrapped)).to_bytes(2, "big") + head + wrapped
    message = "db".encode("utf-16-le") + variables.VENDOR_OF["db"].bytes_le
    message += (0x27).to_bytes(4, "little") + written[:16] + b"new"
    (tmp_path / "signature").write_bytes(whole)
    (tmp_path / "message").write_bytes(message)
    certificate = KEYS[2048].write(tmp_path, "KEK")[1]
    words = ["openssl", "smime", "-verify", "-inform", "DER", "-binary", "-noverify", "-nointern"]
    words += ["-in", str(tmp_path / "signature"), "-content", str(tmp_path / "message")]
    run(*words, "-certfile", certificate)
