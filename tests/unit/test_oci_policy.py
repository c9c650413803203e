"""Policies: what is demanded beside a signature, and who does not get past."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from commands import Sprout, assert_one_error
from oci_content import EcSigner, flipped, signer
from packaging.version import Version

from sprout.base.errors import SproutError
from sprout.oci import cosign
from sprout.oci.attest import KINDS, SBOM_PREDICATE, SBOM_TYPE, Evidence
from sprout.oci.definition import Definition, FileRow
from sprout.oci.digest import digest_of
from sprout.oci.keys import TrustedKey
from sprout.oci.layout import Layout, open_layout
from sprout.oci.layout_sign import sign_layout
from sprout.oci.minimum import read_minimum, sign_minimum
from sprout.oci.model import (
    EMPTY_CONFIG,
    IMAGE,
    MANIFEST,
    VERSION,
    Descriptor,
    Index,
    Manifest,
    describe,
)
from sprout.oci.pack import pack
from sprout.oci.policy import load_policy
from sprout.oci.provenance import PREDICATE, SOURCE, Material, provenance
from sprout.oci.refused import RefusedError, Why
from sprout.oci.sbom import Part, SourceFile, write_sbom
from sprout.oci.stored import Stored
from sprout.oci.strict_json import parse_json
from sprout.oci.verify import verify_stored

RELEASE, STRANGER = signer("release"), signer("stranger")
BUILDER = "https://ci.example/kernels"
URI = "pkg:deb/debian/linux-source-6.12@6.12.117-1?arch=all"
ALL = 'require = ["signature", "sbom", "provenance"]\n'


def evidence(builder: str = BUILDER, uri: str = URI) -> Evidence:
    part = Part(
        "linux", "6.12.117", "operating-system", files=(SourceFile("init/main.c", "0" * 64),)
    )
    said = provenance(
        builder, "0.1.0", {}, {}, [Material(SOURCE, "linux.deb", uri, "1" * 64)] if uri else []
    )
    return Evidence(write_sbom("zone kernel", "6.12.117", [part], 0), said)


def packed(
    target: Path,
    who: EcSigner | None = RELEASE,
    *,
    known: Evidence | None = None,
    version: str = "6.12.117",
    image: str = "zone",
) -> Layout:
    """Make a layout of one artifact for two architectures, signed by `who`."""
    rows = (FileRow("kernel/image", "kernel", "application/vnd.test"),)
    notes = {VERSION: version, IMAGE: image}
    definition = Definition("kernel", "", "application/vnd.test.kernel", notes, rows)
    found = known or evidence()
    both = ("amd64", "arm64")
    pack(
        target,
        [definition],
        {name: {"kernel": name.encode()} for name in both},
        {name: {"kernel": found} for name in both},
    )
    if who is not None:
        sign_layout(open_layout(target), who, who.public)
    return open_layout(target)


def judged(layout: Layout, text: str) -> str:
    """Verify by the policy `text` beside the layout, and give who signed."""
    folder = layout.path.parent
    RELEASE.write(folder / "release.pub")
    path = folder / "policy.toml"
    path.write_text(f'keys = ["release.pub"]\n{text}')
    found = verify_stored(
        Stored(layout), layout.root("kernel"), load_policy(path), lambda _: lambda _: None
    )
    return found.accepted.key.name


def test_everything_demanded_is_there(tmp_path: Path) -> None:
    layout = packed(tmp_path / "a")
    (tmp_path / "minimum.json").write_bytes(sign_minimum({"zone": Version("6.12.100")}, RELEASE))
    text = f'{ALL}builders = ["{BUILDER}"]\nsources = ["pkg:deb/debian/linux-source-6.12@"]\n'
    assert judged(layout, f'{text}minimum = "minimum.json"\n') == "release.pub"
    assert judged(layout, "") == "release.pub"


def test_same_parts_same_bytes(tmp_path: Path) -> None:
    first, second = evidence(), evidence()
    assert first == second
    assert packed(tmp_path / "a", None).index == packed(tmp_path / "b", None).index
    bill = json.loads(first.sbom)
    other = write_sbom("zone kernel", "6.12.117", [Part("linux", "6.12.118", "library")], 0)
    assert bill["serialNumber"] != json.loads(other)["serialNumber"]
    assert bill["specVersion"] == "1.6"


def test_two_files_of_one_name_are_refused() -> None:
    """CycloneDX's library gives the second a random reference, and the bill differs each time."""
    files = (SourceFile("libc.a", "0" * 64), SourceFile("libc.a", "1" * 64))
    with pytest.raises(SproutError, match=r"a host: 2 of its parts are called libraries:libc\.a"):
        write_sbom("a host", "1", [Part("libraries", "1", "library", files=files)], 0)
    for names in (("a", "a"), ("a host",)):
        with pytest.raises(SproutError, match=f"2 of its parts are called {names[0]}"):
            write_sbom("a host", "1", [Part(name, "1", "library") for name in names], 0)


