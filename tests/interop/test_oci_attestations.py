"""SBOM and provenance of the real zone: pushed, demanded, carried away, and read by others."""

from __future__ import annotations

import importlib
import json
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from commands import ROOT, Sprout, assert_one_error
from cyclonedx.schema import SchemaVersion, _res
from keyrings import make_keyring, secret_file
from oci_content import Content, signed_artifact, signer
from oci_debian13 import debian13_programs
from oci_registry import Registry, running
from oci_server import Handler, serving
from referencing import Registry as Schemas

from sprout.base.run import check, run
from sprout.oci.model import INDEX, Index

jsonschema = importlib.import_module("jsonschema")  # it has no types
KINDS = {
    "cyclonedx": "https://cyclonedx.org/bom",
    "slsaprovenance1": "https://slsa.dev/provenance/v1",
}
BUILDER = "https://ci.example/kernels"
POLICY = f"""\
keys = ["release.pub"]
require = ["signature", "provenance", "sbom"]
builders = ["{BUILDER}"]
sources = ["pkg:deb/debian/linux-source-6.12@", "file:"]
minimum = "minimum.json"
"""


@pytest.fixture(scope="module")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Registry]:
    with running(tmp_path_factory.mktemp("registry")) as found:
        yield found


@pytest.fixture(scope="module")
def work(
    tmp_path_factory: pytest.TempPathFactory, sprout: Sprout, registry: Registry, zone_disk: Path
) -> Path:
    """The zone packed, signed and pushed, its keys and a policy."""
    folder = tmp_path_factory.mktemp("work")
    make_keyring(folder / "release", ("artifact",))
    secret_file(folder / "pass")
    key = ("--key", folder / "release", "--passphrase-file", folder / "pass")
    reference = f"{registry.host}/kernels/zone:1"
    assert zone_disk.is_file()
    for words in (
        ("pack", "zone", "-o", folder / "layout", "--builder", BUILDER),
        ("push", folder / "layout", reference, "--insecure", *key),
        ("minimum", "zone=6.1", *key, "-o", folder / "minimum.json"),
    ):
        output = sprout(*words)
        assert output.status == 0, output.stderr.decode()
    (folder / "policy.toml").write_text(POLICY)
    return folder


def layers(folder: Path, subject: str, kind: str) -> list[bytes]:
    """Give the contents of the referrers of a kind in a layout, by hand."""
    found = []
    for row in _rows(folder):
        if row.get("artifactType") == kind:
            manifest = json.loads(blob(folder, row["digest"]))
            if manifest["subject"]["digest"] == subject:
                found.append(blob(folder, manifest["layers"][0]["digest"]))
    return found


def _rows(folder: Path) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads((folder / "index.json").read_bytes())["manifests"]
    return found


def blob(folder: Path, digest: str) -> bytes:
    return (folder / "blobs" / digest.replace(":", "/")).read_bytes()


def kernel_manifest(folder: Path) -> str:
    rows = _rows(folder)
    digest: str = json.loads(blob(folder, rows[0]["digest"]))["manifests"][0]["digest"]
    return digest


def test_bill_is_cyclonedx_and_lists_what_was_compiled(work: Path) -> None:
    folder = work / "layout"
    (data,) = layers(folder, kernel_manifest(folder), "application/vnd.cyclonedx+json")
    bill = json.loads(data)
    schema().validate(bill)
    (kernel,) = bill["components"]
    assert kernel["name"] == "zone-kernel"
    metadata = json.loads((ROOT / "build/zone-kernel/metadata.json").read_bytes())
    (source,) = kernel["externalReferences"]
    assert source["hashes"] == [{"alg": "SHA-256", "content": metadata["source"]["sha256"]}]
    assert source["url"].startswith("pkg:deb/debian/linux-source-6.12@")
    compiled = json.loads((ROOT / "build/zone-kernel/sources.json").read_bytes())["sources"]
    listed = {row["name"]: row["hashes"][0]["content"] for row in kernel["components"]}
    assert listed == {row["path"]: row["sha256"] for row in compiled}
    assert len(listed) > 1000
    assert "drivers/block/virtio_blk.c" in listed
    assert "drivers/block/nbd.c" not in listed
    names = [row["diff"]["url"] for row in kernel["pedigree"]["patches"]]
    assert sorted(names) == sorted(row["file"] for row in metadata["patches"])


def schema() -> Any:  # noqa: ANN401 - it has no types
    """Give the specification's own schema, which the library that writes bills brings along."""
    names = (_res.BOM_JSON[SchemaVersion.V1_6], _res.SPDX_JSON, _res.JSF)
    parts = [json.loads(Path(str(name)).read_bytes()) for name in names]
    base = str(parts[0]["$id"]).rpartition("/")[0]
    places = [f"{base}/{Path(str(name)).name}" for name in names]
    found = Schemas().with_contents(zip(places, parts, strict=True))
    return jsonschema.Draft7Validator(parts[0], registry=found)


