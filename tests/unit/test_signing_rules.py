"""Images with unusual signatures: accepted or refused, and by whom."""

from __future__ import annotations

import pytest
from memory_signers import NOW, signer
from odd_images import machine
from odd_signatures import signature, with_signatures
from small_pe import small_pe

from sprout.signing import authenticode, siglist
from sprout.signing.trust import Trust, merged, revocations
from sprout.signing.verify import Reason, verify_image

PLAIN = small_pe()
DB = signer("db")
FIRST, SECOND, THIRD = (small_pe({".text": bytes((number,)) * 600}) for number in range(3))
ODD = machine(PLAIN, (FIRST, SECOND, THIRD))


@pytest.mark.filterwarnings("ignore::cryptography.utils.CryptographyDeprecationWarning")
@pytest.mark.parametrize("name", ODD.images)
def test_who_refuses(name: str) -> None:
    image, by = ODD.images[name]
    verdict = verify_image(image, name, ODD.trust, at=NOW)
    assert verdict.accepted is (by is None), verdict.refusals
    if by is not None:
        assert verdict.refusals[0].by == by, verdict.refusals


@pytest.mark.parametrize("algorithm", ["sha1", "sha256", "sha384", "sha512"])
def test_image_is_revoked_by_all_that_its_signatures_use(algorithm: str) -> None:
    image = with_signatures(PLAIN, signature(PLAIN, DB, algorithm=algorithm), signature(PLAIN, DB))
    digests = authenticode.revocable_digests(image, "image")
    assert list(digests) == sorted({"sha256", algorithm}, key="sha256".__ne__)
    assert digests[algorithm] == authenticode.image_digest(PLAIN, "image", algorithm)
    trust = Trust(images=(DB.certificate,))
    for digest in digests.values():
        listed = siglist.pack([siglist.images(siglist.X509, [digest])])
        (refusal,) = verify_image(
            image, "image", merged(trust, revocations(listed, "dbx")), at=NOW
        ).refusals
        assert (refusal.reason, refusal.by) == (Reason.REVOKED_HASH, "firmware")
        assert digest.hex() in refusal.text


def test_image_with_a_signature_that_does_not_parse_is_revoked_by_all() -> None:
    image = with_signatures(PLAIN, signature(PLAIN, DB, algorithm="sha512"), b"\x30\x03\2\1\0")
    assert list(authenticode.revocable_digests(image, "image")) == [
        "sha256",
        "sha1",
        "sha384",
        "sha512",
    ]
    assert list(authenticode.revocable_digests(PLAIN, "image")) == ["sha256"]