@pytest.mark.parametrize("kind", KINDS)
def test_unsigned_evidence_does_not_count(tmp_path: Path, kind: str) -> None:
    """What lies beside an artifact without a signature was said by nobody."""
    layout = packed(tmp_path / "a", None)
    made = cosign.sign_bundle(layout.root("kernel"), RELEASE, RELEASE.public)
    add(layout, made)
    layout = open_layout(layout.path)
    assert judged(layout, "") == "release.pub"
    with pytest.raises(RefusedError, match=f"{kind}: refused: is not vouched for") as error:
        judged(layout, f'require = ["{kind}"]\n')
    assert error.value.why is Why.NOT_ATTESTED


def add(layout: Layout, *made: cosign.Made) -> None:
    """Put referrers into a layout, as anybody could who has it."""
    rows = list(layout.index.manifests)
    for one in made:
        for data in (*one.blobs, one.manifest):
            digest = digest_of(data).removeprefix("sha256:")
            (layout.path / "blobs/sha256" / digest).write_bytes(data)
        rows.append(one.row)
    (layout.path / "index.json").write_bytes(
        replace(layout.index, manifests=tuple(rows)).to_bytes()
    )


def statement(
    subject: Descriptor,
    predicate: str,
    said: dict[str, Any],
    who: EcSigner = RELEASE,
    *,
    about: Descriptor | None = None,
) -> cosign.Made:
    body = cosign.statement_of(predicate, said, about or subject)
    signature = who.sign(cosign.dsse_message(cosign.IN_TOTO, body), "statement")
    return cosign.bundle_of(subject, predicate, body, signature, who.public)


BILL = {"bomFormat": "CycloneDX", "components": [{"name": "x"}]}
GOOD = evidence().provenance


@pytest.mark.parametrize(
    ("make", "why"),
    [
        (lambda row, other: statement(row, SBOM_PREDICATE, BILL, STRANGER), Why.STRANGER),
        (lambda row, other: statement(row, SBOM_PREDICATE, BILL, about=other), Why.OTHER_DIGEST),
        (lambda row, other: statement(other, SBOM_PREDICATE, BILL), Why.NOT_ATTESTED),
        (lambda row, other: statement(row, PREDICATE, GOOD), Why.OTHER_PREDICATE),
        (lambda row, other: cosign.sign_bundle(row, RELEASE, RELEASE.public), Why.OTHER_PREDICATE),
        (lambda row, other: statement(row, SBOM_PREDICATE, {}), Why.MALFORMED),
        (
            lambda row, other: statement(row, SBOM_PREDICATE, {**BILL, "components": []}),
            Why.MALFORMED,
        ),
    ],
    ids=["stranger's", "another's", "elsewhere", "provenance", "signature", "empty", "of nothing"],
)
def test_wrong_bills(
    tmp_path: Path, make: Callable[[Descriptor, Descriptor], cosign.Made], why: Why
) -> None:
    layout = packed(tmp_path / "a", None)
    root = layout.root("kernel")
    index = layout.manifest(root)[1]
    assert isinstance(index, Index)
    first, second = index.manifests
    good = statement(second, SBOM_PREDICATE, BILL)
    add(layout, cosign.sign_bundle(root, RELEASE, RELEASE.public), good, make(first, root))
    with pytest.raises(RefusedError) as error:
        judged(open_layout(layout.path), 'require = ["sbom"]\n')
    assert error.value.why is why