def test_provenance_names_sources_flavor_toolchain_and_steps(work: Path) -> None:
    folder = work / "layout"
    (data,) = layers(folder, kernel_manifest(folder), "application/vnd.in-toto+json")
    statement = json.loads(data)
    assert statement["predicateType"] == KINDS["slsaprovenance1"]
    said = statement["predicate"]["buildDefinition"]
    metadata = json.loads((ROOT / "build/zone-kernel/metadata.json").read_bytes())
    key = json.loads((ROOT / "build/zone-kernel/.key.json").read_bytes())["key"]
    assert said["internalParameters"]["stepKeys"] == {"zone-kernel": key}
    rows = {row["name"]: row for row in said["resolvedDependencies"]}
    source = metadata["source"]
    assert rows[source["file"]]["digest"]["sha256"] == source["sha256"]
    assert rows["gcc"]["annotations"]["version"] == metadata["toolchain"]["gcc"]
    assert "kernels/flavors/zone.toml" in rows
    assert "kernels/fragments/core.config" in rows
    assert statement["predicate"]["runDetails"]["builder"]["id"] == BUILDER


def test_pull_by_policy(sprout: Sprout, registry: Registry, work: Path, tmp_path: Path) -> None:
    reference = f"{registry.host}/kernels/zone:1"
    for suffix in ("", "-initramfs", "-image", "-disk"):
        words = ("--policy", work / "policy.toml", "-o", tmp_path / "out", "--insecure")
        output = sprout("pull", f"{reference}{suffix}", *words)
        assert output.status == 0, output.stderr.decode()
    assert (tmp_path / "out/zone.img").is_file()
    for old, new, problem in (
        ("ci.example", "other.example", f"was built by '{BUILDER}'"),
        ('"pkg:deb', '"pkg:rpm', "was built from 'pkg:deb/debian/linux-source-6.12@"),
    ):
        (work / "other.toml").write_text((work / "policy.toml").read_text().replace(old, new))
        words = ("--policy", work / "other.toml", "-o", tmp_path / "none", "--insecure")
        assert_one_error(sprout("pull", reference, *words), problem)
        assert not (tmp_path / "none").exists()


def test_too_old_is_refused(sprout: Sprout, registry: Registry, work: Path, tmp_path: Path) -> None:
    key = ("--key", work / "release", "--passphrase-file", work / "pass")
    output = sprout("minimum", "zone=7.0", *key, "-o", work / "newer.json")
    assert output.stdout == b"zone: at least 7.0\n", output.stderr
    (work / "newer.toml").write_text('keys = ["release.pub"]\nminimum = "newer.json"\n')
    words = ("--policy", work / "newer.toml", "-o", tmp_path / "none", "--insecure")
    output = sprout("pull", f"{registry.host}/kernels/zone:1", *words)
    assert_one_error(output, "is below 7.0, the signed minimum")
    assert not (tmp_path / "none").exists()


def test_carried_away_it_verifies_without_a_network(
    sprout: Sprout, registry: Registry, work: Path, tmp_path: Path
) -> None:
    """Pulled as a layout, made an archive by tar(1), and judged where there is no network."""
    policy = ("--policy", work / "policy.toml")
    where = ("--layout", "-o", tmp_path / "zone", "--insecure")
    output = sprout("pull", f"{registry.host}/kernels/zone:1", *policy, *where)
    assert output.status == 0, output.stderr.decode()
    check(["tar", "-C", tmp_path / "zone", "-cf", tmp_path / "zone.tar", "."], "tar")
    for place in (tmp_path / "zone", tmp_path / "zone.tar"):
        offline: list[str | Path] = ["unshare", "-rn", sys.executable, "-m", "sprout"]
        judge = run([*offline, "verify", place, *policy], cwd=ROOT, timeout=60)
        assert judge.status == 0, judge.stderr.decode()
        assert b"  accepted\n" in judge.stdout
    listed = sprout("inspect", tmp_path / "zone.tar").stdout.decode()
    for predicate in KINDS.values():
        assert predicate in listed
    (root,) = (row for row in _rows(tmp_path / "zone") if row["mediaType"] == INDEX)
    tag = root["digest"].replace(":", "-") + ".sig"
    # It goes back into a registry with everything that refers to it.
    again = f"{registry.host}/again/zone:1"
    output = sprout("push", tmp_path / "zone.tar", again, "--unsigned", "--insecure")
    assert output.status == 0, output.stderr.decode()
    output = sprout("verify", again, *policy, "--insecure")
    assert output.status == 0, output.stderr.decode()
    assert sprout("inspect", f"{again.rpartition(':')[0]}:{tag}", "--insecure").status == 0


