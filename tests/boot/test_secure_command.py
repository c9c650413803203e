"""An owner's commands: new keys, sign an image of the tree, boot it on a machine that enforces."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from commands import Sprout, assert_one_error
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509 import load_pem_x509_certificate
from keyrings import WORDS, secret_file

from sprout.base.run import Output, check
from sprout.image.reading import read_image

Owner = Callable[..., Output]


@pytest.fixture
def owner(sprout: Sprout, tmp_path: Path, tree: Path, zone_disk: Path) -> Owner:
    """The command of somebody with new keys `fleet`, in a tree of their own."""
    secret_file(tmp_path / "pass")

    def run(*words: str | Path) -> Output:
        return sprout("--tree", tree, *words, env={"SPROUT_KEYS": str(tmp_path / "keys")})

    made = run("keys", "new", "fleet", "--passphrase-file", tmp_path / "pass")
    assert made.status == 0, made.stderr.decode()
    return run


def test_image_is_signed_and_boots_where_nothing_else_does(
    owner: Owner, tree: Path, tmp_path: Path
) -> None:
    secret = ("--pin-file", tmp_path / "pass")
    # Booting signs what is not signed yet, and needs no passphrase once it is.
    booted = owner("boot", "zone", "--secure-boot", "--key", "fleet", *secret)
    assert booted.status == 0, booted.stderr.decode()
    signed = tree / "build/zone-signed/zone.efi"
    before = signed.read_bytes()
    assert owner("verify", signed, "--key", "fleet.pub").status == 0
    assert owner("verify", signed.with_suffix(".img"), "--key", "fleet.pub").status == 0
    again = owner("sign", "zone", "--key", "fleet", *secret)
    assert again.status == 0, again.stderr.decode()
    assert signed.read_bytes() == before
    # A file that somebody put in the place of one of ours is replaced, and nothing else is.
    disk = signed.with_suffix(".img")
    whole = disk.read_bytes()
    disk.write_bytes(whole[:-1] + b"x")
    booted = owner("boot", "zone", "--secure-boot", "--key", "fleet", *secret)
    assert booted.status == 0, booted.stderr.decode()
    assert "signed by CN=fleet" in booted.stderr.decode()
    assert disk.read_bytes() == whole
    booted = owner("boot", "zone", "--secure-boot", "--key", "fleet")
    assert booted.status == 0, booted.stderr.decode()
    assert "signed by" not in booted.stderr.decode()

    # The unsigned image on the same machine; and the signed one once its certificate is revoked.
    plain = tree / "build/zone-image/zone.efi"
    refused = owner("boot", plain, "--secure-boot", "--key", "fleet")
    assert_one_error(refused, "zone.efi: the firmware refused the image: Access Denied", status=3)
    certificate = tmp_path / "keys/fleet.pub/db.crt"
    assert owner("keys", "revoke", "fleet", "--certificate", certificate).status == 0
    refused = owner("boot", signed, "--secure-boot", "--key", "fleet")
    assert_one_error(refused, "zone.efi: the firmware refused the image: Access Denied", status=3)
    assert_one_error(owner("verify", signed, "--key", "fleet.pub"), "dbx", status=3)


def test_level_is_the_owners_and_the_stub_keeps_it(owner: Owner, tmp_path: Path) -> None:
    assert owner("keys", "level", "fleet", "sprout-stub=2").status == 0
    secret = ("--passphrase-file", tmp_path / "pass")
    refused = owner("boot", "zone", "--secure-boot", "--key", "fleet", *secret)
    reason = "zone: the boot stub refused the image: sprout-stub: revoked: below this machine's"
    assert_one_error(refused, reason, status=3)


def test_signing_elsewhere_gives_the_same_bytes(owner: Owner, tree: Path, tmp_path: Path) -> None:
    signed = tree / "build/zone-signed/zone.efi"
    direct = owner("sign", "zone", "--key", "fleet", "--passphrase-file", tmp_path / "pass")
    assert direct.status == 0, direct.stderr.decode()
    before = signed.read_bytes()
    shutil.rmtree(signed.parent)
    folder = tmp_path / "offline"
    exported = owner("sign", "zone", "--key", "fleet.pub", "--export", folder)
    assert exported.status == 0, exported.stderr.decode()
    assert not signed.exists()
    missing = owner("sign", "zone", "--key", "fleet.pub", "--attach", folder)
    assert_one_error(missing, "zone.efi.sig: no such signature")
    key = tmp_path / "keys/fleet/db.key"
    words: list[str | Path] = ["openssl", "dgst", "-sha256", "-sign", key]
    words += ["-passin", f"pass:{WORDS}", "-out", folder / "zone.efi.sig"]
    check([*words, folder / "zone.efi.tbs"], "")
    attached = owner("sign", "zone", "--key", "fleet.pub", "--attach", folder)
    assert attached.status == 0, attached.stderr.decode()
    assert signed.read_bytes() == before


@pytest.mark.parametrize(
    ("words", "part"),
    [
        (("boot", "zone", "--secure-boot"), "--secure-boot needs --key KEY"),
        (("boot", "zone", "--key", "fleet"), "--key goes with --secure-boot"),
        (("boot", "zone", "--secure-boot", "--key", "fleet", "--exact"), "on the host's clock"),
        (("sign", "nothing", "--key", "fleet"), "nothing: no such image or file"),
        (("sign", "zone", "--key", "fleet", "--append"), "--append are for files"),
        (("sign", "zone"), "--key"),
    ],
)
def test_wrong_usage_is_told(owner: Owner, words: tuple[str, ...], part: str) -> None:
    assert_one_error(owner(*words), part, status=2)


def test_unknown_keys_are_told_before_anything_is_built(owner: Owner, tree: Path) -> None:
    assert_one_error(owner("sign", "zone", "--key", "stranger"), "stranger")
    assert_one_error(owner("boot", "zone", "--secure-boot", "--key", "stranger"), "stranger")
    assert not (tree / "build").exists()


def test_modules_of_an_image_are_signed_with_it(owner: Owner, tree: Path, tmp_path: Path) -> None:
    """A tree's image with modules: certificate in its kernel, signed modules in its initramfs."""
    (tree / "images.toml").write_text(
        "epoch = 1767225600\n[images.modular]\nflavor = 'modular'\ninitramfs = 'zone'\n"
        "modules = ['crct10dif_generic']\n"
    )
    secret = ("--passphrase-file", tmp_path / "pass")
    signed = owner("sign", "modular", "--key", "fleet", *secret)
    assert signed.status == 0, signed.stderr.decode()
    image = read_image(tree / "build/modular-signed/modular.efi")
    assert image.signed
    data = (tree / "build/modular-signed/modular.efi").read_bytes()
    pem = (tmp_path / "keys/fleet.pub/module.crt").read_bytes()
    assert der_of(pem) in data
    places = {section.name: section for section in image.sections}
    initrd = places[".initrd"]
    archive = data[initrd.offset : initrd.offset + initrd.size]
    names = [b"crct10dif_common.ko", b"crct10dif_generic.ko"]
    assert all(b"/" + name in archive for name in names)
    assert archive.count(b"~Module signature appended~\n") == len(names)
    assert b"~Module signature" not in (tree / "build/modular-image/modular.efi").read_bytes()


def der_of(pem: bytes) -> bytes:
    return load_pem_x509_certificate(pem).public_bytes(Encoding.DER)
