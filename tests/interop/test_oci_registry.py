"""Push, pull and verify with Debian's docker-registry and skopeo: real parts, real answers."""

from __future__ import annotations

import gzip
import hashlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from commands import ROOT, Sprout, assert_one_error
from keyrings import make_keyring, secret_file
from oci_content import signed_artifact, signer
from oci_registry import PASSWORD, USER, Registry, running
from oci_server import Handler, blob_of, serving

from sprout.base.run import check
from sprout.oci.definition import Definition, FileRow
from sprout.oci.pack import pack

RELEASE = signer("release")
IMAGE = os.urandom(1 << 20)


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Registry]:
    with running(tmp_path_factory.mktemp("plain")) as registry:
        yield registry


@pytest.fixture(scope="module")
def secured(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Registry]:
    with running(tmp_path_factory.mktemp("secured"), secured=True) as registry:
        yield registry


@pytest.fixture
def layout(tmp_path: Path) -> Path:
    """A layout with two artifacts of two files each."""
    image = tmp_path / "image"
    image.write_bytes(IMAGE)
    rows = (
        FileRow("kernel/image", "kernel", "application/vnd.test"),
        FileRow("kernel/metadata", "metadata", "text/plain"),
    )
    definitions = [
        Definition("kernel", "", "application/vnd.test.kernel", {"dev.test": "1"}, rows),
        Definition("disk", "-disk", "application/vnd.test.disk", {}, rows[:1]),
    ]
    pack(tmp_path / "layout", definitions, {"amd64": {"kernel": image, "metadata": b"A=b\n"}})
    return tmp_path / "layout"


@pytest.fixture
def keys(tmp_path: Path) -> Path:
    """A key directory `release` with the key `artifact`, and its passphrase beside it."""
    make_keyring(tmp_path / "release", ("artifact",))
    secret_file(tmp_path / "pass")
    return tmp_path / "release"


def pushed(sprout: Sprout, layout: Path, reference: str, keys: Path, *words: str) -> str:
    """Push signed and give what was printed."""
    sign = ("--key", keys, "--passphrase-file", keys.with_name("pass"))
    output = sprout("push", layout, reference, *sign, *words)
    assert output.status == 0, output.stderr.decode()
    return output.stdout.decode()


def test_there_and_back(
    sprout: Sprout, plain: Registry, layout: Path, keys: Path, tmp_path: Path
) -> None:
    reference = f"{plain.host}/kernels/zone:6.12"
    first = pushed(sprout, layout, reference, keys, "--insecure")
    assert ": 3 blobs, " in first
    again = pushed(sprout, layout, reference, keys, "--insecure")
    assert again.count(": 0 blobs, 0 bytes sent") == 2
    public = keys.with_name("release.pub")
    output = sprout("pull", reference, "--key", public, "-o", tmp_path / "out", "--insecure")
    assert output.status == 0, output.stderr.decode()
    assert (tmp_path / "out/kernel/image").read_bytes() == IMAGE
    assert (tmp_path / "out/kernel/metadata").read_bytes() == b"A=b\n"
    for tag in (reference, f"{reference}-disk"):
        output = sprout("verify", tag, "--key", public, "--insecure", "--json")
        assert json.loads(output.stdout)[0]["accepted"] is True
    stranger = signer("stranger").write(tmp_path / "stranger.pub")
    output = sprout("verify", reference, "--key", stranger, "--insecure")
    assert_one_error(output, "none of the trusted keys")


def test_zone_is_packed_and_comes_back(
    sprout: Sprout,
    plain: Registry,
    keys: Path,
    tmp_path: Path,
    *,
    zone_kernel: Path,
    zone_disk: Path,
) -> None:
    """The real zone: packed twice alike, and pulled as it was built."""
    outputs = [sprout("pack", "zone", "-o", tmp_path / name, "--json") for name in ("a", "b")]
    assert outputs[0].stdout == outputs[1].stdout
    reference, public = f"{plain.host}/real/zone:1", keys.with_name("release.pub")
    pushed(sprout, tmp_path / "a", reference, keys, "--insecure")
    for suffix, name, built in (
        ("", "kernel/image", zone_kernel),
        ("-disk", "zone.img", zone_disk),
    ):
        pull = ("pull", reference + suffix, "--key", public, "-o", tmp_path / "out")
        assert sprout(*pull, "--insecure").status == 0
        assert (tmp_path / "out" / name).read_bytes() == built.read_bytes()
    lines = (tmp_path / "out/kernel/metadata").read_text().splitlines()
    assert "KERNEL_ARCH=x86_64" in lines
    assert "KERNEL_FLAVOR=zone" in lines
    config = gzip.decompress((tmp_path / "out/kernel/config.gz").read_bytes())
    assert f"KERNEL_CONFIG=sha256:{hashlib.sha256(config).hexdigest()}" in lines


