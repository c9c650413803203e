"""What strangers say of an artifact: anybody who may push to a registry may refer to it."""

from __future__ import annotations

from pathlib import Path

import pytest
from commands import Sprout, assert_one_error
from oci_content import Content, artifact, signed_artifact, signer
from oci_server import serving

from sprout.oci import carry as carrying
from sprout.oci import cosign
from sprout.oci.carry import carry
from sprout.oci.keys import TrustedKey
from sprout.oci.layout import open_layout
from sprout.oci.model import (
    EMPTY_CONFIG,
    INDEX,
    MANIFEST,
    Descriptor,
    Index,
    Manifest,
    describe,
)
from sprout.oci.names import parse_reference
from sprout.oci.policy import Policy
from sprout.oci.remote import Remote
from sprout.oci.verify import list_remote
from sprout.oci.web import Access

RELEASE, STRANGER = signer("release"), signer("stranger")


def test_strangers_do_not_hide_a_good_signature(sprout: Sprout, tmp_path: Path) -> None:
    """A hundred bundles of others come first in the list, and there is no signature by a tag."""
    content = Content()
    made = artifact(content)
    for number in range(100):
        statement = cosign.statement_of(cosign.SIGNED, {"n": number}, made.index)
        signature = STRANGER.sign(cosign.dsse_message(cosign.IN_TOTO, statement), "x")
        found = cosign.bundle_of(made.index, cosign.SIGNED, statement, signature, STRANGER.public)
        content.add(found, made.index.digest)
    content.add(cosign.sign_bundle(made.index, RELEASE, RELEASE.public), made.index.digest)
    key = RELEASE.write(tmp_path / "k.pub")
    with serving(content, tmp_path) as server:
        words = ("--key", key, "--ca", server.authority)
        output = sprout("verify", server.reference, *words)
        assert output.status == 0, output.stderr.decode()
        content.referrers[made.index.digest].pop()
        assert_one_error(sprout("verify", server.reference, *words), "none of the trusted keys")


@pytest.mark.parametrize("part", ["manifest", "blob"])
def test_what_is_not_there_hides_nothing(sprout: Sprout, tmp_path: Path, part: str) -> None:
    """A bundle that is listed first and missing, or whose blob is."""
    content, made = signed_artifact(RELEASE)
    other = cosign.sign_bundle(made.index, STRANGER, STRANGER.public)
    content.add(other, made.index.digest)
    content.referrers[made.index.digest].reverse()
    if part == "manifest":
        del content.manifests[other.row.digest]
    else:
        del content.blobs[describe(other.blobs[1], "").digest]
    with serving(content, tmp_path) as server:
        words = ("--key", RELEASE.write(tmp_path / "k.pub"), "--ca", server.authority)
        output = sprout("verify", server.reference, *words)
        assert output.status == 0, output.stderr.decode()
        more = ("--layout", "-o", tmp_path / "layout")
        output = sprout("pull", server.reference, *words, *more)
        assert output.status == 0, output.stderr.decode()
        assert f"warning: {other.row.digest} refers to it" in output.stderr.decode()
        assert sprout("verify", tmp_path / "layout", *words[:2]).status == 0
        again = sprout("pull", server.reference, *words, *more)
        assert_one_error(again, "is there and is not empty")


def test_manifest_named_a_thousand_times(sprout: Sprout, tmp_path: Path) -> None:
    content = Content()
    made = artifact(content)
    (inner,) = [content.manifests[made.manifest.digest][0]]
    rows = tuple(Descriptor(MANIFEST, made.manifest.digest, len(inner)) for _ in range(1000))
    outer = content.manifest(Index(rows).to_bytes(), INDEX, "1")
    content.sign(outer, RELEASE)
    with serving(content, tmp_path) as server:
        output = sprout("inspect", server.reference, "--ca", server.authority)
        assert output.status == 0, output.stderr.decode()
        asked = [path for path in server.paths if path.endswith(made.manifest.digest)]
        # Itself, and what refers to it.
        assert len(asked) == 2
    large = tuple(
        Descriptor(MANIFEST, f"sha256:{number:064x}", 4 << 20, architecture="amd64")
        for number in range(9)
    )
    outer = content.manifest(Index(large).to_bytes(), INDEX, "1")
    content.sign(outer, RELEASE)
    with serving(content, tmp_path) as server:
        words = ("--ca", server.authority)
        output = sprout("inspect", server.reference, *words)
        assert_one_error(output, "has more than 33,554,432 bytes of manifests")
        output = sprout("verify", server.reference, *words, "--key", RELEASE.write(tmp_path / "k"))
        assert_one_error(output, "has more than 33,554,432 bytes of manifests")


def _talk(content: Content, subject: Descriptor, size: int, number: int) -> Descriptor:
    """Refer to a manifest with so many bytes of nothing."""
    blob = content.blob(bytes([number]) * size)
    said = Manifest(EMPTY_CONFIG, (blob,), "application/vnd.talk", subject).to_bytes()
    content.manifest(said, MANIFEST)
    row = describe(said, MANIFEST, artifact_type="application/vnd.talk")
    content.referrers.setdefault(subject.digest, []).insert(0, row)
    return row


def test_what_comes_along_is_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of much talk, some comes along; the signature does in any case."""
    content, made = signed_artifact(RELEASE)
    talk = [_talk(content, made.index, 100_000, number) for number in range(8)]
    monkeypatch.setattr(carrying, "_MAX_REFERRING_BYTES", 350_000)
    policy = Policy((TrustedKey("release", RELEASE.public),))
    with serving(content, tmp_path) as server:
        access = Access(authority=server.authority)
        remote = Remote(parse_reference(server.reference), access)
        left = carry(remote, list_remote(remote, policy), tmp_path / "layout", lambda _: None)
    layout = open_layout(tmp_path / "layout")
    listed = [row.digest for row in layout.index.manifests]
    came = [row for row in talk if row.digest in listed]
    assert len(came) == 3
    assert sorted(left) == sorted(row.digest for row in talk if row not in came)
    assert [row for row in layout.index.manifests if row.artifact_type == cosign.BUNDLE]


def test_mount_asks_the_registry_for_its_neighbour(sprout: Sprout, tmp_path: Path) -> None:
    """Beside what the real registry does: the very request of distribution-spec 1.1."""
    content, _ = signed_artifact(RELEASE)
    with serving(content, tmp_path) as server:
        words = ("--key", RELEASE.write(tmp_path / "k.pub"), "--ca", server.authority)
        output = sprout("pull", server.reference, "--layout", "-o", tmp_path / "layout", *words)
        assert output.status == 0, output.stderr.decode()
        content.blobs.clear()
        more = ("--unsigned", "--mount", "kernels/other", "--ca", server.authority)
        output = sprout("push", tmp_path / "layout", f"{server.host}/kernels/b:1", *more)
        assert output.status == 0, output.stderr.decode()
        asked = [path for path in server.paths if "mount=" in path]
    assert asked
    assert all("from=kernels%2Fother" in path for path in asked)
