"""Variable stores: what we write virt-firmware reads, and the other way round."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from uuid import UUID

from memory_signers import signer
from virt.firmware.efi import guids
from virt.firmware.varstore.edk2 import Edk2VarStore

from sprout.signing import siglist
from sprout.signing.variables import Variable, well_known
from sprout.signing.varstore import read_store, write_store
from sprout.vm.boot import secure_template

TIME = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
OWNER = UUID("9d1e4f0a-2b57-4a53-8f1c-5f3f0f6f2b11")


def test_virt_firmware_reads_our_store(tmp_path: Path) -> None:
    certificate = signer("db").certificate
    trusted = siglist.pack([siglist.x509(OWNER, certificate)])
    revoked = siglist.pack([siglist.images(OWNER, [bytes(range(32))])])
    written = [
        *(well_known(name, trusted, TIME) for name in ("PK", "KEK", "db")),
        well_known("dbx", revoked, TIME),
    ]
    target = tmp_path / "store.fd"
    write_store(secure_template(), target, written)
    found = Edk2VarStore(str(target)).get_varlist()
    for row in written:
        theirs = found[row.name]
        assert (theirs.guid, theirs.attr, theirs.data) == (row.guid, row.attributes, row.data)
        assert theirs.time == TIME
    assert next(iter(found["db"].sigdb)).x509 == certificate
    assert found["SecureBootEnable"].fmt_bool() == "bool: ON"
    assert found["CustomMode"].fmt_bool() == "bool: off"


def test_we_read_the_store_of_virt_firmware(tmp_path: Path) -> None:
    template = Edk2VarStore(str(secure_template()))
    variables = template.get_varlist()
    variables.enroll_platform_microsoft()
    variables.add_microsoft_keys()
    variables.enable_secureboot()
    target = tmp_path / "store.fd"
    template.write_varstore(str(target), variables)
    found = {row.name: row for row in read_store(target)}
    assert set(found) == set(variables)
    for name, row in found.items():
        theirs = variables[name]
        assert row == Variable(name, theirs.guid, theirs.attr, theirs.data, theirs.time)
    owners = {
        entry.owner for row in siglist.parse(found["db"].data, target) for entry in row.signatures
    }
    assert owners == {UUID(guids.MicrosoftVendor)}