def test_mounted_from_another_repository(
    sprout: Sprout, plain: Registry, layout: Path, keys: Path
) -> None:
    pushed(sprout, layout, f"{plain.host}/mount/a:1", keys, "--insecure")
    words = ("--insecure", "--mount", "mount/a")
    assert ": 0 blobs, " in pushed(sprout, layout, f"{plain.host}/mount/b:1", keys, *words)


def test_spoiled_in_the_registry(
    sprout: Sprout, plain: Registry, layout: Path, keys: Path, tmp_path: Path
) -> None:
    reference = f"{plain.host}/spoiled/zone:1"
    pushed(sprout, layout, reference, keys, "--insecure")
    index = json.loads((layout / "index.json").read_bytes())["manifests"][0]["digest"]
    path = plain.blob(index)
    data = path.read_bytes()
    path.write_bytes(data.replace(b'"amd64"', b'"arm64"'))
    try:
        public = keys.with_name("release.pub")
        output = sprout("pull", reference, "--key", public, "-o", tmp_path / "o", "--insecure")
        assert output.status == 1
        assert not (tmp_path / "o").exists()
    finally:
        path.write_bytes(data)


def test_spoiled_layout_is_not_pushed(
    sprout: Sprout, plain: Registry, layout: Path, keys: Path
) -> None:
    blob = max((layout / "blobs/sha256").iterdir(), key=lambda path: path.stat().st_size)
    blob.write_bytes(b"\0" * 7 + blob.read_bytes()[7:])
    sign = ("--key", keys, "--passphrase-file", keys.with_name("pass"))
    output = sprout("push", layout, f"{plain.host}/not/zone:1", *sign, "--insecure")
    assert_one_error(output, "its digest is", blob.name)
    output = sprout("inspect", f"{plain.host}/not/zone:1", "--insecure")
    assert_one_error(output, "the registry has no such artifact")


def test_tls_and_basic_authentication(
    sprout: Sprout, secured: Registry, layout: Path, keys: Path, tmp_path: Path
) -> None:
    reference, public = f"{secured.host}/kernels/zone:1", keys.with_name("release.pub")
    pull = ("pull", reference, "--key", public, "-o", tmp_path / "out")
    env = {"DOCKER_CONFIG": str(secured.docker_config), "HOME": str(tmp_path)}
    sign = ("--key", keys, "--passphrase-file", keys.with_name("pass"), *secured.words())
    output = sprout("push", layout, reference, *sign, env=env)
    assert output.status == 0, output.stderr.decode()
    nobody = {"DOCKER_CONFIG": str(tmp_path), "HOME": str(tmp_path)}
    output = sprout(*pull, *secured.words(), env=nobody)
    assert_one_error(output, "answered 401")
    assert_one_error(sprout(*pull, env=env), "its certificate is not accepted")
    assert not (tmp_path / "out").exists()
    assert sprout(*pull, *secured.words(), env=env).status == 0


def test_credential_helper(
    sprout: Sprout, secured: Registry, layout: Path, keys: Path, tmp_path: Path
) -> None:
    helper = tmp_path / "bin/docker-credential-test"
    helper.parent.mkdir()
    answer = json.dumps({"Username": USER, "Secret": PASSWORD})
    helper.write_text(f"#!/bin/sh\ncat >/dev/null\necho '{answer}'\n")
    helper.chmod(0o755)
    (tmp_path / "config.json").write_text(
        json.dumps({"credHelpers": {secured.host: "test"}, "auths": {}})
    )
    path = f"{helper.parent}:{os.environ['PATH']}"
    env = {"DOCKER_CONFIG": str(tmp_path), "HOME": str(tmp_path), "PATH": path}
    sign = ("--key", keys, "--passphrase-file", keys.with_name("pass"), *secured.words())
    output = sprout("push", layout, f"{secured.host}/helper/zone:1", *sign, env=env)
    assert output.status == 0, output.stderr.decode()


def test_token_authentication(sprout: Sprout, tmp_path: Path) -> None:
    """A bearer token is got with the credentials of docker's configuration, and then shown."""
    content, _ = signed_artifact(RELEASE)
    asked: list[str] = []

    def guard(handler: Handler) -> bool:
        shown = handler.headers.get("Authorization", "")
        if handler.path.startswith("/token"):
            asked.append(shown)
            handler.answer(200, b'{"token":"abc"}', Content_Type="application/json")
            return True
        if shown == "Bearer abc":
            return False
        host = handler.headers["Host"]
        realm = f'Bearer realm="https://{host}/token",service="s",scope="repository:x:pull"'
        handler.answer(401, WWW_Authenticate=realm)
        return True

    with serving(content, tmp_path) as server:
        server.tricks.append(guard)
        (tmp_path / "config.json").write_text(
            json.dumps({"auths": {server.host: {"auth": "dXNlcjp3b3Jk"}}})
        )
        words = ("--key", RELEASE.write(tmp_path / "k.pub"), "-o", tmp_path / "out")
        env = {"DOCKER_CONFIG": str(tmp_path), "HOME": str(tmp_path)}
        more = ("--ca", server.authority, "--arch", "amd64")
        output = sprout("pull", server.reference, *words, *more, env=env)
        assert output.status == 0, output.stderr.decode()
    assert asked == ["Basic dXNlcjp3b3Jk"]


