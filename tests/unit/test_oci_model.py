"""Manifests, indexes, digests, names and JSON from outside: strict, and within bounds."""

from __future__ import annotations

import json
from typing import Any

import pytest

from sprout.base.errors import UsageError
from sprout.oci.digest import check_bytes, digest_of, parse_digest, tag_of
from sprout.oci.model import (
    EMPTY_CONFIG,
    INDEX,
    MANIFEST,
    MAX_MANIFEST_BYTES,
    Descriptor,
    Index,
    Manifest,
    describe,
    parse_manifest,
)
from sprout.oci.names import check_file_name, parse_reference
from sprout.oci.refused import RefusedError, Why
from sprout.oci.strict_json import parse_json, write_json

LAYER = describe(b"data", "text/plain", annotations={"org.opencontainers.image.title": "a<b"})
ROW = {"mediaType": "text/plain", "digest": LAYER.digest, "size": 4}
GOOD: dict[str, Any] = {
    "schemaVersion": 2,
    "mediaType": MANIFEST,
    "config": EMPTY_CONFIG.to_json(),
    "layers": [ROW],
}


def test_what_is_written_is_read() -> None:
    subject = Descriptor(MANIFEST, digest_of(b"subject"), 7)
    manifest = Manifest(EMPTY_CONFIG, (LAYER,), "application/x", subject, {"b": "1", "a": "2"})
    assert parse_manifest(manifest.to_bytes(), "x") == manifest
    row = describe(manifest.to_bytes(), MANIFEST, architecture="arm64", artifact_type="a/b")
    index = Index((row,), annotations={"k": "v"})
    assert parse_manifest(index.to_bytes(), "x", INDEX) == index


def test_bytes_are_those_of_go() -> None:
    """skopeo writes an index anew: in Go's order, and with what HTML knows escaped."""
    row = Descriptor(MANIFEST, "sha256:" + "0" * 64, 1, architecture="amd64")
    assert Index((row,), annotations={"n": "<&>"}).to_bytes() == (
        b'{"schemaVersion":2,"mediaType":"application/vnd.oci.image.index.v1+json","manifests":'
        b'[{"mediaType":"application/vnd.oci.image.manifest.v1+json","digest":"sha256:'
        + b"0"
        * 64
        + b'","size":1,"platform":{"architecture":"amd64","os":"linux"}}],"annotations":'
        b'{"n":"\\u003c\\u0026\\u003e"}}'
    )


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"schemaVersion": 1}, "schemaVersion is not 2"),
        ({"mediaType": "application/vnd.docker.x"}, "is unknown"),
        ({"mediaType": INDEX}, "though it says so"),
        ({"manifests": []}, "a manifest and an index at once"),
        ({"layers": {}}, "layers is no array"),
        ({"layers": [ROW] * 1025}, "more than 1024"),
        ({"layers": [3]}, "layers[0]: refused: is no descriptor"),
        ({"layers": [ROW | {"size": True}]}, "its size is no number"),
        ({"layers": [ROW | {"size": 1 << 41}]}, "its size is no number"),
        ({"layers": [ROW | {"digest": None}]}, "is no digest"),
        ({"layers": [ROW | {"digest": "sha256:" + "A" * 64}]}, "is no sha256 digest"),
        ({"layers": [ROW | {"digest": "blake3:" + "a" * 64}]}, "algorithm blake3 is unknown"),
        ({"layers": [ROW | {"annotations": {"a": 1}}]}, "is no string"),
        ({"layers": [ROW | {"platform": []}]}, "platform is no object"),
        ({"config": None}, "config is no object"),
        ({"annotations": []}, "no object of at most"),
        ({"subject": 1}, "subject is no object"),
        ({"artifactType": 1}, "artifactType is no string"),
    ],
)
def test_malformed_manifests(changes: dict[str, Any], words: str) -> None:
    parse_manifest(json.dumps(GOOD).encode(), "x")
    with pytest.raises(RefusedError) as caught:
        parse_manifest(json.dumps(GOOD | changes).encode(), "x")
    assert words in caught.value.message
    assert caught.value.why == Why.MALFORMED


def test_another_kind_than_was_said() -> None:
    with pytest.raises(RefusedError, match="is called"):
        parse_manifest(json.dumps(GOOD).encode(), "x", INDEX)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"[]",
        b"\xff",
        b"{",
        b'{"a":1,"a":2}',
        b'{"a":NaN}',
        b"[" * 100_000,
        b'{"a":1}{',
        b'{"a":' + b"9" * 5000 + b"}",
    ],
)
def test_json_that_is_refused(data: bytes) -> None:
    with pytest.raises(RefusedError):
        parse_json(data, "x")


def test_json_that_is_taken() -> None:
    value = {"a": ["[" * 50, {"b": None}], "c": "é\u2028"}
    assert parse_json(write_json(value), "x") == value


def test_longest_manifest() -> None:
    data = json.dumps(GOOD).encode()
    parse_manifest(data + b" " * (MAX_MANIFEST_BYTES - len(data)), "x")
    with pytest.raises(RefusedError, match="longer than"):
        parse_manifest(data + b" " * (MAX_MANIFEST_BYTES - len(data) + 1), "x")


def test_digests() -> None:
    assert parse_digest(digest_of(b""), "x") == digest_of(b"")
    long = "sha512:" + "0" * 128
    assert parse_digest(long, "x") == long
    assert tag_of(digest_of(b""), ".sig") == digest_of(b"").replace(":", "-") + ".sig"
    with pytest.raises(RefusedError, match="its digest is sha256:"):
        check_bytes(b"a", digest_of(b"b"), "x")
    for bad in (
        "sha256",
        "sha256:",
        "sha1:" + "0" * 40,
        5,
        "sha256:../../x",
        "\n" + digest_of(b""),
    ):
        with pytest.raises(RefusedError):
            parse_digest(bad, "x")


@pytest.mark.parametrize("name", ["kernel/image", "a", "ä", "...", "a b", "x" * 255])
def test_file_names_that_stay_inside(name: str) -> None:
    assert check_file_name(name, "x") == name


@pytest.mark.parametrize(
    "name",
    ["", "/", "/a", "a/", "..", "../a", "a/..", "a/./b", "a//b", "a\0", "a\nb", "\x1b[2J", "a\\b"]
    + ["x" * 256, "é" * 200, "/".join("a" * 17), ".sprout-1.tmp", "a/.sprout-x", "\u202ea"],
)
def test_file_names_that_do_not(name: str) -> None:
    with pytest.raises(RefusedError):
        check_file_name(name, "x")


def test_references() -> None:
    found = parse_reference("registry.example:5000/kernels/zone:6.12")
    assert (found.registry, found.repository, found.tag) == (
        "registry.example:5000",
        "kernels/zone",
        "6.12",
    )
    assert parse_reference("localhost/a").tag == "latest"
    both = parse_reference(f"[::1]:5000/a/b:1@{digest_of(b'')}")
    assert both.digest == digest_of(b"")
    assert str(both) == f"[::1]:5000/a/b:1@{digest_of(b'')}"
    assert parse_reference(f"r.example/a@{digest_of(b'')}").tag is None


@pytest.mark.parametrize(
    "text",
    ["", "zone", "r.example", "r.example/", "r.example/A", "r.example/a/../b", "r.example/a:"]
    + ["r.example/a:b:c", "r.example/a@md5:0", "https://r.example/a", "r.example/a?x", "u@h/a"],
)
def test_what_is_no_reference(text: str) -> None:
    with pytest.raises(UsageError):
        parse_reference(text)
