"""What is inside an artifact may be hostile, and how it is sent: nothing unpacks it on the way."""

from __future__ import annotations

import gzip
import io
import re
import tarfile
from pathlib import Path

import pytest
from commands import Sprout, assert_one_error
from oci_content import signed_artifact, signer, spoil
from oci_server import Handler, serving

from sprout.oci.digest import tag_of
from sprout.oci.model import Manifest, parse_manifest

RELEASE = signer("release")
BOMB = gzip.compress(bytes(256 << 20))
PEAK = re.compile(rb"peak memory: ([0-9]+) MiB")


def linking() -> bytes:
    """Give an archive that writes elsewhere wherever it is unpacked without care."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as archive:
        for name, kind, link in (
            ("up", tarfile.SYMTYPE, ".."),
            ("up/out", tarfile.REGTYPE, ""),
            ("passwd", tarfile.LNKTYPE, "/etc/passwd"),
            ("../out", tarfile.REGTYPE, ""),
        ):
            row = tarfile.TarInfo(name)
            row.type, row.linkname = kind, link
            archive.addfile(row)
    return out.getvalue()


@pytest.mark.parametrize("name", ["modules.tar", "kernel/config.gz"])
def test_archives_inside_stay_what_they_are(sprout: Sprout, tmp_path: Path, name: str) -> None:
    """Links and bombs are bytes here, for whoever opens them: pull, verify and inspect do not."""
    data = linking() if name.endswith(".tar") else BOMB
    content, _ = signed_artifact(RELEASE, {name: data})
    with serving(content, tmp_path) as server:
        words = ("--ca", server.authority, "--key", RELEASE.write(tmp_path / "k.pub"))
        before = sorted(tmp_path.rglob("*"))
        output = sprout("verify", server.reference, *words)
        assert output.status == 0, output.stderr.decode()
        assert sprout("inspect", server.reference, *words[:2]).status == 0
        assert sorted(tmp_path.rglob("*")) == before
        output = sprout("pull", server.reference, *words, "-o", tmp_path / "out", "--arch", "amd64")
        assert output.status == 0, output.stderr.decode()
    found = PEAK.search(output.stdout)
    assert found is not None
    assert int(found[1]) < 128
    files = [path for path in (tmp_path / "out").rglob("*") if not path.is_dir()]
    assert [str(path.relative_to(tmp_path / "out")) for path in files] == [name]
    assert files[0].read_bytes() == data


@pytest.mark.parametrize("part", ["/manifests/1", "/blobs/", "/referrers/"])
def test_bomb_as_an_encoding(sprout: Sprout, tmp_path: Path, part: str) -> None:
    """A registry that compresses what nobody asked to be compressed: its bytes are others."""
    content, _ = signed_artifact(RELEASE)

    def encoded(handler: Handler) -> bool:
        if part not in handler.path:
            return False
        kind = "application/vnd.oci.image.index.v1+json"
        handler.answer(200, BOMB, Content_Encoding="gzip", Content_Type=kind)
        return True

    with serving(content, tmp_path) as server:
        server.tricks.append(encoded)
        words = ("--ca", server.authority, "--key", RELEASE.write(tmp_path / "k.pub"))
        before = sorted(tmp_path.rglob("*"))
        more = ("-o", tmp_path / "out", "--arch", "amd64")
        assert_one_error(sprout("pull", server.reference, *words, *more), ": refused: ")
        assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.parametrize("form", ["bundle", "tag"])
def test_flipped_byte_of_a_signature(sprout: Sprout, tmp_path: Path, form: str) -> None:
    """In its manifest, and in its blob; the other form of it is not there."""
    content, made = signed_artifact(RELEASE)
    tag = tag_of(made.index.digest, ".sig")
    if form == "bundle":
        del content.tags[tag]
        digest = content.referrers[made.index.digest][0].digest
    else:
        content.referrers.clear()
        digest = content.tags[tag]
    manifest = parse_manifest(content.manifests[digest][0], "x")
    assert isinstance(manifest, Manifest)
    (layer,) = manifest.layers
    words = ("--key", RELEASE.write(tmp_path / "k.pub"))
    for part in (None, digest, layer.digest):
        if part is not None:
            spoil(content, part)
        with serving(content, tmp_path) as server:
            output = sprout("verify", server.reference, *words, "--ca", server.authority)
        if part is None:
            assert output.status == 0, output.stderr.decode()
        else:
            assert_one_error(output, ": refused: ")
            spoil(content, part)  # flips it back
