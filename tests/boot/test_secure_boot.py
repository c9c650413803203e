"""Under an OVMF that enforces Secure Boot, from a disk: what boots, and what is refused by whom."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
from commands import built
from meddler import IMAGE_PATH, build_meddler
from memory_signers import revoked_tbs
from secure import (
    DEFAULT_PATH,
    ENROLLED,
    LIMIT_S,
    OWNER,
    Keys,
    boot_options,
    enrolled,
    flipped,
    flips,
    make_disk_of,
    make_store,
    try_in_turn,
)

from sprout.format import levels, pe
from sprout.image.uki import build_image
from sprout.initramfs.compile import compile_program
from sprout.initramfs.cpio import Entry, write_cpio
from sprout.signing import siglist
from sprout.signing.authenticode import image_digest, sign_image
from sprout.signing.variables import Variable, well_known
from sprout.signing.varstore import signers_record
from sprout.vm.boot import BootError, BootResult, RefusedError, boot
from sprout.vm.probe import compile_application

HERE = Path(__file__).parent
CMDLINE = "console=ttyS0 quiet retain_initrd"
SBAT = "sbat,1,SBAT Version,sbat,1,https://example.org\nsprout-test,4,Test,test,1,https://example.org\n"


@dataclass(frozen=True)
class Guest:
    """A boot image whose init tells what it sees, and the initramfs in it."""

    image: bytes
    initramfs: bytes


@pytest.fixture(scope="module")
def keys() -> Keys:
    return Keys()


@pytest.fixture(scope="module")
def zone(zone_image: Path) -> bytes:
    """The zone's boot image, as it is built: without a signature."""
    return zone_image.read_bytes()


@pytest.fixture(scope="module")
def guest(boot_stub: Path, zone_kernel: Path, tmp_path_factory: pytest.TempPathFactory) -> Guest:
    """The stub and the zone's kernel with an init that tells what it sees."""
    work = tmp_path_factory.mktemp("guest")
    compile_program([HERE / "secure_init.c"], work / "init", base=HERE, include=HERE)
    console = Entry("dev/console", 0o020600, major=5, minor=1)
    archive = write_cpio([Entry("init", 0o100755, (work / "init").read_bytes()), console], epoch=0)
    (work / "initramfs").write_bytes(archive)
    build_image(
        work / "guest.efi",
        stub=boot_stub,
        kernel=zone_kernel,
        initramfs=work / "initramfs",
        cmdline=CMDLINE,
        os_release={"ID": "test"},
        uname=json.loads(built("zone-kernel", "metadata.json").read_bytes())["release"],
        sbat=SBAT,
        epoch=0,
    )
    return Guest((work / "guest.efi").read_bytes(), archive)


def started(
    image: bytes, variables: list[Variable], folder: Path, beside: dict[str, bytes] | None = None
) -> BootResult:
    """Boot an image under its default name, with files beside it, on a machine with variables."""
    disk = make_disk_of(folder / "disk.img", {DEFAULT_PATH: image} | (beside or {}))
    store = make_store(folder / "store.fd", variables)
    return boot(disk, image="guest", accel="tcg", timeout_s=LIMIT_S, secure=store)


def told(lines: tuple[str, ...], what: str) -> str:
    """Give what the guest said of one thing; of several lines, all together."""
    head = f"secure: {what}="
    return "".join(line.removeprefix(head) for line in lines if line.startswith(head))


def assert_as_signed(result: BootResult, guest: Guest) -> None:
    """Check that the guest ran under Secure Boot with what was signed, and with nothing else."""
    lines = result.console_lines
    assert (told(lines, "SecureBoot"), told(lines, "SetupMode")) == ("1", "0")
    assert told(lines, "cmdline") == CMDLINE
    seen = hashlib.sha256(bytes.fromhex(told(lines, "initrd"))).hexdigest()
    assert seen == hashlib.sha256(guest.initramfs).hexdigest()


def level(rows: dict[str, int], keys: Keys) -> list[Variable]:
    """Give the SBAT level and the record of who owns it, as enrolment leaves them."""
    variable = well_known(levels.VARIABLE, levels.pack(rows), ENROLLED)
    return [variable, signers_record({variable: keys.kek.certificate})]


def test_signed_image_boots_and_is_what_was_signed(
    guest: Guest, keys: Keys, tmp_path: Path
) -> None:
    signed = sign_image(guest.image, [keys.db], "guest")
    # At the level it is not below it, and what the image does not hold does not matter.
    variables = enrolled(keys) + level({"sprout-test": 4, "another": 9}, keys)
    assert_as_signed(started(signed, variables, tmp_path), guest)


