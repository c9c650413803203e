"""Packing and layouts: the same bytes from the same input, and only what was packed is read."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from commands import ROOT, Sprout, assert_one_error

from sprout.base.errors import SproutError
from sprout.cli.pack import kernel_metadata
from sprout.oci.definition import Definition, FileRow, load_definitions, present
from sprout.oci.layout import Layout, open_layout
from sprout.oci.model import INDEX, MANIFEST, TITLE, Descriptor, Index, Manifest
from sprout.oci.pack import Packed, pack
from sprout.oci.refused import RefusedError
from sprout.oci.sending import Sending

WORDS = {"name": "zone", "flavor": "zone", "version": "6.12.1", "release": "6.12.1-zone"}
Parts = dict[str, Path | bytes]
PARTS: Parts = {
    "kernel": b"image" * 50,
    "config.gz": b"config",
    "metadata": b"A=b\n",
    "initramfs": b"cpio",
    "image": b"MZ",
    "disk": b"disk",
}


MODULES: Parts = {"addons": b"hsqs", "sdk": b"sdk"}


def packed(target: Path, *architectures: str, parts: Parts = PARTS) -> list[Packed]:
    definitions = present(load_definitions(ROOT / "oci/artifacts.toml", WORDS), parts)
    return pack(target, definitions, dict.fromkeys(architectures, parts))


def blob_path(layout: Layout, row: Descriptor) -> Path:
    return layout.path / "blobs" / row.digest.replace(":", "/", 1)


def test_same_input_same_digests(tmp_path: Path) -> None:
    first, second = (
        packed(tmp_path / "a", "amd64", "arm64"),
        packed(tmp_path / "b", "arm64", "amd64"),
    )
    assert first == second
    assert [row.kind for row in first] == ["kernel", "initramfs", "image", "disk"]
    for path in (tmp_path / "a").rglob("*"):
        if path.is_file():
            assert (
                path.read_bytes()
                == (tmp_path / "b" / path.relative_to(tmp_path / "a")).read_bytes()
            )
    assert packed(tmp_path / "a", "amd64", "arm64") == first  # over the one that is there


def test_kernel_is_what_its_consumers_read(tmp_path: Path) -> None:
    packed(tmp_path / "a", "amd64", "arm64")
    layout = open_layout(tmp_path / "a")
    index = layout.manifest(layout.root("kernel"))[1]
    assert isinstance(index, Index)
    assert index.annotations["dev.edera.kernel.format"] == "1"
    assert index.annotations["dev.edera.kernel.version"] == "6.12.1"
    assert index.annotations["dev.edera.kernel.flavor"] == "zone"
    assert [row.architecture for row in index.manifests] == ["amd64", "arm64"]
    manifest = layout.manifest(index.manifests[0])[1]
    assert isinstance(manifest, Manifest)
    assert manifest.artifact_type == "application/vnd.sprout.kernel.v1"
    names = [row.annotations[TITLE] for row in manifest.layers]
    assert names == ["kernel/image", "kernel/config.gz", "kernel/metadata"]
    for row in manifest.blobs():
        layout.check_blob(row)


def test_kernel_with_modules_has_two_parts_more(tmp_path: Path) -> None:
    rows = packed(tmp_path / "a", "amd64", parts=PARTS | MODULES)
    assert [row.kind for row in rows] == ["kernel", "sdk", "initramfs", "image", "disk"]
    assert {row.suffix for row in rows if row.kind == "sdk"} == {"-sdk"}
    layout = open_layout(tmp_path / "a")
    for kind, last in (("kernel", "kernel/addons.squashfs"), ("sdk", "sdk.tar.gz")):
        index = layout.manifest(layout.root(kind))[1]
        assert isinstance(index, Index)
        manifest = layout.manifest(index.manifests[0])[1]
        assert isinstance(manifest, Manifest)
        assert manifest.layers[-1].annotations[TITLE] == last


def test_only_an_optional_part_may_be_missing() -> None:
    definitions = load_definitions(ROOT / "oci/artifacts.toml", WORDS)
    with pytest.raises(SproutError, match=r"kernel: kernel/image: this image has no kernel"):
        present(definitions, PARTS.keys() - {"kernel"})


def test_metadata_lines() -> None:
    facts = {
        "arch": "x86_64",
        "version": "1",
        "release": "1-z",
        "flavor": "z",
        "config_sha256": "ab",
    }
    assert kernel_metadata(facts).decode().split("\n") == [
        "KERNEL_ARCH=x86_64",
        "KERNEL_VERSION=1",
        "KERNEL_UNAME_R=1-z",
        "KERNEL_FLAVOR=z",
        "KERNEL_CONFIG=sha256:ab",
        "",
    ]


def test_failed_pack_leaves_what_was_there(tmp_path: Path) -> None:
    packed(tmp_path / "a", "amd64")
    before = sorted(tmp_path.rglob("*"))
    row = FileRow("x", "kernel", "text/plain")
    with pytest.raises(SproutError, match="cannot be read"):
        pack(
            tmp_path / "a",
            [Definition("kernel", "", "a/b", {}, (row,))],
            {"amd64": {"kernel": tmp_path / "nothing"}},
        )
    assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.parametrize(
    ("name", "data", "words"),
    [
        ("oci-layout", b'{"imageLayoutVersion":"2.0.0"}', "version is unknown"),
        ("index.json", b"{}", "schemaVersion"),
        ("index.json", b" " * (4 << 20) + b"{}", "longer than"),
    ],
)
def test_malformed_layouts(tmp_path: Path, name: str, data: bytes, words: str) -> None:
    packed(tmp_path / "a", "amd64")
    (tmp_path / "a" / name).write_bytes(data)
    with pytest.raises(SproutError, match=words):
        open_layout(tmp_path / "a")


def test_blobs_that_are_not_as_described(tmp_path: Path) -> None:
    packed(tmp_path / "a", "amd64")
    layout = open_layout(tmp_path / "a")
    root = layout.root("kernel")
    path = blob_path(layout, root)
    data = path.read_bytes()
    for changed, words in (
        (data[:-1] + b" ", "its digest is"),
        (data[:-1], "is shorter than"),
        (data + b" ", "is longer than"),
    ):
        path.write_bytes(changed)
        with pytest.raises(RefusedError, match=words):
            layout.manifest(root)
        with pytest.raises(RefusedError, match=words):
            layout.check_blob(root)
    path.unlink()
    (tmp_path / "real").write_bytes(data)
    path.symlink_to(tmp_path / "real")
    with pytest.raises(SproutError, match="no such blob"):
        layout.manifest(root)
    with pytest.raises(RefusedError, match="longer than 4,194,304"):
        layout.manifest(Descriptor(INDEX, root.digest, 5 << 20))
    with pytest.raises(SproutError, match="holds not exactly one"):
        layout.root(None)


def test_sending_holds_the_last_piece_back(tmp_path: Path) -> None:
    packed(tmp_path / "a", "amd64")
    layout = open_layout(tmp_path / "a")
    index = layout.manifest(layout.root("kernel"))[1]
    assert isinstance(index, Index)
    manifest = layout.manifest(index.manifests[0])[1]
    assert isinstance(manifest, Manifest)
    row = manifest.layers[0]
    path = blob_path(layout, row)
    body = Sending(layout, row)
    assert len(body) == row.size
    assert b"".join(body) == PARTS["kernel"]
    body.close()
    path.write_bytes(b"x" * row.size)
    body = Sending(layout, row)
    assert body.read(100) == b"x" * 100
    with pytest.raises(RefusedError, match="its digest is"):
        body.read(row.size)
    body.close()
    assert row.media_type != MANIFEST


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('suffix = "/x"\nartifact_type = "a/b"', "suffix: is no end of a tag"),
        ('suffix = ""\nartifact_type = "ab"', "artifact_type: is no media type"),
        ('suffix = ""\nartifact_type = "a/b"\nannotations = ["x"]', "annotations: is no list"),
        ('suffix = ""\nartifact_type = "a/b"\nannotations = ["x={y}"]', "that is unknown"),
        ('suffix = ""\nartifact_type = "a/b"\nmore = 1', "more: is an unknown key"),
    ],
)
def test_malformed_definitions(tmp_path: Path, text: str, words: str) -> None:
    path = tmp_path / "artifacts.toml"
    file = '[[k.files]]\nname = "f"\nsource = "kernel"\nmedia_type = "a/b"\n'
    path.write_text(f"[k]\n{text}\n{file}")
    with pytest.raises(SproutError, match=words):
        load_definitions(path, WORDS)


def test_definition_of_a_file_that_leads_elsewhere(tmp_path: Path) -> None:
    path = tmp_path / "artifacts.toml"
    head = '[k]\nsuffix = ""\nartifact_type = "a/b"\n[[k.files]]\nmedia_type = "a/b"\n'
    for name, source in (("../x", "kernel"), ("x", "passwd")):
        path.write_text(f'{head}name = "{name}"\nsource = "{source}"\n')
        with pytest.raises(SproutError):
            load_definitions(path, WORDS)


def test_wrong_use(sprout: Sprout, tmp_path: Path) -> None:
    assert_one_error(sprout("pack", "nothing"), "nothing: no such image", status=2)
    output = sprout("push", tmp_path / "x", "r.example/a:1")
    assert_one_error(output, "--key", status=2)
    output = sprout("push", f"{tmp_path}/x", "r.example/a:1", "--unsigned")
    assert_one_error(output, "is no OCI image layout")
    packed(tmp_path / "a", "amd64")
    output = sprout("push", tmp_path / "a", "r.example/a@sha256:" + "0" * 64, "--unsigned")
    assert_one_error(output, "a push wants a tag", status=2)
    assert json.loads((tmp_path / "a/oci-layout").read_bytes()) == {"imageLayoutVersion": "1.0.0"}
