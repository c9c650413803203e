"""Other people's clients: cosign verifies ours and we verify theirs; oras pulls and lists."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from commands import Sprout, assert_one_error
from keyrings import make_keyring, secret_file
from oci_content import signer
from oci_debian13 import debian13_programs, skopeo
from oci_registry import Registry, running

from sprout.base.run import Output, check, run
from sprout.oci.definition import Definition, FileRow
from sprout.oci.pack import pack

SIGNED = "https://sigstore.dev/cosign/sign/v1"


@pytest.fixture(scope="module")
def programs() -> Path:
    return debian13_programs()


@pytest.fixture(scope="module")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Registry]:
    with running(tmp_path_factory.mktemp("registry")) as found:
        yield found


@pytest.fixture
def keys(tmp_path: Path) -> Path:
    make_keyring(tmp_path / "release", ("artifact",))
    secret_file(tmp_path / "pass")
    return tmp_path / "release"


@pytest.fixture
def reference(sprout: Sprout, registry: Registry, keys: Path, tmp_path: Path) -> str:
    """An artifact that we pushed and signed."""
    rows = (FileRow("kernel/image", "kernel", "application/vnd.test"),)
    definition = Definition("kernel", "", "application/vnd.test.kernel", {"dev.test": "1"}, rows)
    pack(tmp_path / "layout", [definition], {"amd64": {"kernel": b"image" * 100}})
    found = f"{registry.host}/{tmp_path.name.lower().replace('_', '-')}/zone:1"
    words = ("--key", keys, "--passphrase-file", tmp_path / "pass", "--insecure")
    output = sprout("push", tmp_path / "layout", found, *words)
    assert output.status == 0, output.stderr.decode()
    return found


def cosign(programs: Path, key: Path, *words: str | Path) -> Output:
    """Run cosign offline, with a root of trust that trusts nobody but `key`."""
    env = {**os.environ, "COSIGN_PASSWORD": "", "HOME": str(key.parent)}
    return run([programs / "cosign", *words, "--key", key], env=env, timeout=60)


def test_cosign_verifies_both_forms(programs: Path, reference: str, keys: Path) -> None:
    ours = keys.with_name("release.pub") / "artifact.pub"
    stranger = signer("stranger").write(keys.with_name("stranger.pub"))
    root = keys.with_name("root.json")
    root.write_text('{"mediaType":"application/vnd.dev.sigstore.trustedroot+json;version=0.1"}')
    common = ("--insecure-ignore-tlog", "--allow-http-registry", reference)
    bundle = ("verify-attestation", "--new-bundle-format", "--trusted-root", root, "--type")
    for key, status in ((ours, 0), (stranger, 1)):
        for words in (("verify",), (*bundle, SIGNED)):
            output = cosign(programs, key, *words, *common)
            assert (output.status != 0) == bool(status), output.stderr.decode()
    output = cosign(programs, ours, *bundle, "slsaprovenance1", *common)
    assert output.status != 0


def test_cosign_signs_and_we_verify(
    sprout: Sprout, programs: Path, registry: Registry, tmp_path: Path
) -> None:
    """What `oras push` made and `cosign sign` signed can be inspected, verified and pulled."""
    (tmp_path / "hello.txt").write_text("hello\n")
    target = f"{registry.host}/foreign/thing:1"
    push: list[str | Path] = [
        programs / "oras",
        "push",
        "--plain-http",
        target,
        "hello.txt:text/plain",
    ]
    check(push, "oras", cwd=tmp_path, timeout=60)
    for name in ("one", "two"):
        env = {**os.environ, "COSIGN_PASSWORD": ""}
        make: list[str | Path] = [
            programs / "cosign",
            "generate-key-pair",
            "--output-key-prefix",
            name,
        ]
        check(make, "cosign", cwd=tmp_path, env=env, timeout=60)
    words = ("sign", "-y", "--tlog-upload=false", "--allow-http-registry", target)
    output = cosign(programs, tmp_path / "one.key", *words)
    assert output.status == 0, output.stderr.decode()
    assert sprout("inspect", target, "--insecure").status == 0
    good, bad = ("--key", tmp_path / "one.pub"), ("--key", tmp_path / "two.pub")
    assert sprout("verify", target, *good, "--insecure").status == 0
    output = sprout("verify", target, *bad, "--insecure")
    assert_one_error(output, "none of the trusted keys (two.pub)")
    output = sprout("pull", target, *good, "-o", tmp_path / "out", "--insecure")
    assert output.status == 0, output.stderr.decode()
    assert (tmp_path / "out/hello.txt").read_text() == "hello\n"


def test_oras_pulls_and_discovers(programs: Path, reference: str, tmp_path: Path) -> None:
    words = ["--plain-http", reference]
    pull: list[str | Path] = [
        programs / "oras",
        "pull",
        "--platform",
        "linux/amd64",
        "-o",
        tmp_path / "out",
    ]
    check([*pull, *words], "oras", timeout=60)
    assert (tmp_path / "out/kernel/image").read_bytes() == b"image" * 100
    listed = check([programs / "oras", "discover", *words], "oras", timeout=60).decode()
    assert "application/vnd.dev.sigstore.bundle.v0.3+json" in listed


def test_oras_attaches_and_we_list(
    sprout: Sprout, programs: Path, reference: str, tmp_path: Path
) -> None:
    """What others attach stays beside our signatures, in the list under the fallback tag."""
    (tmp_path / "bom.json").write_text("{}")
    attach: list[str | Path] = [
        programs / "oras",
        "attach",
        "--plain-http",
        "--artifact-type",
        "application/vnd.bom",
    ]
    check([*attach, reference, "bom.json:application/json"], "oras", cwd=tmp_path, timeout=60)
    output = sprout("inspect", reference, "--insecure")
    assert b"referrer     application/vnd.bom" in output.stdout
    assert b"application/vnd.dev.sigstore.bundle.v0.3+json" in output.stdout
    public = tmp_path / "release.pub"
    assert sprout("verify", reference, "--key", public, "--insecure").status == 0


def test_skopeo_enforces_our_signatures(reference: str, registry: Registry, keys: Path) -> None:
    """By its policy sigstoreSigned, for one architecture and for the whole index."""
    folder = keys.parent
    stranger = signer("stranger").write(folder / "stranger.pub")
    (folder / "registries").mkdir()
    lookaside = {"docker": {registry.host: {"use-sigstore-attachments": True}}}
    (folder / "registries/test.yaml").write_text(json.dumps(lookaside))
    for key, accepted in (
        (keys.with_name("release.pub") / "artifact.pub", True),
        (stranger, False),
    ):
        demand = {
            "type": "sigstoreSigned",
            "keyPath": str(key),
            "signedIdentity": {"type": "matchRepository"},
        }
        policy = folder / "policy.json"
        scopes = {"docker": {registry.host: [demand]}}
        policy.write_text(json.dumps({"default": [{"type": "reject"}], "transports": scopes}))
        for number, more in enumerate(([], ["--all"])):
            words = [*skopeo(), "--policy", policy, "--registries.d", folder / "registries"]
            words += ["copy", *more, "--src-tls-verify=false", "--remove-signatures"]
            words += ["--override-arch=amd64", f"docker://{reference}"]
            output = run([*words, f"oci:{folder}/copy-{accepted}-{number}:x"], timeout=60)
            assert (output.status == 0) == accepted, output.stderr.decode()
            if not accepted:
                assert b"cryptographic signature verification failed" in output.stderr
