"""Software bills of materials in CycloneDX 1.6 (ECMA-424), the same bytes from the same parts."""

from __future__ import annotations

import base64
import uuid
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime

from cyclonedx.model import (
    AttachedText,
    Encoding,
    ExternalReference,
    ExternalReferenceType,
    HashAlgorithm,
    HashType,
    Property,
    XsUri,
)
from cyclonedx.model.bom import Bom, BomMetaData
from cyclonedx.model.component import (
    Component,
    ComponentType,
    Diff,
    Patch,
    PatchClassification,
    Pedigree,
)
from cyclonedx.output.json import JsonV1Dot6
from packageurl import PackageURL

from sprout.base.errors import SproutError
from sprout.oci.digest import digest_of

# Where the same components get the same serial number; drawn once at random.
_NAMESPACE = uuid.UUID("6f3b8a52-6d5c-4c0b-9a43-5d1d6f0e8c71")


@dataclass(frozen=True)
class SourceFile:
    """A file that was compiled or copied: its path in its source tree, and its SHA-256."""

    path: str
    sha256: str


@dataclass(frozen=True)
class AppliedPatch:
    """A patch that was applied before: its name, why it is there, and its text."""

    name: str
    reason: str
    text: str


@dataclass(frozen=True)
class Archive:
    """An archive that sources came in: its package URL, the name of its file, and its SHA-256."""

    purl: str
    file: str
    sha256: str


@dataclass(frozen=True)
class Part:
    """A piece of software in an artifact: what it is called, and what it was made from.

    `kind` is a type of component in CycloneDX's words, such as "operating-system".
    """

    name: str
    version: str
    kind: str
    archives: tuple[Archive, ...] = ()
    patches: tuple[AppliedPatch, ...] = ()
    files: tuple[SourceFile, ...] = ()


def write_sbom(name: str, version: str, parts: Iterable[Part], epoch: int) -> bytes:
    """Give the bill of the artifact `name`, whose time is `epoch` in seconds, as JSON.

    Raises SproutError where two components would have one reference (CycloneDX, "bom-ref"): the
    library would choose others at random.
    """
    parts = tuple(parts)
    references = Counter([name, *(ref for part in parts for ref in _references(part))])
    reference, times = references.most_common(1)[0]
    if times > 1:
        raise SproutError(
            f"{name}: {times} of its parts are called {reference}", "Give each a name of its own."
        )
    about = Component(name=name, version=version, type=ComponentType.FIRMWARE, bom_ref=name)
    bom = Bom(
        metadata=BomMetaData(component=about, timestamp=datetime.fromtimestamp(epoch, UTC)),
        components=[_component(part) for part in parts],
        serial_number=_NAMESPACE,
    )
    bom.register_dependency(about, bom.components)
    # What it is in all but its serial number decides the serial number.
    bom.serial_number = uuid.uuid5(_NAMESPACE, digest_of(_json(bom)))
    return _json(bom)


def _references(part: Part) -> list[str]:
    return [part.name, *(f"{part.name}:{row.path}" for row in part.files)]


def _json(bom: Bom) -> bytes:
    return JsonV1Dot6(bom).output_as_string().encode()


def _component(part: Part) -> Component:
    patches = [
        Patch(
            type=PatchClassification.UNOFFICIAL,
            diff=Diff(
                text=AttachedText(
                    content=base64.b64encode(row.text.encode()).decode(), encoding=Encoding.BASE_64
                ),
                url=XsUri(row.name),
            ),
        )
        for row in part.patches
    ]
    return Component(
        name=part.name,
        version=part.version,
        type=ComponentType(part.kind),
        bom_ref=part.name,
        purl=PackageURL.from_string(part.archives[0].purl) if part.archives else None,
        external_references=[
            ExternalReference(
                type=ExternalReferenceType.SOURCE_DISTRIBUTION,
                url=XsUri(row.purl),
                comment=row.file,
                hashes=[_sha256(row.sha256)],
            )
            for row in part.archives
        ],
        pedigree=Pedigree(patches=patches) if patches else None,
        properties=[
            Property(name=f"sprout:patch:{row.name}", value=row.reason) for row in part.patches
        ],
        components=[
            Component(
                name=row.path,
                type=ComponentType.FILE,
                bom_ref=f"{part.name}:{row.path}",
                hashes=[_sha256(row.sha256)],
            )
            for row in part.files
        ],
    )


def _sha256(value: str) -> HashType:
    return HashType(alg=HashAlgorithm.SHA_256, content=value)
