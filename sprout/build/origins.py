"""What is known of a tree's built steps: the software in them, and what it was made from."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from packageurl import PackageURL

from sprout import __version__
from sprout.base.errors import SproutError
from sprout.base.files import read_bounded, sha256_file
from sprout.build.graph import Graph
from sprout.build.step import Step
from sprout.image.stub import stub_sources
from sprout.initramfs import assemble
from sprout.kernel.order import Order
from sprout.kernel.sources import AptOrigin, AptSourceOrigin, TarballOrigin
from sprout.oci.attest import Evidence
from sprout.oci.provenance import SOURCE, Material, provenance
from sprout.oci.sbom import AppliedPatch, Archive, Part, SourceFile, write_sbom

_MAX_METADATA_BYTES = 1 << 20
_MAX_SOURCES_BYTES = 32 << 20
_INITRAMFS = "-initramfs"
_STUB = "stub"


def evidence(
    graph: Graph, name: str, version: str, targets: Iterable[str], builder: str
) -> Evidence:
    """Give what is known of the artifact `name`, which holds outputs of the steps `targets`.

    `builder` is the URI of who builds. Raises SproutError when a step has not been made.
    """
    wanted = sorted(set(targets))
    steps = graph.select(wanted)
    parts = [part for step in steps for part in _parts(graph, step)]
    materials = dict.fromkeys(row for step in steps for row in _materials(graph, step))
    return Evidence(
        write_sbom(name, version, parts, graph.tree.epoch),
        provenance(
            builder,
            __version__,
            {"targets": " ".join(wanted)},
            {step.name: step.key for step in steps},
            materials,
        ),
    )


def _parts(graph: Graph, step: Step) -> Iterable[Part]:
    """Give the software that a step makes; nothing for one that only puts others together."""
    if step.name in graph.orders:
        yield _compiled(graph.orders[step.name], step)
        return
    own = _own(graph, step)
    if own:
        kind = "firmware" if step.name == _STUB else "application"
        yield Part(step.name, __version__, kind, files=own)
    if step.name.endswith(_INITRAMFS):
        linked = assemble.linked(_definition(graph, step))
        # By their paths: the libc.a of two C libraries may get in.
        names = (str(file.absolute().relative_to("/")) for file in linked)
        files = tuple(map(SourceFile, names, map(sha256_file, linked)))
        yield Part(f"{step.name}-libraries", "", "library", files=files)


def _own(graph: Graph, step: Step) -> tuple[SourceFile, ...]:
    """Give the files of the tree, or of this package, that a step compiles or packs."""
    if step.name == _STUB:
        return _files(stub_sources(), Path(__file__).parents[2])
    if step.name.endswith(_INITRAMFS):
        return _files(assemble.inputs(_definition(graph, step)), graph.tree.root)
    return ()


def _definition(graph: Graph, step: Step) -> Path:
    return graph.tree.root / "initramfs" / f"{step.name.removesuffix(_INITRAMFS)}.toml"


def _compiled(order: Order, step: Step) -> Part:
    facts = _facts(step)
    patches = []
    for patch in order.flavor.patches_for(facts["version"]):
        text = patch.file.read_text(errors="replace")
        patches.append(AppliedPatch(patch.file.name, patch.reason, text))
    listed = step.directory / "sources.json"
    rows = json.loads(read_bounded(listed, _MAX_SOURCES_BYTES)) if listed.exists() else {}
    return Part(
        name=step.name,
        version=facts["version"],
        kind="operating-system" if order.flavor.kind == "linux" else "platform",
        archives=tuple(_archives(order)),
        patches=tuple(patches),
        files=tuple(SourceFile(row["path"], row["sha256"]) for row in rows.get("sources", ())),
    )


def _materials(graph: Graph, step: Step) -> Iterable[Material]:
    root = graph.tree.root
    if step.name not in graph.orders:
        for row in _own(graph, step):
            yield Material(SOURCE, row.path, f"file:{row.path}", row.sha256)
        return
    order, facts = graph.orders[step.name], _facts(step)
    for archive in _archives(order):
        yield Material(SOURCE, archive.file, archive.purl, archive.sha256)
    for patch in order.flavor.patches_for(facts["version"]):
        yield _configured("patch", patch.file, root)
    for file in (*order.flavor.paths, *(fragment.path for fragment in order.flavor.fragments)):
        yield _configured("configuration", file, root)
    for tool, text in facts.get("toolchain", {}).items():
        yield Material("tool", tool, f"pkg:generic/{tool}", None, (("version", text),))


def _configured(role: str, file: Path, root: Path) -> Material:
    name = str(file.relative_to(root))
    return Material(role, name, f"file:{name}", sha256_file(file))


def _archives(order: Order) -> Iterable[Archive]:
    """Give the archives that a source came in, by package URLs (purl-spec)."""
    pin = order.locked()
    origin = order.source.origin(pin.origin)
    for file, sha256 in pin.checksums().items():
        match origin:
            case TarballOrigin():
                url = f"{origin.base}{origin.file.format(version=pin.version)}"
                found = PackageURL(
                    "generic", None, order.source.name, pin.version, {"download_url": url}
                )
            case AptOrigin() | AptSourceOrigin():
                system, _, _ = pin.release.partition("-")
                kind = "source" if isinstance(origin, AptSourceOrigin) else "all"
                more = {"arch": kind, "distro": pin.release}
                found = PackageURL("deb", system, origin.package, pin.version, more)
            case None:
                raise SproutError(
                    f"{pin.source}: there is no origin {pin.origin} any more",
                    "Run `sprout update`: the lock names it.",
                )
        yield Archive(found.to_string(), file, sha256)


def _facts(step: Step) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(
        read_bounded(step.directory / "metadata.json", _MAX_METADATA_BYTES)
    )
    return found


def _files(paths: Iterable[Path], root: Path) -> tuple[SourceFile, ...]:
    rows = {str(path.resolve().relative_to(root.resolve())): sha256_file(path) for path in paths}
    return tuple(SourceFile(name, sha256) for name, sha256 in sorted(rows.items()))