def test_every_flipped_blob_is_refused(tmp_path: Path) -> None:
    """Also of signatures, bills and provenance.

    What nobody signed may be anything, and so may what vouches for one architecture alone, as who
    pulls that one by its digest wants it: the index is vouched for.
    """
    layout = packed(tmp_path / "a")
    root, unused = layout.root("kernel"), set()
    for row in layout.index.manifests:
        manifest = layout.manifest(row)[1]
        if not isinstance(manifest, Manifest) or manifest.subject is None:
            continue
        alone = row.annotations.get(cosign.PREDICATE_NOTE) == cosign.SIGNED
        alone = alone and manifest.subject.digest != root.digest
        if alone or row.artifact_type in (SBOM_TYPE, cosign.IN_TOTO):
            unused.add(manifest.layers[0].digest)
    paths = list((tmp_path / "a/blobs/sha256").iterdir())
    assert len(paths) > 20
    for path in paths:
        data = path.read_bytes()
        path.write_bytes(flipped(data))
        if f"sha256:{path.name}" in unused:
            judged(layout, ALL)
        else:
            with pytest.raises(RefusedError):
                judged(layout, ALL)
        path.write_bytes(data)


@pytest.mark.parametrize(
    ("known", "text", "words"),
    [
        (evidence(), 'builders = ["https://other.example/"]\n', "was built by 'https://ci"),
        (
            evidence(),
            'sources = ["pkg:deb/debian/linux-source-6.13@"]\n',
            "was built from 'pkg:deb",
        ),
        (evidence(uri=""), 'sources = ["pkg:"]\n', "names no source"),
        # Spelt like what the policy takes, and elsewhere.
        (evidence(), 'sources = ["pkg:deb/debian/linux-source-6"]\n', "was built from"),
        (
            evidence(uri="https://a.example.evil.example/x"),
            'sources = ["https://a.example"]\n',
            "was built from",
        ),
        (
            evidence(uri="https://a.example@evil.example/x"),
            'sources = ["https://a.example"]\n',
            "was built from",
        ),
        (Evidence(evidence().sbom, {}), f'builders = ["{BUILDER}"]\n', "was built by 'None'"),
        (Evidence(evidence().sbom, {"runDetails": [1]}), f'builders = ["{BUILDER}"]\n', "'None'"),
    ],
)
def test_against_the_policy(tmp_path: Path, known: Evidence, text: str, words: str) -> None:
    layout = packed(tmp_path / "a", known=known)
    with pytest.raises(RefusedError, match=words) as error:
        judged(layout, f'require = ["provenance"]\n{text}')
    assert error.value.why is Why.AGAINST_POLICY


@pytest.mark.parametrize(
    ("version", "image", "why"),
    [
        ("6.12.117", "zone", None),
        ("6.12.118", "zone", None),
        ("6.12.99", "zone", Why.TOO_OLD),
        ("6.9", "zone", Why.TOO_OLD),
        ("6.12.117", "host", Why.AGAINST_POLICY),
        ("", "zone", Why.MALFORMED),
        ("1e3", "zone", Why.MALFORMED),
    ],
)
def test_no_downgrade(tmp_path: Path, version: str, image: str, why: Why | None) -> None:
    layout = packed(tmp_path / "a", version=version, image=image)
    (tmp_path / "minimum.json").write_bytes(sign_minimum({"zone": Version("6.12.117")}, RELEASE))
    try:
        judged(layout, 'minimum = "minimum.json"\n')
    except RefusedError as error:
        assert error.why is why
    else:
        assert why is None


