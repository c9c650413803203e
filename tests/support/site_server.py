"""A web site with signed kernel tarballs on loopback, in kernel.org's format."""

from __future__ import annotations

import io
import lzma
import re
import tarfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from pgp import new_key

from sprout.base.run import check, run
from sprout.kernel.sources import Source, load_sources


class _Quiet(SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: object) -> None:
        """Keep the test's output clean."""


@dataclass(frozen=True)
class Site:
    """A directory served on loopback, a tree whose only origin it is, and a way to sign for it."""

    served: Path
    tree: Path
    gpg: Path
    signer: str

    def source(self) -> Source:
        return load_sources(self.tree)["linux-6.12"]

    def publish(self, version: str, *, says: str | None = None, padding: int = 0) -> Path:
        """Put a signed tarball up; `says` is the version its Makefile claims."""
        numbers = (says or version).split(".")
        names = ("VERSION", "PATCHLEVEL", "SUBLEVEL")
        text = "".join(f"{n} = {v}\n" for n, v in zip(names, numbers, strict=True))
        return self.publish_files(version, {"Makefile": text.encode(), "padding": bytes(padding)})

    def publish_files(self, version: str, files: dict[str, bytes]) -> Path:
        """Put a signed tarball with these files up."""
        tar = self.served / f"linux-{version}.tar"
        with tarfile.open(tar, "w") as archive:
            for name, data in files.items():
                info = tarfile.TarInfo(f"linux-{version}/{name}")
                info.size = len(data)
                info.mode = 0o755
                archive.addfile(info, io.BytesIO(data))
        self.sign(tar)
        packed = tar.with_suffix(".tar.xz")
        packed.write_bytes(lzma.compress(tar.read_bytes(), preset=0))
        tar.unlink()
        with (self.served / "sha256sums.asc").open("a") as index:
            index.write(f"{'0' * 64}  linux-{version}.tar.xz\n")
        return packed

    def sign(
        self, tar: Path, *extra: str, signer: str | None = None, output: Path | None = None
    ) -> None:
        words: list[str | Path] = ["gpg", "--homedir", self.gpg, "--batch", "--yes"]
        words += ["--passphrase", "", *extra, "--local-user", signer or self.signer]
        words += ["--detach-sign", "--armor"]
        check([*words, "-o", output or tar.with_suffix(".tar.sign"), tar], "gpg failed")


def other_sources(toml: str, name: str) -> str:
    """Give the tables of a sources.toml that are not of the source `name`."""
    tables = re.split(r"(?m)^(?=\[)", toml)
    return "".join(table for table in tables if name not in table.split("]")[0])


@contextmanager
def serving(tree: Path, base: Path) -> Iterator[Site]:
    """Serve a new site below `base`, and make it the only origin of `tree`, whose lock goes."""
    home, served = base / "g", base / "served"
    home.mkdir(mode=0o700)
    served.mkdir()
    signer = new_key(home, "release")
    armored = check(["gpg", "--homedir", home, "--armor", "--export", signer], "gpg")
    (tree / "kernels/keys" / f"{signer}.asc").write_bytes(armored)
    handler = partial(_Quiet, directory=str(served))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        (tree / "kernels/sources.lock").unlink()
        toml = tree / "kernels/sources.toml"
        toml.write_text(
            other_sources(toml.read_text(), "linux-6.12")
            + f"""
            ["linux-6.12"]
            series = "6.12"
            [["linux-6.12".origins]]
            name = "loopback"
            kind = "tarball"
            base = "http://127.0.0.1:{server.server_port}/"
            index = "sha256sums.asc"
            file = "linux-{{version}}.tar.xz"
            signature = "linux-{{version}}.tar.sign"
            keys = ["{signer}"]
            """
        )
        try:
            yield Site(served, tree, home, signer)
        finally:
            server.shutdown()
            run(["gpgconf", "--homedir", home, "--kill", "all"])
