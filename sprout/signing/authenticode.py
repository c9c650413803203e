"""Authenticode: signatures inside a PE image, as UEFI firmware verifies them.

(Microsoft, "Windows Authenticode Portable Executable Signature Format"; "PE Format", sections "The
Attribute Certificate Table" and "Appendix A".) The image's digest covers the whole file except the
CheckSum, the certificate table's entry in the data directories, and that table itself.
"""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from sprout.base.errors import SproutError
from sprout.format import pe
from sprout.signing import cms, der
from sprout.signing.signer import Signer

SPC_INDIRECT_DATA = "1.3.6.1.4.1.311.2.1.4"
MAX_SIGNATURES = 16
# By which a signature may know the image: with SHA-1, which nothing here accepts, firmware boots.
HASHES = {**cms.DIGESTS, "1.3.14.3.2.26": "sha1"}

_SPC_PE_IMAGE_DATA = "1.3.6.1.4.1.311.2.1.15"
_CHECKSUM = 64  # offsets in the optional header of PE32+
_DIRECTORIES = 112
_ENTRY = struct.Struct("<II")
_WIN_CERTIFICATE = struct.Struct("<IHH")
_REVISION = 0x0200
_TYPE_PKCS_SIGNED_DATA = 2
_FIELD = "certificate table"
_MAX_OFFSET = (1 << 32) - 1


@dataclass(frozen=True)
class Signature:
    """One signature: the digest that it says the image has, and the message that says so."""

    digest: bytes
    message: cms.SignedData


@dataclass(frozen=True)
class _Places:
    """File offsets: of two fields in the headers, and where the certificate table begins.

    `end` is where the digested bytes end; `table_size` is 0 where there is no table.
    """

    checksum: int
    entry: int
    end: int
    table_size: int


def image_digest(data: pe.Buffer, where: object, algorithm: str = "sha256") -> bytes:
    """Give the Authenticode digest of the image whose whole bytes are `data`.

    An unsigned image is taken as long as it will be when signed: padded with zeros to a multiple of
    8 bytes. Raises SproutError when the headers or the certificate table are damaged, or when bytes
    lie where verifiers disagree on whether they count.
    """
    places = _places(data, where)
    digest = hashlib.new(algorithm)
    parts = (
        (0, places.checksum),
        (places.checksum + 4, places.entry),
        (places.entry + _ENTRY.size, places.end),
    )
    with memoryview(data) as view:
        for start, end in parts:
            with view[start:end] as part:
                digest.update(part)
    digest.update(bytes(-places.end % 8))
    return digest.digest()


def signatures(data: pe.Buffer, where: object) -> tuple[Signature, ...]:
    """Give the signatures in the image, none verified; an unsigned image has none.

    Raises SproutError naming the field when the table or a signature in it is damaged.
    """
    places = _places(data, where)
    entries = _entries(data, places, where)
    return tuple(
        _parse(entry, f"{where}: signature {number}")
        for number, entry in enumerate(entries, start=1)
    )


def revocable_digests(data: pe.Buffer, where: object) -> dict[str, bytes]:
    """Give all Authenticode digests, by algorithm, that dbx needs to keep the image from booting.

    Firmware looks for an image only by the algorithms that its signatures use (edk2,
    DxeImageVerificationHandler). SHA-256 is always among them, and all are where a signature does
    not parse. Raises as `image_digest` does.
    """
    own = {"sha256": image_digest(data, where)}
    try:
        used = {HASHES.get(row.message.digest) for row in signatures(data, where)}
    except SproutError:
        used = set(HASHES.values())
    for algorithm in sorted(used - {None, "sha256"}, key=str):
        own[str(algorithm)] = image_digest(data, where, str(algorithm))
    return own


def sign_image(data: pe.Buffer, signers: Sequence[Signer], label: str) -> bytes:
    """Give the image with one more signature for each of `signers`, after those it has.

    The same inputs give the same bytes. `label` names the image. Raises SproutError when the image
    is damaged, has no room for the entry in its headers, or a key cannot sign.
    """
    places = _places(data, label)
    digest = image_digest(data, label)
    entries = [*_entries(data, places, label)]
    entries += [
        cms.attached(signer, SPC_INDIRECT_DATA, _content(digest), label) for signer in signers
    ]
    if len(entries) > MAX_SIGNATURES:
        raise pe.error(label, _FIELD, f"more than {MAX_SIGNATURES} signatures", "Strip some.")
    image = bytearray(data[: places.end])
    image += bytes(-len(image) % 8)
    start = len(image)
    for entry in entries:
        padded = pe.align(len(entry), 8)
        # Readers differ on whether dwLength counts the padding; counted, all of them go on right.
        image += _WIN_CERTIFICATE.pack(8 + padded, _REVISION, _TYPE_PKCS_SIGNED_DATA)
        image += entry.ljust(padded, b"\0")
    if len(image) > _MAX_OFFSET:
        raise pe.error(label, _FIELD, "would lie beyond 4 GiB", "Make the image smaller.")
    return _finished(image, places, start)


def _finished(image: bytearray, places: _Places, table: int) -> bytes:
    """Write the table's entry and the checksum into the headers."""
    _ENTRY.pack_into(image, places.entry, table, len(image) - table)
    struct.pack_into("<I", image, places.checksum, pe.checksum(image, places.checksum))
    return bytes(image)