def test_killed_pull_goes_on(tmp_path: Path) -> None:
    """Killed at 60 % of a blob, the next run fetches at most 42 % of it."""
    size = 48 << 20
    content, made = signed_artifact(RELEASE, {"disk.img": os.urandom(1 << 20) * (size >> 20)})
    row = made.files["disk.img"]
    with serving(content, tmp_path) as server:
        calm = True

        def slow(handler: Handler) -> bool:
            """Send 60 % and then hold the line, once."""
            if not calm or blob_of(handler.path) != row.digest:
                return False
            handler.send_response(200)
            handler.send_header("Content-Length", str(size))
            handler.end_headers()
            handler.wfile.write(content.blobs[row.digest][: size * 6 // 10])
            while calm:
                time.sleep(0.05)
            handler.close_connection = True
            return True

        server.tricks.append(slow)
        key = RELEASE.write(tmp_path / "k.pub")
        words: list[str | Path] = [sys.executable, "-m", "sprout", "pull", server.reference]
        words += ["--key", key, "-o", tmp_path / "out", "--ca", server.authority]
        words += ["--arch", "amd64"]
        process = subprocess.Popen([str(word) for word in words], cwd=ROOT)
        part = tmp_path / ".out.sprout-pull" / row.digest.replace(":", "-")
        for _ in range(600):
            if part.exists() and part.stat().st_size >= size * 59 // 100:
                break
            time.sleep(0.05)
        process.send_signal(signal.SIGKILL)
        process.wait()
        assert not (tmp_path / "out").exists()
        calm = False
        server.sent = 0
        check([*map(str, words)], "pull", cwd=ROOT, timeout=120)
        assert server.sent <= size * 42 // 100
    assert (tmp_path / "out/disk.img").read_bytes() == content.blobs[row.digest]
    assert not part.parent.exists()


def test_skopeo_copies_what_we_pushed_and_packed(
    sprout: Sprout, plain: Registry, layout: Path, keys: Path, tmp_path: Path
) -> None:
    """Copied by skopeo, from the registry or from the layout, digests and signatures hold."""
    reference, public = f"{plain.host}/skopeo/zone:1", keys.with_name("release.pub")
    pushed(sprout, layout, reference, keys, "--insecure")
    copy = ["skopeo", "--insecure-policy", "copy", "--all", "--src-tls-verify=false"]
    there = f"oci:{tmp_path / 'copy'}:kernel"
    check([*copy, f"docker://{reference}", there], "skopeo", timeout=60)
    root = json.loads((layout / "index.json").read_bytes())["manifests"][0]["digest"]
    copied = json.loads((tmp_path / "copy/index.json").read_bytes())["manifests"][0]["digest"]
    assert copied == root
    output = sprout("verify", tmp_path / "copy", "--key", public)
    assert_one_error(output, "is not signed")
    copy[-1] = "--dest-tls-verify=false"
    target = f"{plain.host}/skopeo/packed:1"
    check([*copy, f"oci:{layout}:kernel", f"docker://{target}"], "skopeo", timeout=60)
    raw = ["skopeo", "inspect", "--raw", "--tls-verify=false", f"docker://{target}"]
    path = layout / "blobs" / root.replace(":", "/")
    assert check(raw, "skopeo", timeout=60) == path.read_bytes()


def test_layout_signed_in_place_travels(
    sprout: Sprout, plain: Registry, layout: Path, keys: Path, tmp_path: Path
) -> None:
    public = keys.with_name("release.pub")
    assert_one_error(sprout("verify", layout, "--key", public), "is not signed")
    sign = ("--key", keys, "--passphrase-file", keys.with_name("pass"))
    for _ in range(2):
        assert sprout("sign", layout, *sign).status == 0
        output = sprout("verify", layout, "--key", public)
        assert output.status == 0, output.stderr.decode()
    assert output.stdout.decode().count("  accepted\n") == 2
    reference = f"{plain.host}/travels/zone:1"
    assert sprout("push", layout, reference, "--unsigned", "--insecure").status == 0
    assert sprout("verify", reference, "--key", public, "--insecure").status == 0
    blob = max((layout / "blobs/sha256").iterdir(), key=lambda path: path.stat().st_size)
    blob.write_bytes(b"\0" + blob.read_bytes()[1:])
    output = sprout("verify", layout, "--key", public)
    assert_one_error(output, "its digest is")


def test_full_disk(tmp_path: Path) -> None:
    """In a file system of 1 MB, which only this command sees, nothing is left of 8 MB."""
    content, _ = signed_artifact(RELEASE, {"disk.img": os.urandom(8 << 20)})
    small = tmp_path / "small"
    small.mkdir()
    with serving(content, tmp_path) as server:
        pull: list[str | Path] = [sys.executable, "-m", "sprout", "pull", server.reference]
        pull += ["--key", RELEASE.write(tmp_path / "k.pub"), "-o", small / "out"]
        pull += ["--ca", server.authority, "--arch", "amd64"]
        script = f'mount -t tmpfs -o size=1m none {small} && "$@"; echo $?; ls -A {small}'
        words = ["unshare", "-rm", "sh", "-c", script, "sh", *map(str, pull)]
        done = subprocess.run(words, cwd=ROOT, capture_output=True, check=False, timeout=60)
    assert done.stdout.decode() == "1\n", done.stderr.decode()
    assert b"bytes are needed" in done.stderr


@pytest.mark.parametrize("kind", ["mount -t tmpfs none", "mount --bind {}"])
def test_target_that_is_a_mount_point(tmp_path: Path, kind: str) -> None:
    """Nothing can be moved into it from beside it, so it is collected inside."""
    content, made = signed_artifact(RELEASE)
    target, other = tmp_path / "target", tmp_path / "other"
    target.mkdir()
    other.mkdir()
    with serving(content, tmp_path) as server:
        pull: list[str | Path] = [sys.executable, "-m", "sprout", "pull", server.reference]
        pull += ["--key", RELEASE.write(tmp_path / "k.pub"), "-o", target]
        pull += ["--ca", server.authority, "--arch", "amd64"]
        script = f'{kind.format(other)} {target} && "$@" && "$@" >&2; echo $?; find {target}'
        words = ["unshare", "-rm", "sh", "-c", script, "sh", *map(str, pull)]
        done = subprocess.run(words, cwd=ROOT, capture_output=True, check=False, timeout=60)
    said = done.stdout.decode().splitlines()
    found = {line.removeprefix(f"{target}/") for line in said if line.startswith(f"{target}/")}
    assert "0" in said, done.stderr.decode()
    assert found == {"kernel", *made.files}
    assert not (tmp_path / ".target.sprout-pull").exists()


def test_disk_that_fills_up_meanwhile(tmp_path: Path) -> None:
    """There was room when the pull began, and a write fails all the same: nothing is left."""
    size = 8 << 20
    content, made = signed_artifact(RELEASE, {"disk.img": os.urandom(size)})
    small = tmp_path / "small"
    small.mkdir()
    row = made.files["disk.img"]
    with serving(content, tmp_path) as server:

        def halting(handler: Handler) -> bool:
            """Send a quarter, wait until the rest of the disk is taken, and send the rest."""
            if blob_of(handler.path) != row.digest:
                return False
            handler.send_response(200)
            handler.send_header("Content-Length", str(size))
            handler.end_headers()
            handler.wfile.write(content.blobs[row.digest][: size // 4])
            for _ in range(200):
                if (tmp_path / "full").exists():
                    break
                time.sleep(0.05)
            handler.wfile.write(content.blobs[row.digest][size // 4 :])
            return True

        server.tricks.append(halting)
        pull: list[str | Path] = [sys.executable, "-m", "sprout", "pull", server.reference]
        pull += ["--key", RELEASE.write(tmp_path / "k.pub"), "-o", small / "out"]
        pull += ["--ca", server.authority, "--arch", "amd64"]
        script = f"""
            mount -t tmpfs -o size=12m none {small}
            "$@" & pull=$!
            until ls -A {small} | grep -q sprout-pull; do sleep 0.05; done
            sleep 0.5
            cat /dev/zero 2>{tmp_path}/full.err >{small}/other
            touch {tmp_path}/full
            wait $pull
            echo $?
            rm -f {small}/other
            ls -A {small}
        """
        words = ["unshare", "-rm", "sh", "-c", script, "sh", *map(str, pull)]
        done = subprocess.run(words, cwd=ROOT, capture_output=True, check=False, timeout=60)
    assert done.stdout.decode() == "1\n", done.stderr.decode()
    errors = [line for line in done.stderr.decode().splitlines() if line.startswith("error: ")]
    assert len(errors) == 1, done.stderr.decode()
    assert "cannot be written: " in errors[0]
