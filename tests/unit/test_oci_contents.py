"""Layouts in tar archives: read where they lie, and refused when two readers could differ."""

from __future__ import annotations

import gzip
import hashlib
import io
import os
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest
from commands import Sprout, assert_one_error
from cryptography.hazmat.primitives.serialization import Encoding
from oci_content import signer

from sprout.base.errors import SproutError
from sprout.base.run import check
from sprout.oci.archive import write_archive
from sprout.oci.contents import is_tar, open_tar
from sprout.oci.definition import Definition, FileRow
from sprout.oci.layout import open_layout
from sprout.oci.layout_sign import sign_layout
from sprout.oci.pack import pack
from sprout.oci.refused import RefusedError

RELEASE = signer("release")


@pytest.fixture
def layout(tmp_path: Path) -> Path:
    rows = (FileRow("kernel/image", "kernel", "application/vnd.test"),)
    definition = Definition("kernel", "", "application/vnd.test.kernel", {}, rows)
    pack(tmp_path / "layout", [definition], {"amd64": {"kernel": b"image" * 1000}})
    sign_layout(open_layout(tmp_path / "layout"), RELEASE, RELEASE.public)
    return tmp_path / "layout"


def test_archive_verifies_as_the_directory_does(
    sprout: Sprout, layout: Path, tmp_path: Path
) -> None:
    key = RELEASE.write(tmp_path / "k.pub")
    for name in ("a.tar", "b.tar"):
        write_archive(layout, tmp_path / name)
    assert (tmp_path / "a.tar").read_bytes() == (tmp_path / "b.tar").read_bytes()
    paths = (layout, tmp_path / "a.tar")
    outputs = [sprout("verify", path, "--key", key, "--json").stdout for path in paths]
    assert outputs[0] == outputs[1]
    assert b'"accepted": true' in outputs[1]
    assert b"kernel/image" in sprout("inspect", tmp_path / "a.tar").stdout


def test_archive_names_its_directories_first(layout: Path, tmp_path: Path) -> None:
    """Else skopeo would make them for root, and fail where anybody else runs it."""
    write_archive(layout, tmp_path / "x.tar")
    with tarfile.open(tmp_path / "x.tar") as archive:
        rows = [(row.name, row.isdir(), row.mode) for row in archive]
    assert rows[:2] == [("blobs", True, 0o755), ("blobs/sha256", True, 0o755)]
    assert not any(is_directory for _, is_directory, _ in rows[2:])


@pytest.mark.parametrize("form", ["gnu", "pax", "ustar"])
def test_archives_of_tar_are_read(layout: Path, tmp_path: Path, form: str) -> None:
    words: list[str | Path] = ["tar", f"--format={form}", "-C", layout, "-cf", tmp_path / "x.tar"]
    check([*words, "."], "tar")
    found = open_layout(tmp_path / "x.tar")
    assert found.index == open_layout(layout).index
    for row in found.index.manifests:
        found.check_blob(row)


def test_flipped_byte_in_an_archive(sprout: Sprout, layout: Path, tmp_path: Path) -> None:
    write_archive(layout, tmp_path / "x.tar")
    data = bytearray((tmp_path / "x.tar").read_bytes())
    data[data.index(b"imageimage") + 7] ^= 1
    (tmp_path / "x.tar").write_bytes(data)
    key = RELEASE.write(tmp_path / "k.pub")
    output = sprout("verify", tmp_path / "x.tar", "--key", key)
    assert_one_error(output, "its digest is")


def _member(name: str, kind: bytes = tarfile.REGTYPE, **more: object) -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type = kind
    for key, value in more.items():
        setattr(info, key, value)
    return info


def _archive(*members: tarfile.TarInfo, form: int = tarfile.USTAR_FORMAT) -> bytes:
    found = io.BytesIO()
    with tarfile.open(fileobj=found, mode="w", format=form) as archive:
        for member in members:
            archive.addfile(member, io.BytesIO(bytes(member.size)))
    return found.getvalue()


def _with_size(data: bytes, size: bytes) -> bytes:
    """Change the size in the first header, and the checksum with it."""
    block = bytearray(data[:512])
    block[124 : 124 + len(size)] = size
    block[148:156] = b" " * 8
    block[148:156] = b"%06o\0 " % sum(block)
    return bytes(block) + data[512:]


def _extended(records: bytes) -> bytes:
    """Give an archive whose only member has an extended header with these records."""
    head = tarfile.TarInfo("PaxHeaders/x")
    head.type, head.size = tarfile.XHDTYPE, len(records)
    return head.tobuf() + records.ljust(512, b"\0") + _archive(_member("x"))


