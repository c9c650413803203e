"""A registry that answers badly, late or elsewhere: one clear line, and nothing left behind."""

from __future__ import annotations

import re
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
from commands import Sprout, assert_one_error
from oci_content import FILES, signed_artifact, signer
from oci_refused import QUICK, refused
from oci_server import Handler, serving

RELEASE = signer("release")


@pytest.fixture
def key(tmp_path: Path) -> Path:
    return RELEASE.write(tmp_path / "release.pub")


def _always(act: Callable[[Handler], None], part: str = "/v2/") -> Callable[[Handler], bool]:
    def trick(handler: Handler) -> bool:
        if part not in handler.path:
            return False
        act(handler)
        return True

    return trick


def _hang(handler: Handler) -> None:
    threading.Event().wait(6)
    handler.close_connection = True


def _cut(handler: Handler) -> None:
    handler.send_response(200)
    handler.send_header("Content-Length", "10000")
    handler.end_headers()
    handler.wfile.write(b"image" * 100)
    handler.close_connection = True


@pytest.mark.parametrize(
    ("act", "part", "words"),
    [
        (_hang, "/v2/", "no answer: "),
        (lambda handler: handler.answer(500), "/v2/", "answered 500"),
        (lambda handler: handler.answer(500), "/blobs/", "answered 500"),
        (
            lambda handler: handler.answer(302, Location=handler.path),
            "/v2/",
            "redirects more than 5",
        ),
        (
            lambda handler: handler.answer(307, Location="http://127.0.0.1:9/x"),
            "/blobs/",
            "leads to another scheme, http",
        ),
        (
            lambda handler: handler.answer(307, Location="file:///etc/passwd"),
            "/v2/",
            "the request failed: ",
        ),
    ],
    ids=["hangs", "500", "500 for blobs", "redirect loop", "redirect to http", "redirect to file"],
)
def test_bad_answers(
    sprout: Sprout,
    tmp_path: Path,
    key: Path,
    *,
    act: Callable[[Handler], None],
    part: str,
    words: str,
) -> None:
    content, _ = signed_artifact(RELEASE)
    with serving(content, tmp_path) as server:
        server.tricks.append(_always(act, part))
        refused(sprout, server, key, words)


def test_closed_in_mid_blob(sprout: Sprout, tmp_path: Path, key: Path) -> None:
    """What came is kept beside the target for the next try, which then succeeds."""
    content, made = signed_artifact(RELEASE)
    target = tmp_path / "out"
    with serving(content, tmp_path) as server:
        server.tricks.append(_always(_cut, made.files["kernel/image"].digest))
        words = ("--key", key, "-o", target, "--ca", server.authority, "--arch", "amd64")
        output = sprout("pull", server.reference, *words, *QUICK)
        assert_one_error(output, "the registry broke off")
        assert not target.exists()
        server.tricks.clear()
        assert sprout("pull", server.reference, *words).status == 0
    assert (target / "kernel/image").read_bytes() == FILES["kernel/image"]


def test_busy_registry_is_asked_again(sprout: Sprout, tmp_path: Path, key: Path) -> None:
    content, _ = signed_artifact(RELEASE)
    left = [429, 503, 502]

    def busy(handler: Handler) -> bool:
        if not left:
            return False
        handler.answer(left.pop(), Retry_After="0")
        return True

    with serving(content, tmp_path) as server:
        server.tricks.append(busy)
        words = ("--key", key, "-o", tmp_path / "out", "--ca", server.authority)
        output = sprout("pull", server.reference, *words, "--arch", "amd64")
        assert output.status == 0, output.stderr.decode()
        assert left == []


def test_certificate_of_another_host(sprout: Sprout, tmp_path: Path, key: Path) -> None:
    content, _ = signed_artifact(RELEASE)
    with serving(content, tmp_path, "DNS:other.example") as server:
        refused(sprout, server, key, "its certificate is not accepted", "mismatch")


def test_nothing_of_a_redirect_is_read(sprout: Sprout, tmp_path: Path, key: Path) -> None:
    content, made = signed_artifact(RELEASE)

    def long_redirect(handler: Handler) -> bool:
        if made.files["kernel/image"].digest not in handler.path or "again" in handler.path:
            return False
        handler.answer(302, bytes(64 << 20), Location=f"{handler.path}?again")
        return True

    with serving(content, tmp_path) as server:
        server.tricks.append(long_redirect)
        words = ("--key", key, "-o", tmp_path / "out", "--ca", server.authority)
        output = sprout("pull", server.reference, *words, "--arch", "amd64")
    assert output.status == 0, output.stderr.decode()
    (memory,) = re.findall(r"peak memory: ([0-9]+) MiB", output.stdout.decode())
    assert int(memory) < 96


@pytest.mark.parametrize("place", ["https://[/x", f"https://{'a' * 70}.example/x"])
def test_redirect_to_what_is_no_address(
    sprout: Sprout, tmp_path: Path, key: Path, place: str
) -> None:
    content, made = signed_artifact(RELEASE)

    def lost(handler: Handler) -> bool:
        if made.files["kernel/image"].digest not in handler.path:
            return False
        handler.answer(302, Location=place)
        return True

    with serving(content, tmp_path) as server:
        server.tricks.append(lost)
        refused(sprout, server, key, "127.0.0.1")
