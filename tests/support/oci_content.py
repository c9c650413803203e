"""Signed artifacts in memory, and ways to spoil them: for tests of what is refused."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from cryptography.x509.oid import NameOID

from sprout.oci import cosign
from sprout.oci.model import (
    EMPTY_BYTES,
    EMPTY_CONFIG,
    INDEX,
    MANIFEST,
    TITLE,
    Descriptor,
    Index,
    Manifest,
    describe,
)
from sprout.oci.push import signatures

NAME = "127.0.0.1/kernels/zone"
FILES = {"kernel/image": b"image" * 2000, "kernel/config.gz": b"\x1f\x8b" + bytes(300)}


@dataclass(frozen=True)
class EcSigner:
    """A P-256 key that signs as those of the product do."""

    key: ec.EllipticCurvePrivateKey
    certificate: x509.Certificate

    def sign(self, message: bytes, label: str) -> bytes:
        assert label
        return self.key.sign(message, ec.ECDSA(hashes.SHA256()))

    @property
    def public(self) -> ec.EllipticCurvePublicKey:
        return self.key.public_key()

    def write(self, path: Path) -> Path:
        """Write the public key as cosign keeps it, and give the path."""
        path.write_bytes(self.public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo))
        return path


@cache
def signer(name: str) -> EcSigner:
    """Give a key; the same name gives the same key within one run."""
    key = ec.generate_private_key(ec.SECP256R1())
    own = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    now = datetime.now(UTC)
    builder = x509.CertificateBuilder().subject_name(own).issuer_name(own)
    builder = builder.public_key(key.public_key()).serial_number(1)
    builder = builder.not_valid_before(now).not_valid_after(now + timedelta(days=1))
    return EcSigner(key, builder.sign(key, hashes.SHA256()))


@dataclass
class Content:
    """What a registry holds: blobs and manifests by digest, tags, and referrers by subject."""

    blobs: dict[str, bytes] = field(default_factory=dict)
    manifests: dict[str, tuple[bytes, str]] = field(default_factory=dict)
    tags: dict[str, str] = field(default_factory=dict)
    referrers: dict[str, list[Descriptor]] = field(default_factory=dict)

    def blob(self, data: bytes, media_type: str = "application/octet-stream") -> Descriptor:
        row = describe(data, media_type)
        self.blobs[row.digest] = data
        return row

    def manifest(self, data: bytes, media_type: str, tag: str | None = None) -> Descriptor:
        row = describe(data, media_type)
        self.manifests[row.digest] = (data, media_type)
        if tag is not None:
            self.tags[tag] = row.digest
        return row

    def add(self, made: cosign.Made, subject: str) -> None:
        for blob in made.blobs:
            self.blob(blob)
        self.manifest(made.manifest, MANIFEST, made.tag)
        if made.tag is None:
            self.referrers.setdefault(subject, []).append(made.row)

    def sign(self, row: Descriptor, who: EcSigner) -> None:
        for made in signatures(NAME, row, who, who.public):
            self.add(made, row.digest)


@dataclass(frozen=True)
class Artifact:
    """What was put into a content: the digests of index, manifest and files."""

    index: Descriptor
    manifest: Descriptor
    files: dict[str, Descriptor]


def artifact(
    content: Content,
    files: dict[str, bytes] | None = None,
    *,
    layers: list[Descriptor] | None = None,
    tag: str = "1",
) -> Artifact:
    """Put an artifact with these files into `content`; `layers` are said instead, where given."""
    named = FILES if files is None else files
    rows = {}
    for name, data in named.items():
        row = content.blob(data)
        rows[name] = Descriptor(row.media_type, row.digest, row.size, {TITLE: name})
    content.blob(EMPTY_BYTES)
    said = tuple(rows.values()) if layers is None else tuple(layers)
    inner = content.manifest(
        Manifest(EMPTY_CONFIG, said, "application/vnd.test").to_bytes(), MANIFEST
    )
    listed = Descriptor(MANIFEST, inner.digest, inner.size, architecture="amd64")
    outer = content.manifest(Index((listed,), "application/vnd.test").to_bytes(), INDEX, tag)
    return Artifact(outer, inner, rows)


def signed_artifact(
    who: EcSigner, files: dict[str, bytes] | None = None
) -> tuple[Content, Artifact]:
    """Give a new content with one artifact that `who` signed, tagged "1"."""
    content = Content()
    made = artifact(content, files)
    content.sign(made.index, who)
    return content, made


def flipped(data: bytes) -> bytes:
    """Give the same bytes with one bit of the middle one changed."""
    middle = len(data) // 2
    return data[:middle] + bytes([data[middle] ^ 1]) + data[middle + 1 :]


def spoil(content: Content, digest: str) -> None:
    """Flip a bit of a blob or manifest that stays under its digest."""
    if digest in content.blobs:
        content.blobs[digest] = flipped(content.blobs[digest])
    if digest in content.manifests:
        data, kind = content.manifests[digest]
        content.manifests[digest] = (flipped(data), kind)
