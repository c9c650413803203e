"""What is wrong with an artifact, its signatures or the target: one clear line, nothing left."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from commands import Sprout, assert_one_error
from oci_content import (
    FILES,
    Artifact,
    Content,
    artifact,
    flipped,
    signed_artifact,
    signer,
    spoil,
)
from oci_refused import refused
from oci_server import Handler, serving

from sprout.oci import cosign
from sprout.oci.definition import Definition, FileRow
from sprout.oci.layout import open_layout
from sprout.oci.layout_sign import sign_layout
from sprout.oci.model import INDEX, MANIFEST, TITLE, Descriptor
from sprout.oci.pack import pack
from sprout.oci.strict_json import write_json

RELEASE, STRANGER = signer("release"), signer("stranger")
_SIZES = {"a": 400, "b": 300}


@pytest.fixture
def key(tmp_path: Path) -> Path:
    return RELEASE.write(tmp_path / "release.pub")


def test_good_one_is_taken(sprout: Sprout, tmp_path: Path, key: Path) -> None:
    content, made = signed_artifact(RELEASE)
    with serving(content, tmp_path) as server:
        words = ("--key", key, "-o", tmp_path / "out", "--ca", server.authority)
        output = sprout("pull", server.reference, *words, "--arch", "amd64")
        assert output.status == 0, output.stderr.decode()
    assert made.index.digest in output.stdout.decode()
    assert b"peak memory: " in output.stdout
    assert {name: (tmp_path / "out" / name).read_bytes() for name in FILES} == FILES
    assert sorted(path.name for path in tmp_path.iterdir() if path.name.startswith(".")) == []


@pytest.mark.parametrize("what", ["kernel/image", "kernel/config.gz", "manifest", "index"])
def test_flipped_byte(sprout: Sprout, tmp_path: Path, key: Path, what: str) -> None:
    content, made = signed_artifact(RELEASE)
    row = made.files.get(what) or (made.manifest if what == "manifest" else made.index)
    spoil(content, row.digest)
    with serving(content, tmp_path) as server:
        if what == "index":
            by_digest = f"{server.host}/kernels/zone@{row.digest}"
            refused(sprout, server, key, "its digest is", row.digest, reference=by_digest)
            refused(sprout, server, key, "is not signed")
        else:
            refused(sprout, server, key, "its digest is", row.digest)


def _unsigned(content: Content, made: Artifact) -> None:
    content.referrers.clear()
    content.tags = {"1": made.index.digest}


def _stranger(content: Content, made: Artifact) -> None:
    _unsigned(content, made)
    content.sign(made.index, STRANGER)


def _other_bundle(content: Content, made: Artifact) -> None:
    """Move a good bundle to an artifact that it does not speak of, under its own subject."""
    _unsigned(content, made)
    other = artifact(content, {"other": b"other"}, tag="other")
    bundle = cosign.sign_bundle(other.index, RELEASE, RELEASE.public)
    statement_of_other = cosign.bundle_of(
        made.index, cosign.SIGNED, *_signed_statement(other.index), RELEASE.public
    )
    assert bundle.row.digest != statement_of_other.row.digest
    content.add(statement_of_other, made.index.digest)


def _signed_statement(row: Descriptor, predicate: str = cosign.SIGNED) -> tuple[bytes, bytes]:
    statement = write_json(
        {
            "_type": "https://in-toto.io/Statement/v1",
            "predicate": {},
            "predicateType": predicate,
            "subject": [{"name": "", "digest": {"sha256": row.digest.partition(":")[2]}}],
        }
    )
    message = cosign.dsse_message("application/vnd.in-toto+json", statement)
    return statement, RELEASE.sign(message, "statement")


def _other_tag(content: Content, made: Artifact) -> None:
    _unsigned(content, made)
    other = artifact(content, {"other": b"other"}, tag="other")
    form = cosign.sign_tag_form("name", other.index.digest, RELEASE)
    wanted = cosign.sign_tag_form("name", made.index.digest, RELEASE).tag
    content.add(replace(form, tag=wanted), made.index.digest)


def _provenance(content: Content, made: Artifact) -> None:
    _unsigned(content, made)
    predicate = "https://slsa.dev/provenance/v1"
    signed = _signed_statement(made.index, predicate)
    content.add(cosign.bundle_of(made.index, predicate, *signed, RELEASE.public), made.index.digest)


@pytest.mark.parametrize(
    ("spoiled", "words"),
    [
        (_unsigned, "is not signed"),
        (_stranger, "is signed by none of the trusted keys (release.pub)"),
        (_other_bundle, "signs another digest than"),
        (_other_tag, "signs sha256:"),
        (_provenance, "vouches for https://slsa.dev/provenance/v1, not"),
    ],
    ids=["unsigned", "stranger", "other digest (bundle)", "other digest (tag)", "other predicate"],
)
def test_signatures(
    sprout: Sprout,
    tmp_path: Path,
    key: Path,
    spoiled: Callable[[Content, Artifact], None],
    words: str,
) -> None:
    content, made = signed_artifact(RELEASE)
    spoiled(content, made)
    with serving(content, tmp_path) as server:
        refused(sprout, server, key, words)
        verify = ("verify", server.reference, "--key", key, "--ca", server.authority)
        assert_one_error(sprout(*verify), words)
        (said,) = json.loads(sprout(*verify, "--json").stdout)
        assert (said["accepted"], words in said["problem"]) == (False, True)
        assert said["why"]


@pytest.mark.parametrize(
    "name", ["../x", "a/../../x", "/x", "a//b", "a\0b", "", "a\\b", "a\x1b[2J"]
)
def test_file_names(sprout: Sprout, tmp_path: Path, key: Path, name: str) -> None:
    content, _ = signed_artifact(RELEASE, {name: b"data"})
    with serving(content, tmp_path) as server:
        refused(sprout, server, key, "file name")


def _layer(**changes: object) -> Content:
    """Give a signed content whose one layer is described otherwise than it is."""
    content = Content()
    row = content.blob(b"data" * 100)
    row = replace(row, annotations={TITLE: "file"}, **changes)  # type: ignore[arg-type]
    made = artifact(content, {}, layers=[row])
    content.sign(made.index, RELEASE)
    return content


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"size": 300}, "is longer than the 300 bytes declared"),
        ({"size": 500}, "is shorter than the 500 bytes declared"),
        ({"digest": "md5:" + "0" * 32}, "the digest algorithm md5 is unknown"),
        ({"digest": "sha256:" + "0" * 63}, "is no sha256 digest"),
        ({"digest": "../../etc/passwd"}, "is no digest"),
        ({"size": -1}, "its size is no number"),
    ],
    ids=["longer", "shorter", "md5", "short digest", "no digest", "negative"],
)
def test_descriptors(
    sprout: Sprout, tmp_path: Path, key: Path, changes: dict[str, object], words: str
) -> None:
    with serving(_layer(**changes), tmp_path) as server:
        refused(sprout, server, key, words)


def test_one_digest_with_two_sizes(sprout: Sprout, tmp_path: Path, key: Path) -> None:
    content = Content()
    row = content.blob(b"data" * 100)
    both = [replace(row, annotations={TITLE: name}, size=size) for name, size in _SIZES.items()]
    made = artifact(content, {}, layers=both)
    content.sign(made.index, RELEASE)
    with serving(content, tmp_path) as server:
        refused(sprout, server, key, f"gives {row.digest} two sizes")


def test_long_manifest(sprout: Sprout, tmp_path: Path, key: Path) -> None:
    content, _ = signed_artifact(RELEASE)
    content.manifest(b" " * (4 << 20) + b"{}", INDEX, "1")
    with serving(content, tmp_path) as server:
        refused(sprout, server, key, "longer than 4,194,304 bytes")


def test_other_digest_than_asked(sprout: Sprout, tmp_path: Path, key: Path) -> None:
    content, made = signed_artifact(RELEASE)
    good = content.manifests[made.manifest.digest]

    def other(handler: Handler) -> bool:
        if not handler.path.endswith(made.index.digest):
            return False
        handler.answer(200, good[0], Content_Type=MANIFEST)
        return True

    with serving(content, tmp_path) as server:
        server.tricks.append(other)
        by_digest = f"{server.host}/kernels/zone@{made.index.digest}"
        refused(sprout, server, key, f"not {made.index.digest}", reference=by_digest)


def test_wrong_use(sprout: Sprout, tmp_path: Path, key: Path) -> None:
    pull = ("pull", "registry.example/kernels/zone:1")
    assert_one_error(sprout(*pull, "-o", tmp_path / "out"), "--key", status=2)
    assert_one_error(sprout("verify", pull[1]), "--key", status=2)
    for bad in ("zone", "registry.example/UPPER:1", "registry.example/a/../b", "x/y:1@md5:0"):
        output = sprout("pull", bad, "--key", key, "-o", tmp_path / "out")
        assert_one_error(output, bad, status=2)


def test_link_in_the_target_is_not_followed(sprout: Sprout, tmp_path: Path, key: Path) -> None:
    content, _ = signed_artifact(RELEASE)
    elsewhere, target = tmp_path / "elsewhere", tmp_path / "out"
    elsewhere.mkdir()
    target.mkdir()
    (target / "kernel").symlink_to(elsewhere)
    with serving(content, tmp_path) as server:
        words = ("--key", key, "-o", target, "--ca", server.authority, "--arch", "amd64")
        assert_one_error(sprout("pull", server.reference, *words), "is there and is no directory")
    assert list(elsewhere.iterdir()) == []


def test_scratch_of_others_is_not_used(sprout: Sprout, tmp_path: Path, key: Path) -> None:
    content, _ = signed_artifact(RELEASE)
    elsewhere, scratch = tmp_path / "elsewhere", tmp_path / ".out.sprout-pull"
    elsewhere.mkdir()
    with serving(content, tmp_path) as server:
        words = ("--key", key, "-o", tmp_path / "out", "--ca", server.authority, "--arch", "amd64")
        scratch.symlink_to(elsewhere)
        assert_one_error(sprout("pull", server.reference, *words), "others decide what is in it")
        assert list(elsewhere.iterdir()) == []
        scratch.unlink()
        scratch.mkdir()
        scratch.chmod(0o777)
        assert_one_error(sprout("pull", server.reference, *words), "others decide what is in it")
    assert not (tmp_path / "out").exists()


def test_suffix_of_a_layout_is_part_of_a_tag(sprout: Sprout, tmp_path: Path) -> None:
    rows = (FileRow("file", "kernel", "text/plain"),)
    pack(tmp_path / "layout", [Definition("k", "", "a/b", {}, rows)], {"amd64": {"kernel": b"x"}})
    index = tmp_path / "layout/index.json"
    old, new = b'"vnd.sprout.tag.suffix":""', b'"vnd.sprout.tag.suffix":"/../../../b/manifests/x"'
    assert old in index.read_bytes()
    index.write_bytes(index.read_bytes().replace(old, new))
    content = Content()
    with serving(content, tmp_path) as server:
        words = ("push", tmp_path / "layout", f"{server.host}/a:1", "--unsigned")
        output = sprout(*words, "--ca", server.authority)
        assert_one_error(output, "makes no tag of it")
        assert server.paths == []


def test_names_in_a_layout_do_not_speak_to_the_terminal(
    sprout: Sprout, tmp_path: Path, key: Path
) -> None:
    rows = (FileRow("file", "kernel", "text/plain"),)
    pack(tmp_path / "layout", [Definition("k", "", "a/b", {}, rows)], {"amd64": {"kernel": b"x"}})
    sign_layout(open_layout(tmp_path / "layout"), RELEASE, RELEASE.public)
    index = tmp_path / "layout/index.json"
    named = b'"org.opencontainers.image.ref.name":"k"'
    forged = named.replace(b'"k"', b'"k\\n\\u001b[2J  accepted"')
    assert named in index.read_bytes()
    index.write_bytes(index.read_bytes().replace(named, forged))
    output = sprout("verify", tmp_path / "layout", "--key", key)
    assert output.status == 0, output.stderr.decode()
    assert b"\x1b" not in output.stdout
    assert output.stdout.count(b"\n") == 4


def test_flipped_helper_changes_one_bit() -> None:
    data = bytes(range(9))
    changed = [a ^ b for a, b in zip(data, flipped(data), strict=True)]
    assert sum(changed) == 1
