"""Who we are to a registry: one file says it."""

from __future__ import annotations

import base64
import json
from pathlib import Path

import pytest
from commands import Sprout, assert_one_error
from oci_content import signed_artifact, signer
from oci_server import Handler, serving

from sprout.base.errors import SproutError
from sprout.oci.credentials import docker_credentials

RELEASE = signer("release")


def written(folder: Path, host: str, password: str) -> Path:
    folder.mkdir(parents=True)
    auth = base64.b64encode(f"me:{password}".encode()).decode()
    (folder / "config.json").write_text(json.dumps({"auths": {host: {"auth": auth}}, "x": 1}))
    return folder


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[]", "is no JSON object"),
        ("{", "is no JSON"),
        ("[" * 100_000, "is no JSON"),
        ('{"auths": []}', "auths is malformed"),
        ('{"credsStore": {}}', "credsStore is malformed"),
        ('{"credHelpers": "x"}', "credHelpers is malformed"),
        ("x" * (1 << 20) + "x", "1,048,576"),
    ],
)
def test_malformed(tmp_path: Path, text: str, words: str) -> None:
    (tmp_path / "config.json").write_text(text)
    with pytest.raises(SproutError, match=words) as caught:
        docker_credentials(tmp_path / "config.json")
    assert str(tmp_path / "config.json") in caught.value.message


def test_what_is_read(tmp_path: Path) -> None:
    empty: dict[str, object] = {"auths": {}, "credHelpers": {}, "credsStore": None}
    assert docker_credentials(tmp_path / "none") == empty
    path = written(tmp_path / "a", "host", "secret") / "config.json"
    assert docker_credentials(path)["auths"]["host"]["auth"] == "bWU6c2VjcmV0"


@pytest.mark.parametrize("named", [True, False])
def test_one_file_decides(sprout: Sprout, tmp_path: Path, *, named: bool) -> None:
    """$DOCKER_CONFIG, and only without it the home directory: never a mixture of both."""
    content, _ = signed_artifact(RELEASE)
    key = RELEASE.write(tmp_path / "k.pub")
    seen = set()
    with serving(content, tmp_path) as server:

        def asking(handler: Handler) -> bool:
            seen.add(handler.headers.get("Authorization"))
            if "Authorization" in handler.headers:
                return False
            handler.answer(401, WWW_Authenticate='Basic realm="x"')
            return True

        server.tricks.append(asking)
        written(tmp_path / "home/.docker", server.host, "home")
        folder = written(tmp_path / "named", server.host, "named")
        env = {"HOME": str(tmp_path / "home"), "DOCKER_CONFIG": str(folder) if named else ""}
        words = ("--key", key, "--ca", server.authority)
        output = sprout("verify", server.reference, *words, env=env)
        assert output.status == 0, output.stderr.decode()
    secret = base64.b64encode(b"me:named" if named else b"me:home").decode()
    assert seen == {None, f"Basic {secret}"}


def test_malformed_file_is_told(sprout: Sprout, tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("{")
    key = RELEASE.write(tmp_path / "k.pub")
    words = ("verify", "127.0.0.1:9/a:1", "--key", key)
    output = sprout(*words, env={"DOCKER_CONFIG": str(tmp_path)})
    assert_one_error(output, f"{tmp_path / 'config.json'}: is no JSON")
