"""Sources as their projects publish them: a packed tarball with a detached PGP signature.

kernel.org signs the `.tar` inside the `.tar.xz`; others sign the packed file as it is.
"""

from __future__ import annotations

import lzma
import re
import tempfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, TYPE_CHECKING

from sprout.base.errors import SproutError
from sprout.base.files import sha256_file
from sprout.base.progress import Progress
from sprout.base.run import check, started
from sprout.kernel.sources import (
    Pin,
    SourceUnavailable,
    TarballOrigin,
    in_series,
    version_key,
)

if TYPE_CHECKING:
    from http.client import HTTPResponse

# Linux 6.12 is 143 MiB packed and 1.5 GiB unpacked; twice that is no kernel any more.
MAX_PACKED_BYTES = 400 << 20
MAX_UNPACKED_BYTES = 4 << 30
_MAX_INDEX_BYTES = 8 << 20
_MAX_SIGNATURE_BYTES = 1 << 16
_CHUNK = 1 << 20
_TIMEOUT_S = 20.0


def newest_version(origin: TarballOrigin) -> str:
    """Give the newest version of the series that the origin's index names.

    The index is not trusted: it can hide a version, never make a wrong one verify.
    """
    with _opened(origin, origin.index) as response:
        index = response.read(_MAX_INDEX_BYTES).decode(errors="replace")
    prefix, suffix = (re.escape(part) for part in origin.listed.split("{version}", 1))
    numbers = r"[0-9]{1,5}(?:\.[0-9]{1,5}){1,3}"
    named = re.findall(rf"(?<![\w.]){prefix}({numbers}){suffix}(?![\w])", index)
    versions = {version for version in named if in_series(version, origin.series)}
    if not versions:
        raise SourceUnavailable(
            f"{origin.name}: {origin.index} names no version of {origin.series or 'anything'}",
            "Check `series` and `index` in kernels/sources.toml.",
        )
    newest: str = max(versions, key=version_key)
    return newest


def download(origin: TarballOrigin, source: str, version: str, directory: Path) -> tuple[Pin, Path]:
    """Download and verify one version into `directory`; give its pin and the archive's path.

    Raises SproutError when it cannot be had, is too long, or its signature does not verify.
    """
    path = origin.file.replace("{version}", version)
    file = path.rpartition("/")[2]
    archive = directory / f"archive.tar.{origin.compression}"
    with _opened(origin, path) as response, archive.open("wb") as out:
        told = response.headers.get("Content-Length") or ""
        length = int(told) if told.isdigit() and len(told) < 16 else 0
        _copy(origin, file, response, out, length)
    signature = directory / "signature"
    with _opened(origin, origin.signature.replace("{version}", version)) as response:
        signature.write_bytes(response.read(_MAX_SIGNATURE_BYTES))
    verify(origin, file, archive, signature)
    return Pin(source, origin.name, "", version, version, file, sha256_file(archive)), archive


def _copy(
    origin: TarballOrigin, file: str, response: HTTPResponse, out: IO[bytes], length: int
) -> None:
    total = 0
    with Progress(f"fetching {file}", length >> 20) as progress:
        while chunk := response.read(_CHUNK):
            total += len(chunk)
            if total > MAX_PACKED_BYTES:
                raise SproutError(
                    f"{origin.name}: {file} is longer than {MAX_PACKED_BYTES:,} bytes",
                    "That is no kernel source; check `base` in kernels/sources.toml.",
                )
            out.write(chunk)
            progress.advance()
        if length and total != length:
            raise SproutError(
                f"{origin.name}: {file} ended after {total:,} of {length:,} bytes",
                "Run it again.",
            )


def verify(origin: TarballOrigin, file: str, archive: Path, signature: Path) -> None:
    """Check the detached signature, over the archive or what is packed in it, with gpgv.

    gpgv reads the `.tar` from a pipe, so nothing unverified is unpacked. Only the pinned keys
    count. Raises SproutError when it does not verify or unpacks to more than 4 GiB.
    """
    signed = decompressed(archive) if origin.signed == "tar" else _chunks(archive)
    with tempfile.TemporaryDirectory(prefix="sprout-gpg-") as name:
        keyring = Path(name) / "keys.gpg"
        keyring.write_bytes(b"".join(_dearmored(key) for key in origin.keys))
        status = Path(name) / "status"
        arguments = ["gpgv", "--homedir", name, "--keyring", str(keyring)]
        with status.open("wb") as out:
            arguments += ["--status-fd", "1", str(signature), "-"]
            with started(arguments, stdin=-1, stdout=out, stderr=out) as gpgv:
                assert gpgv.stdin is not None  # noqa: S101 - it was asked for as a pipe
                try:
                    for chunk in signed:
                        gpgv.stdin.write(chunk)
                    gpgv.stdin.close()
                except BrokenPipeError:
                    pass  # gpgv has given its verdict already
                gpgv.wait(600)
        text = status.read_text(errors="replace")
    # VALIDSIG alone is not enough: an expired or revoked key's signature is "valid" as well.
    good = re.search(r"^\[GNUPG:\] GOODSIG ", text, re.MULTILINE)
    valid = re.search(r"^\[GNUPG:\] VALIDSIG .* ([0-9A-F]{40})$", text, re.MULTILINE)
    pinned = {key.stem for key in origin.keys}
    if gpgv.returncode != 0 or not good or not valid or valid[1] not in pinned:
        raise SproutError(
            f"{origin.name}: {file}: its signature does not verify: {_verdict(text)}",
            "Do not use it. If the signer's key has changed, pin the new one in kernels/keys/.",
        )


