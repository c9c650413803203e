"""Signs what a tree built: the boot image of an `[images.NAME]`, and a disk with it.

The result lies in build/NAME-signed/, beside a note of what it was made from. It is no step of the
graph: its bytes depend on a key, and no cache may hold what a key vouches for.
"""

from __future__ import annotations

import hashlib
import json
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from sprout.base.files import read_bounded, scratch_prefix, sha256_file, write_file
from sprout.build.artifacts import Ingredients, ModuleKey, lay_out_image
from sprout.build.graph import Graph
from sprout.build.tree import Tree
from sprout.image.disk import make_disk
from sprout.image.uki import MAX_IMAGE_BYTES
from sprout.kernel.modules import read_modules
from sprout.signing.authenticode import sign_image
from sprout.signing.modules import sign_module

if TYPE_CHECKING:
    from cryptography.x509 import Certificate

    from sprout.signing.signer import Signer

_MAX_CONFIG_BYTES = 4 << 20
_MAX_NOTE_BYTES = 4096
_HAS_ROOM = b"\nCONFIG_SYSTEM_EXTRA_CERTIFICATE=y\n"


@dataclass(frozen=True)
class Signed:
    """The files of a signed boot image: itself, and a disk that boots it."""

    image: Path
    disk: Path

    @property
    def note(self) -> Path:
        """Give the file that says what the two were made from."""
        return self.image.with_name("made-from.json")


def signed_files(tree: Tree, name: str) -> Signed:
    """Give where the signed boot image `name` lies, made or not."""
    folder = tree.build / f"{name}-signed"
    return Signed(folder / f"{name}.efi", folder / f"{name}.img")


def roles(graph: Graph, name: str) -> tuple[str, ...]:
    """Give the roles of the keys that sign the boot image `name`, which has to be built."""
    return ("db", "module") if _takes_modules(graph, name) else ("db",)


def is_signed_by(graph: Graph, name: str, certificates: Sequence[Certificate]) -> bool:
    """Tell whether the signed image is there and of the present build, signed by these.

    `certificates` are in the order of `roles`.
    """
    files = signed_files(graph.tree, name)
    if not all(path.is_file() for path in (files.image, files.disk, files.note)):
        return False
    note = read_bounded(files.note, _MAX_NOTE_BYTES)
    return note == _note(graph, name, certificates, files)


def signed_bytes(graph: Graph, name: str, signers: Mapping[str, Signer]) -> bytes:
    """Give the built boot image `name` signed by the keys of `roles`, in `signers` by their role.

    Where the kernel has room for a certificate, that of the module key is put there and the image's
    modules are signed. Raises SproutError when a key cannot sign, or a part is not as it should be.
    """
    if "module" not in roles(graph, name):
        data = read_bounded(_unsigned(graph, name), MAX_IMAGE_BYTES)
        return sign_image(data, [signers["db"]], label(name))
    tree, image = graph.tree, graph.tree.images[name]
    with tempfile.TemporaryDirectory(prefix=scratch_prefix("signed"), dir=tree.build) as work:
        keyed = Path(work) / "image.efi"
        key = _module_key(signers["module"])
        lay_out_image(keyed, image, graph.ingredients(image), tree.epoch, key)
        return sign_image(read_bounded(keyed, MAX_IMAGE_BYTES), [signers["db"]], label(name))


def label(name: str) -> str:
    """Give what the boot image `name` is called where it is signed."""
    return f"{name}.efi"


def module_label(name: str) -> str:
    """Give what the module `name` is called where it is signed."""
    return f"{name}.ko"


def modules(graph: Graph, name: str) -> dict[str, bytes]:
    """Give the unsigned modules that lie in the boot image `name`, by their names."""
    image = graph.tree.images[name]
    if not image.modules:
        return {}
    return read_modules(graph.ingredients(image).kernel / "modules.tar", image.modules)


def write_signed(
    graph: Graph, name: str, data: bytes, certificates: Sequence[Certificate]
) -> Signed:
    """Write the signed image `data`, a disk with it, and the note of what they were made from.

    `certificates` are in the order of `roles`. Raises SproutError when they cannot be written.
    """
    files = signed_files(graph.tree, name)
    # The note goes first and comes back last: it never speaks of files that are not there yet.
    files.note.unlink(missing_ok=True)
    write_file(files.image, data)
    make_disk(files.disk, files.image, epoch=graph.tree.epoch)
    write_file(files.note, _note(graph, name, certificates, files))
    return files


def _module_key(signer: Signer) -> ModuleKey:
    from cryptography.hazmat.primitives.serialization import Encoding  # noqa: PLC0415 - start-up

    def sign(name: str, data: bytes) -> bytes:
        return sign_module(data, signer, module_label(name))

    return ModuleKey(signer.certificate.public_bytes(Encoding.DER), sign)


def _unsigned(graph: Graph, name: str) -> Path:
    return graph.steps[f"{name}-image"].files()[0]


def _parts(graph: Graph, name: str) -> Ingredients:
    return graph.ingredients(graph.tree.images[name])


def _takes_modules(graph: Graph, name: str) -> bool:
    config = read_bounded(_parts(graph, name).kernel / "config", _MAX_CONFIG_BYTES)
    return _HAS_ROOM in config


def _note(graph: Graph, name: str, certificates: Iterable[Certificate], files: Signed) -> bytes:
    from cryptography.hazmat.primitives.serialization import Encoding  # noqa: PLC0415 - start-up

    note = {
        "unsigned": sha256_file(_unsigned(graph, name)),
        "certificates": [
            hashlib.sha256(one.public_bytes(Encoding.DER)).hexdigest() for one in certificates
        ],
        "image": sha256_file(files.image),
        "disk": sha256_file(files.disk),
    }
    return (json.dumps(note, indent=2) + "\n").encode()