def test_minimum_has_to_be_signed(tmp_path: Path) -> None:
    layout = packed(tmp_path / "a")
    path = tmp_path / "minimum.json"
    path.write_bytes(sign_minimum({"zone": Version("6.12")}, STRANGER))
    with pytest.raises(RefusedError, match="none of the trusted keys"):
        judged(layout, 'minimum = "minimum.json"\n')
    # A signed statement of another type is no minimum.
    body = cosign.statement_of(PREDICATE, GOOD, layout.root("kernel"))
    signature = RELEASE.sign(cosign.dsse_message(cosign.IN_TOTO, body), "x")
    path.write_text(json.dumps(cosign.envelope_of(cosign.IN_TOTO, body, signature)))
    with pytest.raises(RefusedError, match="is a application/vnd"):
        judged(layout, 'minimum = "minimum.json"\n')
    path.write_text("{}")
    with pytest.raises(RefusedError, match="payloadType is missing"):
        judged(layout, 'minimum = "minimum.json"\n')
    path.unlink()
    with pytest.raises(SproutError, match="cannot be read"):
        judged(layout, 'minimum = "minimum.json"\n')


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('require = ["signature", "vibes"]', "there is no vibes"),
        ('builders = ["x"]', "builders: only a provenance"),
        ('sources = ["x"]\nrequire = ["sbom"]', "sources: only a provenance"),
        ("require = 1", "require: is not an array"),
        ("more = 1", "more: is an unknown key"),
        ("minimum = 1", "minimum: is not a string"),
    ],
)
def test_malformed_policies(tmp_path: Path, text: str, words: str) -> None:
    with pytest.raises(SproutError, match=words):
        judged(packed(tmp_path / "a"), f"{text}\n")
    (tmp_path / "policy.toml").write_text("keys = []\n")
    with pytest.raises(SproutError, match="keys: is empty"):
        load_policy(tmp_path / "policy.toml")


def test_by_the_command(sprout: Sprout, tmp_path: Path) -> None:
    packed(tmp_path / "a", known=evidence(builder="https://elsewhere.example/"))
    RELEASE.write(tmp_path / "release.pub")
    policy = tmp_path / "policy.toml"
    policy.write_text(f'keys = ["release.pub"]\n{ALL}')
    output = sprout("verify", tmp_path / "a", "--policy", policy)
    assert output.status == 0, output.stderr.decode()
    policy.write_text(f'{policy.read_text()}builders = ["{BUILDER}"]\n')
    output = sprout("verify", tmp_path / "a", "--policy", policy)
    assert_one_error(output, "was built by 'https://elsewhere.example/'")
    output = sprout("verify", tmp_path / "a", "--policy", policy, "--key", tmp_path / "release.pub")
    assert_one_error(output, "not allowed with", status=2)
    assert_one_error(sprout("verify", tmp_path / "a"), "one of the arguments", status=2)
    output = sprout("minimum", "zone", "--key", "x", "-o", tmp_path / "m")
    assert_one_error(output, "is no IMAGE=VERSION", status=2)
    output = sprout("minimum", "zone=1", "zone=2", "--key", "x", "-o", tmp_path / "m")
    assert_one_error(output, "named twice", status=2)


def test_signed_minimum_says_what_was_asked(tmp_path: Path) -> None:
    path = tmp_path / "m"
    path.write_bytes(sign_minimum({"zone": Version("6.12.1"), "host": Version("6.12")}, RELEASE))
    keys = load_policy_keys(tmp_path)
    assert read_minimum(path, keys) == {"zone": Version("6.12.1"), "host": Version("6.12")}


def load_policy_keys(folder: Path) -> tuple[TrustedKey, ...]:
    RELEASE.write(folder / "release.pub")
    (folder / "policy.toml").write_text('keys = ["release.pub"]\n')
    return load_policy(folder / "policy.toml").keys