def _verdict(status: str) -> str:
    words = {
        "BADSIG": "the bytes are not the ones that were signed",
        "EXPKEYSIG": "the key has expired",
        "EXPSIG": "the signature has expired",
        "REVKEYSIG": "the key was revoked",
        "NO_PUBKEY": "signed by a key that is not pinned",
        "NODATA": "that is no signature",
    }
    for word, meaning in words.items():
        if f"[GNUPG:] {word} " in status:
            return meaning
    return "gpgv did not accept it"


def _dearmored(key: Path) -> bytes:
    return check(["gpg", "--batch", "--dearmor", "--output", "-", str(key)], f"Mend {key}.")


def decompressed(archive: Path) -> Iterator[bytes]:
    """Give the bytes of an `.xz` or `.gz` file, by its name's end, at most 4 GiB of them.

    Raises SproutError when the file is damaged, truncated or longer.
    """
    total = 0
    unpack = _gunzipped if archive.suffix == ".gz" else _unxzipped
    try:
        for chunk in unpack(archive):
            total += len(chunk)
            if total > MAX_UNPACKED_BYTES:
                raise SproutError(
                    f"{archive.name}: unpacks to more than {MAX_UNPACKED_BYTES:,} bytes",
                    "That is no kernel source.",
                )
            yield chunk
    except (lzma.LZMAError, zlib.error, EOFError) as error:
        raise SproutError(
            f"{archive.name}: is truncated or damaged", "Run it again; it is fetched anew."
        ) from error


def _unxzipped(archive: Path) -> Iterator[bytes]:
    decoder = lzma.LZMADecompressor(lzma.FORMAT_XZ, memlimit=256 << 20)
    with archive.open("rb") as stream:
        while not decoder.eof:
            data = stream.read(_CHUNK) if decoder.needs_input else b""
            if decoder.needs_input and not data:
                raise EOFError
            yield decoder.decompress(data, max_length=_CHUNK)


def _gunzipped(archive: Path) -> Iterator[bytes]:
    decoder = zlib.decompressobj(16 + zlib.MAX_WBITS)  # with gzip's header and checksum
    with archive.open("rb") as stream:
        while not decoder.eof:
            data = decoder.unconsumed_tail or stream.read(_CHUNK)
            if not data:
                raise EOFError
            yield decoder.decompress(data, _CHUNK)


def _chunks(file: Path) -> Iterator[bytes]:
    with file.open("rb") as stream:
        while chunk := stream.read(_CHUNK):
            yield chunk


@contextmanager
def _opened(origin: TarballOrigin, file: str) -> Iterator[HTTPResponse]:
    # Loaded only when something is fetched: they are a third of what a build with nothing to do
    # would load.
    import urllib.error  # noqa: PLC0415
    import urllib.parse  # noqa: PLC0415
    import urllib.request  # noqa: PLC0415
    from http.client import HTTPException  # noqa: PLC0415

    url = urllib.parse.urljoin(origin.base, file)
    if urllib.parse.urlsplit(url).scheme not in ("https", "http"):
        raise SproutError(f"{origin.name}: {url}: not an http(s) address", "Mend `base`.")
    try:
        with urllib.request.urlopen(url, timeout=_TIMEOUT_S) as response:  # noqa: S310 - checked
            yield response
    except urllib.error.HTTPError as error:
        raise SourceUnavailable(
            f"{origin.name}: {file}: the server says {error.code} {error.reason}",
            "Check `base` in kernels/sources.toml; old versions are dropped by some mirrors.",
        ) from error
    except (urllib.error.URLError, HTTPException, TimeoutError, ConnectionError) as error:
        reason = getattr(error, "reason", error)
        raise SourceUnavailable(
            f"{origin.name}: {file}: cannot be fetched: {reason}", "Check the network."
        ) from error
