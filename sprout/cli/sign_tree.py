"""Signs a boot image of the tree, once it is built: for `sign NAME` and `boot --secure-boot`."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path

from sprout.base.files import sha256_file
from sprout.base.progress import say
from sprout.build import signed
from sprout.build.graph import Graph
from sprout.cli.sign_options import Options
from sprout.signing.detached import Attach, Export
from sprout.signing.files import check_signed
from sprout.signing.keyring import open_signers, public
from sprout.signing.modules import sign_module
from sprout.signing.signer import Signer


def sign_image(graph: Graph, name: str, how: Options) -> list[str]:
    """Sign the built image `name`, or export what has to be signed; give the lines to print.

    Raises SproutError when a key cannot sign; then nothing was written.
    """
    wanted = signed.roles(graph, name)
    if how.export is not None:
        return _export(graph, name, how.key, how.export)
    shared = public(how.key)
    signers: Mapping[str, Signer]
    if how.attach is not None:
        signers = {role: Attach(shared.certificate(role), how.attach) for role in wanted}
    else:
        signers = open_signers(how.key, wanted, how.passphrase_file)
    data = signed.signed_bytes(graph, name, signers)
    for warning in check_signed(data, signers["db"], signed.label(name)):
        say(f"warning: {warning}")
    certificates = [signers[role].certificate for role in wanted]
    files = signed.write_signed(graph, name, data, certificates)
    by = signers["db"].certificate.subject.rfc4514_string()
    root = graph.tree.root
    return [
        f"{files.image.relative_to(root)}: signed by {by}",
        f"  sha256:{hashlib.sha256(data).hexdigest()}",
        f"{files.disk.relative_to(root)}: a disk with it",
        f"  sha256:{sha256_file(files.disk)}",
    ]


def _export(graph: Graph, name: str, key: Path, folder: Path) -> list[str]:
    """Export the image's modules, or once their signatures are back, the image itself.

    What the image's signature covers holds the modules with theirs.
    """
    shared = public(key)
    signers: dict[str, Signer] = {}
    if "module" in signed.roles(graph, name):
        certificate = shared.certificate("module")
        attach, export = Attach(certificate, folder), Export(certificate, folder, "module")
        for module, data in signed.modules(graph, name).items():
            if not attach.has(signed.module_label(module)):
                sign_module(data, export, signed.module_label(module))
        if export.written:
            again = f"then call this again with --export {folder}: it exports the image itself"
            return _instructions(export, "the modules' key", again)
        signers["module"] = attach
    image = Export(shared.certificate("db"), folder, "db")
    signed.signed_bytes(graph, name, signers | {"db": image})
    again = f"then call this again with --attach {folder} in place of --export"
    return _instructions(image, "the key db", again)


def _instructions(export: Export, where: str, again: str) -> list[str]:
    return [
        f"exported {len(export.written)} to sign; where {where} is, sign with:",
        *(f"  {line}" for line in export.instructions()),
        again,
    ]


def ensure_signed(graph: Graph, name: str, how: Options) -> signed.Signed:
    """Give the signed image and disk of the present build, and sign them where they are not there.

    Raises SproutError when the key cannot sign.
    """
    shared = public(how.key)
    certificates = [shared.certificate(role) for role in signed.roles(graph, name)]
    if not signed.is_signed_by(graph, name, certificates):
        for line in sign_image(graph, name, how):
            say(line)
    return signed.signed_files(graph.tree, name)
