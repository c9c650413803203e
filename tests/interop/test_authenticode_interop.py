"""Signatures on images: sbsign, sbverify and osslsigncode take ours, and we take theirs."""

from __future__ import annotations

import subprocess
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path

import pytest
from memory_signers import MemorySigner, signer
from small_pe import small_pe

from sprout.signing import authenticode
from sprout.signing.trust import Trust
from sprout.signing.verify import Reason, Verdict, verify_image

# Its length is no multiple of 8: verifiers and signers have to agree on the padding.
SYSTEMD_BOOT = Path("/usr/lib/systemd/boot/efi/systemd-bootx64.efi")
# These tools, unlike firmware, do judge validity in time, and by the machine's clock.
TODAY = datetime.now(UTC).replace(microsecond=0)
lasting = partial(signer, begins=TODAY - timedelta(days=1), ends=TODAY + timedelta(days=365))
OURS = {bits: lasting(f"ours {bits}", bits=bits) for bits in (2048, 3072)}
THEIRS = lasting("theirs")


def run(*command: str | Path, status: int = 0) -> str:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode == 0) is (status == 0), done.stdout + done.stderr
    return done.stdout + done.stderr


@pytest.fixture(params=["small", "systemd-boot"])
def plain(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    path = tmp_path / "plain.efi"
    small = request.param == "small"
    path.write_bytes(small_pe() if small else SYSTEMD_BOOT.read_bytes())
    return path


def ours(path: Path, key: MemorySigner) -> Path:
    target = path.with_name("ours-" + path.name)
    target.write_bytes(authenticode.sign_image(path.read_bytes(), [key], path.name))
    return target


def sbsigned(path: Path, key: MemorySigner) -> Path:
    private, certificate = key.write(path.parent, "theirs")
    target = path.with_name("sbsign-" + path.name)
    run("sbsign", "--key", private, "--cert", certificate, "--output", target, path)
    return target


def osslsigned(path: Path, key: MemorySigner, digest: str, *more: str | Path) -> Path:
    private, certificate = key.write(path.parent, "theirs")
    target = path.with_name(f"ossl-{digest}-" + path.name)
    words = ["osslsigncode", "sign", "-h", digest, "-key", private, "-certs", certificate, *more]
    run(*words, "-in", path, "-out", target)
    return target


def judge(path: Path, *keys: MemorySigner) -> Verdict:
    trust = Trust(images=tuple(key.certificate for key in keys))
    return verify_image(path.read_bytes(), path, trust)


def others_accept(path: Path, key: MemorySigner, *, ossl: bool = True) -> None:
    certificate = key.write(path.parent, "checked")[1]
    assert "Signature verification OK" in run("sbverify", "--cert", certificate, path)
    if ossl:
        run("osslsigncode", "verify", "-CAfile", certificate, "-in", path)


@pytest.mark.parametrize("bits", OURS)
def test_ours_is_accepted_by_others(plain: Path, bits: int) -> None:
    image = ours(plain, OURS[bits])
    others_accept(image, OURS[bits])
    assert judge(image, OURS[bits]).accepted
    certificate = THEIRS.write(plain.parent, "stranger")[1]
    run("sbverify", "--cert", certificate, image, status=1)


def test_others_are_accepted_by_us(plain: Path) -> None:
    images = [sbsigned(plain, THEIRS)]
    images += [osslsigned(plain, THEIRS, digest) for digest in ("sha256", "sha384", "sha512")]
    for image in images:
        assert judge(image, THEIRS).accepted, image
        verdict = judge(image, OURS[2048])
        assert [row.reason for row in verdict.refusals] == [Reason.STRANGER]
        altered = bytearray(image.read_bytes())
        altered[0x400] ^= 1
        image.write_bytes(altered)
        assert [row.reason for row in judge(image, THEIRS).refusals] == [Reason.ALTERED]


def test_weak_digest_of_others_is_refused(plain: Path) -> None:
    verdict = judge(osslsigned(plain, THEIRS, "sha1"), THEIRS)
    assert not verdict.accepted
    assert "digest algorithm" in verdict.refusals[0].text


def test_two_signatures_in_any_order(plain: Path) -> None:
    one, two = OURS[2048], OURS[3072]
    for image, first, second in (
        (ours(ours(plain, one), two), one, two),
        (ours(sbsigned(plain, THEIRS), one), THEIRS, one),
        (sbsigned(ours(plain, one), THEIRS), one, THEIRS),
    ):
        found = authenticode.signatures(image.read_bytes(), image)
        carried = [row.message.certificates[0] for row in found]
        assert carried == [first.certificate, second.certificate]
        for key in (first, second):
            assert judge(image, key).accepted
            # osslsigncode takes no table of more than one entry, whoever made it.
            others_accept(image, key, ossl=False)


def test_sbattach_takes_ours_off(plain: Path) -> None:
    image = ours(plain, OURS[2048])
    signature = plain.with_name("signature")
    run("sbattach", "--detach", signature, "--remove", image)
    assert authenticode.signatures(image.read_bytes(), image) == ()
    assert authenticode.image_digest(image.read_bytes(), image) == authenticode.image_digest(
        plain.read_bytes(), plain
    )


def test_carried_chain_leads_to_the_root(plain: Path) -> None:
    root = lasting("root", ca=True)
    middle = lasting("middle", issuer=root, ca=True)
    leaf = lasting("leaf", issuer=middle)
    carried = middle.write(plain.parent, "middle")[1]
    image = osslsigned(plain, leaf, "sha256", "-ac", carried)
    for anchor in (leaf, middle, root):
        assert judge(image, anchor).accepted
    verdict = judge(osslsigned(plain, leaf, "sha512"), root)
    assert [row.reason for row in verdict.refusals] == [Reason.STRANGER]
    everything = Trust(images=(leaf.certificate,), revoked_certificates=(root.certificate,))
    verdict = verify_image(image.read_bytes(), image, everything)
    assert [row.reason for row in verdict.refusals] == [Reason.REVOKED_CERTIFICATE]