def test_packed_and_signed_into_an_archive(
    sprout: Sprout, work: Path, tmp_path: Path, zone_disk: Path
) -> None:
    assert zone_disk.is_file()
    key = ("--key", work / "release", "--passphrase-file", work / "pass")
    archive = tmp_path / "zone.tar"
    output = sprout("pack", "zone", "-o", archive, "--builder", BUILDER, *key)
    assert output.status == 0, output.stderr.decode()
    assert sprout("verify", archive, "--key", work / "release.pub").status == 0
    copied = tmp_path / "copied.tar"
    skopeo: list[str | Path] = ["skopeo", "--insecure-policy", "copy", "--all"]
    check([*skopeo, f"oci-archive:{archive}:kernel", f"oci-archive:{copied}:kernel"], "skopeo")
    # skopeo leaves signatures behind: what it wrote is read, and refused.
    output = sprout("verify", copied, "--key", work / "release.pub")
    assert_one_error(output, "is not signed")


@pytest.mark.parametrize("kind", KINDS)
def test_cosign_verifies_what_we_attest(
    registry: Registry, work: Path, tmp_path: Path, kind: str
) -> None:
    programs = debian13_programs()
    root = tmp_path / "root.json"
    root.write_text('{"mediaType":"application/vnd.dev.sigstore.trustedroot+json;version=0.1"}')
    stranger = signer("stranger").write(tmp_path / "stranger.pub")
    words: list[str | Path] = [programs / "cosign", "verify-attestation", "--new-bundle-format"]
    words += ["--trusted-root", root, "--insecure-ignore-tlog", "--allow-http-registry"]
    words += ["--type", kind, f"{registry.host}/kernels/zone:1", "--key"]
    env = {**os.environ, "HOME": str(tmp_path)}
    for key, good in ((work / "release.pub/artifact.pub", True), (stranger, False)):
        output = run([*words, key], env=env, timeout=60)
        assert (output.status == 0) == good, output.stderr.decode()


def test_oras_discovers_what_is_attached(registry: Registry, work: Path) -> None:
    assert work.is_dir()
    programs = debian13_programs()
    words: list[str | Path] = [programs / "oras", "discover", "--plain-http", "--platform"]
    listed = check([*words, "linux/amd64", f"{registry.host}/kernels/zone:1"], "oras").decode()
    for kind in ("vnd.cyclonedx+json", "vnd.in-toto+json", "vnd.dev.sigstore.bundle.v0.3+json"):
        assert f"application/{kind}" in listed


def test_list_of_referrers_comes_in_pages(sprout: Sprout, tmp_path: Path) -> None:
    """The signature is on the second page; a page elsewhere, or without end, is refused."""
    who = signer("release")
    content, made = signed_artifact(who)
    content.tags = {"1": made.index.digest}
    key = who.write(tmp_path / "k.pub")
    elsewhere: list[str] = []

    def paged(handler: Handler) -> bool:
        if "/referrers/" not in handler.path:
            return False
        rows = () if "?" not in handler.path else tuple(content.referrers[made.index.digest])
        place = elsewhere[0] if elsewhere else f"{handler.path}?page=2"
        headers = {"Content_Type": INDEX}
        if not rows or elsewhere:
            headers["Link"] = f'<{place}>; rel="next"'
        handler.answer(200, Index(rows).to_bytes(), **headers)
        return True

    with serving(content, tmp_path) as server:
        server.tricks.append(paged)
        words = ("verify", server.reference, "--key", key, "--ca", server.authority)
        output = sprout(*words)
        assert output.status == 0, output.stderr.decode()
        elsewhere.append("https://elsewhere.example/v2/kernels/zone/referrers/x")
        assert_one_error(sprout(*words), "goes on elsewhere")
        elsewhere[0] = "?page=3"
        assert_one_error(sprout(*words), "more than 16 pages")


def test_registry_that_lists_referrers_itself(sprout: Sprout, work: Path, tmp_path: Path) -> None:
    """Pushed to a registry of version 1.1: it keeps the lists, and no fallback tag is made."""
    content = Content()
    with serving(content, tmp_path) as server:
        key = ("--key", work / "release", "--passphrase-file", work / "pass")
        send = ("push", work / "layout", server.reference, *key, "--only", "kernel")
        output = sprout(*send, "--ca", server.authority)
        assert output.status == 0, output.stderr.decode()
        assert set(content.tags) == {"1"} | {
            f"{digest.replace(':', '-')}.sig" for digest in content.referrers
        }
        # Of the index: a signature, SBOM and provenance; of the manifest: both unsigned as well.
        assert sorted(len(rows) for rows in content.referrers.values()) == [3, 5]
        words = ("--policy", work / "policy.toml", "-o", tmp_path / "out", "--ca", server.authority)
        output = sprout("pull", server.reference, *words)
        assert output.status == 0, output.stderr.decode()
        sent = [path for path in server.paths if path.startswith("PUT") and "/blobs/" in path]
        again = sprout(*send, "--ca", server.authority)
        assert b": 0 blobs, 0 bytes sent" in again.stdout
        assert len(sent) == len([path for path in server.paths if "/blobs/uploads/1" in path])
    assert (tmp_path / "out/kernel/image").is_file()
