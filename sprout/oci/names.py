"""Names from outside: of files inside an artifact, and of artifacts inside a registry."""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass, replace

from sprout.base.errors import UsageError
from sprout.oci.digest import parse_digest
from sprout.oci.refused import RefusedError, malformed

MAX_NAME = 255
_MAX_PARTS = 16
# distribution-spec 1.1, "Pulling manifests": the grammars of <name> and of a tag.
_REPOSITORY = re.compile(
    r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*(?:/[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*)*"
)
_TAG = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,127}")
_HOST = re.compile(r"(?:[A-Za-z0-9-]+(?:\.[A-Za-z0-9-]+)*|\[[0-9A-Fa-f:]+\])(?::[0-9]{1,5})?")


def check_file_name(name: str, where: str) -> str:
    """Give back the name of a file inside an artifact when it stays inside a directory.

    It is relative, of up to 16 parts none of which is empty, "." or "..", and prints. Raises
    RefusedError.
    """
    parts = name.split("/")
    if "\0" in name:
        raise malformed(where, "a file name has a NUL in it")
    if not name or name.startswith("/"):
        raise malformed(where, f"the file name {name[:80]!r} is absolute or empty")
    if any(part in ("", ".", "..") for part in parts):
        raise malformed(where, f"the file name {name[:80]!r} leads elsewhere")
    long = len(name) > MAX_NAME or len(parts) > _MAX_PARTS or len(name.encode()) > MAX_NAME
    if long or not name.isprintable() or "\\" in name:
        raise malformed(where, f"the file name {name[:80]!r} is too long or does not print")
    if any(part.startswith(".sprout-") for part in parts):
        raise malformed(where, f"the file name {name[:80]!r} is reserved")
    return name


def _is_address(registry: str) -> bool:
    """Tell whether what is in brackets, where there is something, is an address of IPv6."""
    if not registry.startswith("["):
        return True
    try:
        ipaddress.IPv6Address(registry[1:].partition("]")[0])
    except ValueError:
        return False
    return True


@dataclass(frozen=True)
class Reference:
    """Where an artifact is: a registry, a repository in it, and a tag or a digest or both."""

    registry: str
    repository: str
    tag: str | None = None
    digest: str | None = None

    @property
    def name(self) -> str:
        """Give what is signed as the artifact's identity: registry and repository."""
        return f"{self.registry}/{self.repository}"

    def __str__(self) -> str:
        """Give the reference as it is typed."""
        tag = f":{self.tag}" if self.tag else ""
        return f"{self.name}{tag}{f'@{self.digest}' if self.digest else ''}"

    def with_suffix(self, suffix: str) -> Reference:
        """Give the same reference with another tag: the tag and `suffix`.

        Raises RefusedError when that is no tag: a layout from outside says the suffix.
        """
        if not _TAG.fullmatch(f"{self.tag}{suffix}"):
            raise malformed(str(self), f"{suffix[:80]!r} makes no tag of it")
        return replace(self, tag=f"{self.tag}{suffix}")


def parse_reference(text: str) -> Reference:
    """Read REGISTRY/REPOSITORY[:TAG][@DIGEST]; without tag and digest the tag is "latest".

    Raises UsageError for anything else: a registry is never guessed.
    """
    hint = "Write it as registry.example/kernels/zone:6.12 or …@sha256:HEX."
    rest, at, digest = text.partition("@")
    registry, slash, path = rest.partition("/")
    repository, colon, tag = path.partition(":")
    if not slash or not _HOST.fullmatch(registry) or not _is_address(registry):
        raise UsageError(f"{text}: names no registry", hint)
    if not _REPOSITORY.fullmatch(repository) or len(repository) > MAX_NAME:
        raise UsageError(f"{text}: {repository!r} is no repository name", hint)
    if colon and not _TAG.fullmatch(tag):
        raise UsageError(f"{text}: {tag!r} is no tag", hint)
    if at:
        try:
            parse_digest(digest, text)
        except RefusedError as error:
            raise UsageError(error.message, hint) from error
    if not colon and not at:
        tag = "latest"
    return Reference(registry, repository, tag or None, digest or None)