def _places(data: pe.Buffer, where: object) -> _Places:
    headers = pe.parse_headers(data, where)
    if len(headers.directories) <= pe.DIRECTORY_SECURITY:
        raise pe.error(where, "NumberOfRvaAndSizes", "leaves no entry for signatures")
    free = headers.size_of_headers
    stored = [section for section in headers.sections if section.raw_size]
    for section in sorted(stored, key=lambda section: section.raw_offset):
        # edk2 hashes headers and sections and counts their sizes, others hash the whole file.
        if section.raw_offset != free:
            raise pe.error(
                where,
                section.name,
                "PointerToRawData leaves a gap or an overlap, which verifiers hash differently",
                "Link the image again with its sections side by side.",
            )
        free += section.raw_size
    checksum = headers.optional_offset + _CHECKSUM
    entry = headers.optional_offset + _DIRECTORIES + pe.DIRECTORY_SECURITY * _ENTRY.size
    table = headers.directory(pe.DIRECTORY_SECURITY)
    if table.size == 0 and table.address == 0:
        return _Places(checksum, entry, len(data), 0)
    if table.size == 0 or table.address % 8 or table.address < free:
        raise pe.error(where, _FIELD, "is empty, misaligned, or overlaps a section")
    if table.address + table.size != len(data):
        raise pe.error(where, _FIELD, "does not end where the file ends")
    return _Places(checksum, entry, table.address, table.size)


def _entries(data: pe.Buffer, places: _Places, where: object) -> Iterator[bytes]:
    """Give the contents of each entry of the certificate table, padding included."""
    offset, end = places.end, places.end + places.table_size
    count = 0
    while offset < end:
        count += 1
        if count > MAX_SIGNATURES:
            raise pe.error(where, _FIELD, f"more than {MAX_SIGNATURES} signatures")
        if end - offset < _WIN_CERTIFICATE.size:
            raise pe.error(where, _FIELD, "is cut short")
        head = data[offset : offset + _WIN_CERTIFICATE.size]
        length, revision, kind = _WIN_CERTIFICATE.unpack(head)
        if not 8 < length <= end - offset or pe.align(length, 8) > end - offset:
            raise pe.error(where, _FIELD, f"dwLength {length:,} cannot be")
        if (revision, kind) != (_REVISION, _TYPE_PKCS_SIGNED_DATA):
            raise pe.error(where, _FIELD, "holds what is no PKCS #7 signature")
        if any(data[offset + length : offset + pe.align(length, 8)]):
            raise pe.error(where, _FIELD, "has padding that is not zero")
        if length > cms.MAX_SIGNED_DATA_BYTES:
            raise pe.error(where, _FIELD, f"a signature of {length:,} bytes is too long")
        yield bytes(data[offset + 8 : offset + length])
        offset += pe.align(length, 8)


def _content(digest: bytes) -> bytes:
    """Give SpcIndirectDataContent: that the content is a PE image, and its SHA-256.

    The rest of SpcPeImageData says nothing: no flags, and an empty name for the file.
    """
    name = der.element(der.context(0, constructed=False))
    file = der.element(der.context(2, constructed=True), name)
    data = der.sequence(
        der.element(der.BIT_STRING, b"\0"), der.element(der.context(0, constructed=True), file)
    )
    return der.sequence(
        der.sequence(der.identifier(_SPC_PE_IMAGE_DATA), data),
        der.sequence(der.sequence(der.identifier(cms.SHA256), der.null()), der.octets(digest)),
    )


def _parse(entry: bytes, where: str) -> Signature:
    # edk2 finds the digest's algorithm at a fixed place, behind lengths of two bytes each.
    if entry[1:2] not in (b"", b"\x82") and entry[0] == der.SEQUENCE:
        raise _error(where, "ContentInfo", "has a length that is not of two bytes")
    message = cms.parse(entry, where, padding=7, wrapped=True)
    if message.key_identifier is not None:
        raise _error(where, "SignerInfo", "names its signer in a way that PKCS #7 does not have")
    if message.content_type != SPC_INDIRECT_DATA or message.content is None:
        raise _error(where, "eContentType", "is not SpcIndirectDataContent")
    reader = der.Reader(message.content, where, "SpcIndirectDataContent")
    kind = reader.enter(der.SEQUENCE, "SpcAttributeTypeAndOptionalValue")
    if kind.identifier() != _SPC_PE_IMAGE_DATA:
        raise kind.error("is not SpcPeImageData")
    info = reader.enter(der.SEQUENCE, "DigestInfo")
    reader.finish()
    algorithm = info.enter(der.SEQUENCE, "digestAlgorithm").identifier()
    digest = info.read(der.OCTET_STRING, "digest").content
    info.finish()
    if algorithm != message.digest:
        # Firmware hashes the image with the message's algorithm and looks at nothing else.
        raise _error(where, "DigestInfo", "has another digest algorithm than the signature")
    return Signature(digest, message)


def _error(where: str, field: str, problem: str) -> SproutError:
    return pe.error(where, field, problem, "Sign the image again.")