def test_another_signed_program_changes_nothing_in_what_was_signed(
    guest: Guest, zone_kernel: Path, keys: Keys, tmp_path: Path
) -> None:
    build_meddler(tmp_path / "meddler.efi")
    meddler = sign_image((tmp_path / "meddler.efi").read_bytes(), [keys.db], "meddler")
    image = sign_image(guest.image, [keys.db], "guest")
    result = started(meddler, enrolled(keys), tmp_path, {IMAGE_PATH: image})
    said = [line for line in result.console_lines if line.startswith("meddler: ")]
    assert said == ["meddler: offers an initrd, and starts the image"]
    assert_as_signed(result, guest)

    # Linux without the stub does as it is told.
    kernel = sign_image(zone_kernel.read_bytes(), [keys.db], "kernel")
    disk = make_disk_of(tmp_path / "kernel.img", {DEFAULT_PATH: meddler, IMAGE_PATH: kernel})
    options = boot_options(disk, [DEFAULT_PATH])
    store = make_store(tmp_path / "kernel.fd", [*enrolled(keys), *options])
    tried = try_in_turn(disk, [DEFAULT_PATH], store, until="Kernel command line: init=/evil ")
    assert tried.reached, tried.text()


def test_every_altered_image_is_refused_and_then_the_good_one_boots(
    zone: bytes, keys: Keys, tmp_path: Path
) -> None:
    good = sign_image(zone, [keys.db], "zone")
    fewer = {"half": len(good) // 2, "within the signature": len(good) - 100, "unsigned": len(zone)}
    revoked = flipped(zone, pe.parse_headers(zone, "zone").coff_offset + 5)
    images = {
        "unsigned": zone,
        "stranger": sign_image(zone, [keys.stranger], "zone"),
        "revoked by hash": sign_image(revoked, [keys.db], "zone"),
        "revoked by certificate": sign_image(zone, [keys.old], "zone"),
        "revoked by certificate digest": sign_image(zone, [keys.older], "zone"),
        **{f"truncated/{name}": good[:size] for name, size in fewer.items()},
        **flips(good),
    }
    sections = [row.name for row in pe.parse_headers(good, "zone").sections if row.raw_size]
    assert {f"section/{name}" for name in sections} < set(images)
    names = {f"T/{number}.EFI": name for number, name in enumerate(images)}
    files = {path: images[name] for path, name in names.items()} | {DEFAULT_PATH: good}
    disk = make_disk_of(tmp_path / "disk.img", files)
    dbx = [
        siglist.images(OWNER, [image_digest(revoked, "zone")]),
        siglist.x509(OWNER, keys.old.certificate),
        revoked_tbs(OWNER, keys.older.certificate),
    ]
    variables = enrolled(keys, db=[keys.db, keys.old, keys.older], dbx=dbx)
    store = make_store(tmp_path / "store.fd", [*variables, *boot_options(disk, list(files))])
    tried = try_in_turn(disk, list(files), store, until="sprout-ready ")

    assert tried.reached, tried.text()
    by_name = {names[path]: refusal for path, refusal in tried.refused.items()}
    assert set(by_name) == set(images), tried.text()
    assert {(row.by, row.reason) for row in by_name.values()} == {("firmware", "Access Denied")}
    # What is no PE file at all is not refused: there is nothing to boot.
    assert not tried.failed


def test_revoked_images_are_good_but_for_dbx(zone: bytes, keys: Keys, tmp_path: Path) -> None:
    signed = sign_image(zone, [keys.old], "zone")
    assert started(signed, enrolled(keys, db=[keys.db, keys.old]), tmp_path).ready


def test_refusal_is_told_from_other_failures(zone: bytes, keys: Keys, tmp_path: Path) -> None:
    with pytest.raises(RefusedError) as caught:
        started(zone, enrolled(keys), tmp_path)
    error = caught.value
    assert error.message == "guest: the firmware refused the image: Access Denied"
    assert (error.by, error.reason, error.exit_status) == ("firmware", "Access Denied", 3)

    # The same machine, an application that it trusts and that comes back: no refusal.
    application = tmp_path / "return.efi"
    compile_application(HERE / "machine/guest.c", application, "BEHAVIOUR=RETURN")
    with pytest.raises(BootError) as other:
        started(sign_image(application.read_bytes(), [keys.db], "guest"), enrolled(keys), tmp_path)
    assert not isinstance(other.value, RefusedError)
    assert other.value.exit_status == 1
    assert "guest: hello" in other.value.console_lines


def test_image_below_the_sbat_level_is_refused_by_the_stub(
    guest: Guest, keys: Keys, tmp_path: Path
) -> None:
    signed = sign_image(guest.image, [keys.db], "guest")
    with pytest.raises(RefusedError) as caught:
        started(signed, enrolled(keys) + level({"sprout-test": 5}, keys), tmp_path)
    assert caught.value.by == "stub"
    assert caught.value.message.startswith("guest: the boot stub refused the image: sprout-test: ")
    # Anybody in the operating system can write a variable that asks for no signature.
    variable, _ = level({"sprout-test": 4}, keys)
    open_to_all = replace(variable, attributes=7, time=None)
    with pytest.raises(RefusedError) as unsafe:
        started(signed, [*enrolled(keys), open_to_all], tmp_path)
    assert (unsafe.value.by, unsafe.value.reason.split(":")[0]) == ("stub", levels.VARIABLE)