HOSTILE: dict[str, tuple[Callable[[], bytes], str]] = {
    "symbolic link": (
        lambda: _archive(_member("index.json", tarfile.SYMTYPE, linkname="/etc/passwd")),
        "no file or directory",
    ),
    "hard link": (
        lambda: _archive(_member("index.json", tarfile.LNKTYPE, linkname="/etc/passwd")),
        "no file or directory",
    ),
    "device": (lambda: _archive(_member("x", tarfile.CHRTYPE)), "no file or directory"),
    "fifo": (lambda: _archive(_member("x", tarfile.FIFOTYPE)), "no file or directory"),
    "parent": (lambda: _archive(_member("blobs/../../x")), "leads elsewhere"),
    "parent directory": (lambda: _archive(_member("../x", tarfile.DIRTYPE)), "leads elsewhere"),
    "absolute": (lambda: _archive(_member("/x")), "leads elsewhere"),
    "unprintable": (lambda: _archive(_member("x\x1b[2J")), "leads elsewhere"),
    "twice": (lambda: _archive(_member("x"), _member("./x")), "holds x twice"),
    "long name in an extension": (
        lambda: _archive(_member("x" * 300), form=tarfile.PAX_FORMAT),
        "in an extension",
    ),
    "long name of GNU": (
        lambda: _archive(_member("x" * 300), form=tarfile.GNU_FORMAT),
        "no file or directory",
    ),
    "huge": (lambda: _with_size(_archive(_member("x")), b"77777777777\0"), "ends within"),
    "negative": (
        lambda: _with_size(_archive(_member("x")), b"\xff" * 12),
        "ends within",
    ),
    "huge extension": (
        lambda: _archive(_member("x", tarfile.XHDTYPE, size=1 << 20)),
        "in an extension",
    ),
    "data of a directory": (
        lambda: _with_size(_archive(_member("x", tarfile.DIRTYPE)), b"00000001000\0"),
        "no file or directory",
    ),
    "dots": (lambda: _archive(_member("././index.json")), "leads elsewhere"),
    "doubled slash": (lambda: _archive(_member("blobs//sha256/x")), "leads elsewhere"),
    "name in an extension, with two blanks": (
        lambda: _extended(b"21  path=index.json\n"),
        "in an extension",
    ),
    "name in an extension, behind a blank": (
        lambda: _extended(b" 20 path=index.json\n"),
        "in an extension",
    ),
    "name in an extension, of a wrong length": (
        lambda: _extended(b"9 mtime=1\n19 path=index.json\n"),
        "in an extension",
    ),
    "more after the end": (
        lambda: _archive(_member("x")) + _archive(_member("y")),
        "goes on after its end",
    ),
    "no header": (
        lambda: _archive(_member("x"))[:512] + b"\1" * 1024,
        "no tar header",
    ),
    "many": (lambda: _archive(*(_member(f"x{n}") for n in range(8193))), "more than 8,192"),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_archives(tmp_path: Path, name: str) -> None:
    make, words = HOSTILE[name]
    path = tmp_path / "x.tar"
    path.write_bytes(make())
    assert is_tar(path)
    with pytest.raises(RefusedError, match=words):
        open_tar(path)


def test_hostile_archive_is_one_line(sprout: Sprout, tmp_path: Path) -> None:
    make, words = HOSTILE["symbolic link"]
    path = tmp_path / "x.tar"
    path.write_bytes(make())
    key = RELEASE.write(tmp_path / "k.pub")
    assert_one_error(sprout("verify", path, "--key", key), words)
    assert_one_error(sprout("inspect", path), words)
    assert_one_error(sprout("push", path, "r.example/a:1", "--unsigned"), words)


def test_compressed_archive_is_not_decompressed(sprout: Sprout, tmp_path: Path) -> None:
    """A bomb of 1 GiB in 1 MiB: what it holds is nobody's."""
    path = tmp_path / "x.tar.gz"
    path.write_bytes(gzip.compress(bytes(16 << 20)) * 64)
    key = tmp_path / "release.crt"
    key.write_bytes(RELEASE.certificate.public_bytes(Encoding.PEM))
    output = sprout("verify", path, "--key", key)
    assert_one_error(output, "is no PE image, kernel module")


def test_archive_is_no_layout_or_not_signed_in_place(sprout: Sprout, tmp_path: Path) -> None:
    (tmp_path / "x.tar").write_bytes(_archive(_member("other")))
    key = RELEASE.write(tmp_path / "k.pub")
    output = sprout("verify", tmp_path / "x.tar", "--key", key)
    assert_one_error(output, "is no OCI image layout")
    output = sprout("sign", tmp_path / "x.tar", "--key", tmp_path / "none")
    assert_one_error(output, "is not signed in place", status=2)
    output = sprout("pack", "zone", "-o", tmp_path / "k.pub")
    assert_one_error(output, "is no directory")


def test_links_and_pipes_in_a_layout_lead_nowhere(
    sprout: Sprout, layout: Path, tmp_path: Path
) -> None:
    key = RELEASE.write(tmp_path / "k.pub")
    blobs = layout / "blobs/sha256"
    blob = max(blobs.iterdir(), key=lambda path: path.stat().st_size)
    data = blob.read_bytes()
    blob.unlink()
    os.mkfifo(blob)
    assert_one_error(sprout("verify", layout, "--key", key), "no such blob")
    blob.unlink()
    blob.write_bytes(data)
    assert sprout("verify", layout, "--key", key).status == 0
    (layout / "blobs").rename(tmp_path / "elsewhere")
    (layout / "blobs").symlink_to(tmp_path / "elsewhere")
    assert_one_error(sprout("verify", layout, "--key", key), "no such blob")


@pytest.mark.parametrize("what", ["blobs", "blobs/sha256", "blob", "index.json"])
def test_signing_writes_through_no_link(layout: Path, tmp_path: Path, what: str) -> None:
    victim = tmp_path / "victim"
    names = {"blob": f"blobs/sha256/{hashlib.sha256(b'{}').hexdigest()}"}
    place = layout / names.get(what, what)
    place.rename(victim)
    before = victim.read_bytes() if victim.is_file() else sorted(victim.rglob("*"))
    opened = open_layout(layout) if what != "index.json" else None
    place.symlink_to(victim)
    with pytest.raises(SproutError):
        sign_layout(opened or open_layout(layout), signer("another"), signer("another").public)
    assert before == (victim.read_bytes() if victim.is_file() else sorted(victim.rglob("*")))