def test_files_are_beside_the_policy_wherever_it_is_called(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not in the key ring, nor where the command runs."""
    RELEASE.write(tmp_path / "release.pub")
    (tmp_path / "policy.toml").write_text('keys = ["release.pub"]\n')
    (tmp_path / "ring/release.pub").mkdir(parents=True)
    monkeypatch.setenv("SPROUT_KEYS", str(tmp_path / "ring"))
    monkeypatch.chdir(tmp_path)
    (key,) = load_policy(Path("policy.toml")).keys
    assert key.verifies(RELEASE.sign(b"x", "x"), b"x")


def test_images_that_a_policy_takes(tmp_path: Path) -> None:
    layout = packed(tmp_path / "a", image="host")
    judged(layout, 'images = ["zone", "host"]\n')
    with pytest.raises(RefusedError, match="is of 'host', which the policy does not take"):
        judged(layout, 'images = ["zone"]\n')


@pytest.mark.parametrize("turned", [False, True])
def test_any_statement_of_a_trusted_key_may_meet_the_demand(tmp_path: Path, turned: bool) -> None:
    layout = packed(tmp_path / "a", None)
    root = layout.root("kernel")
    index = layout.manifest(root)[1]
    assert isinstance(index, Index)
    said = [evidence(builder).provenance for builder in (BUILDER, "https://other.example/")]
    for row in index.manifests:
        add(layout, *(statement(row, PREDICATE, one) for one in (said[::-1] if turned else said)))
        layout = open_layout(layout.path)
    add(layout, cosign.sign_bundle(root, RELEASE, RELEASE.public))
    demand = f'require = ["provenance"]\nbuilders = ["{BUILDER}"]\n'
    assert judged(open_layout(layout.path), demand) == "release.pub"


def test_half_characters_and_long_versions_are_refused(tmp_path: Path) -> None:
    with pytest.raises(RefusedError, match="is no JSON"):
        parse_json(b'{"payloadType":"\\ud800"}', "x")
    with pytest.raises(RefusedError, match="more than 262,144 values"):
        parse_json(b'{"a":[' + b"{}," * 300_000 + b"1]}", "x")
    assert parse_json(b'{"a":"\\ud83d\\ude00"}', "x") == {"a": "\U0001f600"}
    layout = packed(tmp_path / "a", version="9" * 5000)
    (tmp_path / "minimum.json").write_bytes(sign_minimum({"zone": Version("6.12")}, RELEASE))
    with pytest.raises(RefusedError, match="is no version"):
        judged(layout, 'minimum = "minimum.json"\n')
    with pytest.raises(RefusedError, match="has an epoch"):
        judged(packed(tmp_path / "b", version="1!0"), _minimum(tmp_path))


def _minimum(folder: Path) -> str:
    (folder / "minimum.json").write_bytes(sign_minimum({"zone": Version("6.12.100")}, RELEASE))
    return 'minimum = "minimum.json"\n'


def test_each_referrer_is_read_once_however_often_it_is_listed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A small index that names one large manifest a thousand times costs one reading of it."""
    layout = packed(tmp_path / "a")
    large = Manifest(
        EMPTY_CONFIG,
        (),
        cosign.BUNDLE,
        layout.root("kernel"),
        {"x": "y" * 1_000_000},
    ).to_bytes()
    row = describe(large, MANIFEST, artifact_type=cosign.BUNDLE)
    (layout.path / "blobs" / row.digest.replace(":", "/")).write_bytes(large)
    index = replace(layout.index, manifests=(*layout.index.manifests, *[row] * 1000))
    (layout.path / "index.json").write_bytes(index.to_bytes())
    opened: list[str] = []
    real = Layout.opened

    def counting(self: Layout, row: Descriptor) -> io.RawIOBase:
        opened.append(row.digest)
        return real(self, row)

    monkeypatch.setattr(Layout, "opened", counting)
    stored = Stored(open_layout(layout.path))
    for _ in range(3):
        assert stored.referrers(layout.root("kernel").digest).count(row) == 1
    assert opened.count(row.digest) == 1
