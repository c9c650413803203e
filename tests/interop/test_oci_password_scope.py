"""Passwords are for the registry they were given for, wherever it sends its clients."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from commands import Sprout, assert_one_error
from oci_content import Content, signed_artifact, signer
from oci_refused import QUICK
from oci_server import Handler, Server, serving

from sprout.oci.definition import Definition, FileRow
from sprout.oci.pack import pack
from sprout.oci.strict_json import write_json

RELEASE = signer("release")


@pytest.fixture
def key(tmp_path: Path) -> Path:
    return RELEASE.write(tmp_path / "release.pub")


@contextmanager
def two_servers(
    content: Content, place: Path, places: pytest.TempPathFactory
) -> Iterator[tuple[Server, Server, Path]]:
    """Serve `content`, and nothing elsewhere; the third is a file with both their authorities."""
    with (
        serving(content, place) as server,
        serving(Content(), places.mktemp("other"), "IP:127.0.0.1") as other,
    ):
        both = place / "both.crt"
        both.write_bytes(server.authority.read_bytes() + other.authority.read_bytes())
        yield server, other, both


def logged_in(place: Path, server: Server) -> dict[str, str]:
    """Give the environment of somebody with a password for the server."""
    login = {"auths": {server.host: {"auth": "dXNlcjp3b3Jk"}}}
    (place / "config.json").write_bytes(write_json(login))
    return {"DOCKER_CONFIG": str(place), "HOME": str(place)}


def test_credentials_stay_with_the_registry(
    sprout: Sprout, tmp_path: Path, key: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Where a registry wants an upload to be sent elsewhere, elsewhere sees no password."""
    seen: list[str | None] = []

    def elsewhere(handler: Handler) -> bool:
        seen.append(handler.headers.get("Authorization"))
        handler.answer(401, WWW_Authenticate='Basic realm="x"')
        return True

    content, _ = signed_artifact(RELEASE)
    rows = (FileRow("file", "kernel", "text/plain"),)
    pack(tmp_path / "layout", [Definition("k", "", "a/b", {}, rows)], {"amd64": {"kernel": b"x"}})
    with two_servers(content, tmp_path, tmp_path_factory) as (server, other, both):
        other.tricks.append(elsewhere)

        def sent_away(handler: Handler) -> bool:
            if "Authorization" not in handler.headers:
                handler.answer(401, WWW_Authenticate='Basic realm="x"')
            elif handler.command == "POST":
                handler.answer(202, Location=f"https://{other.host}/up")
            else:
                return False
            return True

        server.tricks.append(sent_away)
        env = logged_in(tmp_path, server)
        words = ("push", tmp_path / "layout", f"{server.host}/a:1", "--unsigned", "--ca", both)
        assert_one_error(sprout(*words, *QUICK, env=env), "answered 401")
    assert seen
    assert set(seen) == {None}


def test_credentials_do_not_follow_a_redirect(
    sprout: Sprout, tmp_path: Path, key: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Where a blob lies elsewhere, whoever has it asks for a password in vain."""
    content, made = signed_artifact(RELEASE)
    seen: list[str | None] = []

    def asking(handler: Handler) -> bool:
        seen.append(handler.headers.get("Authorization"))
        realm = f'Bearer realm="https://{handler.headers["Host"]}/token",service="s"'
        handler.answer(401, b"{}", WWW_Authenticate=realm)
        return True

    with two_servers(content, tmp_path, tmp_path_factory) as (server, other, both):
        other.tricks.append(asking)

        def sent_away(handler: Handler) -> bool:
            if "Authorization" not in handler.headers:
                handler.answer(401, WWW_Authenticate='Basic realm="x"')
                return True
            if made.files["kernel/image"].digest in handler.path:
                handler.answer(307, Location=f"https://{other.host}/blob")
                return True
            return False

        server.tricks.append(sent_away)
        env = logged_in(tmp_path, server)
        words = ("pull", server.reference, "--key", key, "-o", tmp_path / "out", "--ca", both)
        output = sprout(*words, "--arch", "amd64", *QUICK, env=env)
        assert_one_error(output, "answered 401")
    assert seen
    assert set(seen) == {None}
    assert not (tmp_path / "out").exists()
