"""Make, show, exchange and enrol the keys that machines trust.

`new` makes all of them: PK, KEK and db for the firmware, one for kernel modules, one for artifacts.
They lie in a directory NAME that only you can read, encrypted with one passphrase, or in a PKCS #11
token. NAME.pub beside it holds what everybody may have: certificates, what is revoked, and the
lowest generations that still boot. A NAME without a "/" lies in $SPROUT_KEYS, otherwise in
~/.local/share/sprout/keys.

The passphrase, or the token's PIN, is asked for on the terminal or read from a file that only you
can read; never from the command line or the environment.
"""

from __future__ import annotations

import argparse
import json
import re
import signal
import sys
import textwrap
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path

from sprout.base.errors import SproutError, UsageError, printable
from sprout.base.files import read_bounded
from sprout.cli import keys_enroll, keys_text
from sprout.cli.where import chosen_tree
from sprout.signing import authenticode, keyring, pem, siglist, token
from sprout.signing.certificates import (
    ROLES,
    Profile,
    load_profiles,
    public_key,
    read_certificate,
    same_key,
)
from sprout.signing.files import MAX_IMAGE_BYTES
from sprout.signing.makers import FileMaker, Kept, Maker, TokenMaker, in_file, in_token
from sprout.signing.passphrase import Passphrase
from sprout.signing.pkcs11_uri import TokenUri, parse_uri
from sprout.signing.public import revoke, set_levels
from sprout.signing.uninterrupted import settled

_LEVEL = re.compile(r"([^=,\s]+)=([0-9]{1,10})")
_ENROL = "Next: sprout keys enroll, and write"
_AFTER_ROTATION = {
    "PK": f"{_ENROL} PK-update.auth to the machines: the PK before signs it.",
    "KEK": f"{_ENROL} KEK.auth to the machines: it holds the old one and the new one.",
    "db": f"{_ENROL} db.auth to the machines: it holds the old one and the new one.",
    "module": "Next: sign the images and their modules with it: the kernel holds its certificate.",
    "artifact": "Next: give the new artifact.pub to those who verify; both are trusted.",
}
_URI_HELP = "the token, as 'pkcs11:token=LABEL?module-path=/path/to/library.so'"


def configure(parser: argparse.ArgumentParser) -> None:
    """Add this verb's arguments."""
    verbs = parser.add_subparsers(dest="keys_verb", metavar="WHAT", required=True)

    new = _verb(verbs, "new", "make a key directory with a key for every role")
    new.add_argument("name", metavar="NAME", help="what to call it, e.g. release")
    new.add_argument("--rsa", type=int, choices=(2048, 3072), help="bits of the RSA keys")
    new.add_argument("--token", metavar="URI", help=f"make the keys inside {_URI_HELP}")
    _passphrase(new)

    shown = _verb(verbs, "list", "list the key directories that have a name")
    shown.add_argument("--json", action="store_true", help="print everything as JSON")
    shown = _verb(verbs, "show", "show certificates, where the keys are, and what is revoked")
    _name(shown)
    shown.add_argument("--json", action="store_true", help="print everything as JSON")

    rotate = _verb(verbs, "rotate", "make a new key for a role; the old certificate stays trusted")
    _name(rotate)
    _role(rotate)
    rotate.add_argument("--rsa", type=int, choices=(2048, 3072), help="bits of an RSA key")
    rotate.add_argument("--token", metavar="URI", help="make the key there (default: as before)")
    rotate.add_argument("--destroy", action="store_true", help="do not keep the old private key")
    _passphrase(rotate)

    bring = _verb(verbs, "import", "take over a key and certificate made elsewhere")
    _name(bring)
    _role(bring)
    bring.add_argument(
        "--certificate",
        type=Path,
        metavar="FILE",
        required=True,
        help="PEM or DER; alone where the key stays on another machine",
    )
    source = bring.add_mutually_exclusive_group()
    source.add_argument("--key", type=Path, metavar="FILE", help="private key in PEM")
    source.add_argument("--token", metavar="URI", help="a key inside a token, with object= or id=")
    bring.add_argument("--key-passphrase-file", type=Path, metavar="FILE", help="opens --key")
    _passphrase(bring)

    bad = _verb(verbs, "revoke", "refuse a certificate or an image from now on (dbx)")
    _name(bad)
    what = bad.add_mutually_exclusive_group(required=True)
    what.add_argument("--certificate", type=Path, metavar="FILE", help="all that it signed")
    what.add_argument("--image", type=Path, metavar="FILE", help="this boot image alone")
    what.add_argument("--hash", metavar="HEX", help="an image by its Authenticode SHA-256")

    level = _verb(verbs, "level", "set the lowest SBAT generations that still boot")
    _name(level)
    level.add_argument("levels", nargs="+", metavar="COMPONENT=GENERATION")
    level.add_argument("--force", action="store_true", help="allow lowering one")

    enroll = _verb(verbs, "enroll", "write what makes a machine trust these keys")
    enroll.epilog = keys_enroll.TEACHING
    _name(enroll)
    keys_enroll.configure(enroll)
    _passphrase(enroll)


def _verb(
    verbs: argparse._SubParsersAction[argparse.ArgumentParser], name: str, text: str
) -> argparse.ArgumentParser:
    return verbs.add_parser(
        name,
        help=text,
        description=f"{text[0].upper()}{text[1:]}.",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )


def _name(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("name", metavar="NAME", help="a key directory, by name or path")


def _role(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("role", metavar="ROLE", choices=ROLES, help=", ".join(ROLES))


def _passphrase(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        *("--passphrase-file", "--pin-file"),
        type=Path,
        metavar="FILE",
        help="holds the passphrase, or the token's PIN (default: ask on the terminal)",
    )


def execute(arguments: argparse.Namespace) -> int:
    """Do what was asked and print what came of it."""
    directory = keyring.resolve(arguments.name) if "name" in arguments else keyring.home()
    changes = {"new": _new, "rotate": _rotate}
    if arguments.keys_verb in changes:
        with settled() as held:
            # Told before a signal can act: nobody shall make keys without a word, and once more.
            print("\n".join(changes[arguments.keys_verb](arguments, directory, held)))
            sys.stdout.flush()
            # Nor may one act from here on: it would say that what was told is not so.
            for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
                signal.signal(number, signal.SIG_IGN)
        return 0
    verbs = {
        "list": _list,
        "show": _show,
        "import": _import,
        "revoke": _revoke,
        "level": _levels,
        "enroll": keys_enroll.execute,
    }
    lines = verbs[arguments.keys_verb](arguments, directory)
    print("\n".join(lines))
    return 0


def _profiles(arguments: argparse.Namespace) -> dict[str, Profile]:
    profiles = load_profiles(chosen_tree(arguments).root / "signing/profiles.toml")
    bits: int | None = arguments.rsa
    return {role: profile.with_rsa(bits) if bits else profile for role, profile in profiles.items()}


def _new(arguments: argparse.Namespace, directory: Path, held: ExitStack) -> list[str]:
    profiles = _profiles(arguments)
    keyring.check_new(directory)
    maker: Maker
    if arguments.token:
        maker = _token_maker(parse_uri(arguments.token, "--token"), arguments.passphrase_file)
    else:
        maker = FileMaker(keyring.open_passphrase(directory, arguments.passphrase_file))
    made = keyring.create(directory, profiles, maker, datetime.now(UTC), held)
    lines = keys_text.summary(directory, made, datetime.now(UTC))
    where = (
        f"in the token; {directory} says which they are"
        if arguments.token
        else f"in {directory}, encrypted. Nobody can bring them back: keep a copy"
    )
    return [
        *lines,
        "",
        *_wrapped(f"Private keys: {where}."),
        *_wrapped(f"What everybody may have: {made.directory}"),
        *_wrapped(f"Next: sprout sign IMAGE --key {arguments.name}"),
    ]


def _token_maker(uri: TokenUri, pin_file: Path | None) -> Maker:
    return TokenMaker(uri, keyring.token_pin(uri, pin_file))


def _list(arguments: argparse.Namespace, directory: Path) -> list[str]:
    return keys_text.listing(directory, datetime.now(UTC), as_json=arguments.json)


def _show(arguments: argparse.Namespace, directory: Path) -> list[str]:
    shared = keyring.public(directory)
    now = datetime.now(UTC)
    if arguments.json:
        return [json.dumps(keys_text.facts(directory, shared, now), indent=2)]
    return keys_text.summary(directory, shared, now)


def _rotate(arguments: argparse.Namespace, directory: Path, held: ExitStack) -> list[str]:
    role: str = arguments.role
    profile = _profiles(arguments)[role]
    old = keyring.private_file(directory, role)
    if arguments.destroy and role == "PK":
        raise UsageError(
            "PK: the old key has to sign the new one before it goes",
            "Rotate without --destroy, enrol every machine, then remove PK-N.key yourself.",
        )
    if old is None:
        raise SproutError(
            f"{directory}: has no private key {role} that a new one could replace",
            "Make it where the old one is, then `sprout keys import` its certificate.",
        )
    gone = keyring.token_uri(old) if old.suffix == ".uri" else None
    named = parse_uri(arguments.token, "--token") if arguments.token else gone
    maker: Maker
    if named is not None:
        maker = _token_maker(named.with_key("", b""), arguments.passphrase_file)
    else:
        maker = FileMaker(keyring.open_passphrase(directory, arguments.passphrase_file, role))
    now = datetime.now(UTC)
    drop: bool = arguments.destroy
    shared = keyring.rotate(directory, role, profile, maker, now, drop=drop, held=held)
    if drop and gone is not None:
        try:
            token.destroy(gone, keyring.token_pin(gone, arguments.passphrase_file))
        except SproutError as error:
            told = f"{role} is new, but the old key is still in its token: {error.message}"
            raise SproutError(told, "Remove that key with the token's own tools.") from error
    before = shared.stems(role)[1]
    kept = "is gone" if drop else f"is kept as {before} too"
    return [
        *keys_text.summary(directory, shared, now),
        "",
        *_wrapped(f"{role} is new. The certificate before is now {before}; its key {kept}."),
        *_wrapped(_AFTER_ROTATION[role]),
    ]


def _import(arguments: argparse.Namespace, directory: Path) -> list[str]:
    certificate = read_certificate(arguments.certificate)
    expected = public_key(certificate, arguments.certificate)
    kept: Kept | None = None
    if arguments.key:
        foreign = Passphrase(arguments.key_passphrase_file, f"Passphrase of {arguments.key}")
        key = pem.load_key(arguments.key, foreign, plain=True)
        if not same_key(key.public_key(), expected):
            raise SproutError(
                f"{arguments.key}: is not the key of {arguments.certificate}", "Name its own one."
            )
        phrase = keyring.open_passphrase(directory, arguments.passphrase_file, arguments.role)
        kept = in_file(key, phrase)
    elif arguments.token:
        uri = parse_uri(arguments.token, "--token")
        token.open_signer(uri, certificate, keyring.token_pin(uri, arguments.passphrase_file))
        kept = in_token(uri)
    keyring.add(directory, arguments.role, certificate, kept)
    return keys_text.summary(directory, keyring.public(directory), datetime.now(UTC))


def _revoke(arguments: argparse.Namespace, directory: Path) -> list[str]:
    shared = keyring.public(directory)
    if arguments.certificate:
        certificate = read_certificate(arguments.certificate)
        rows = [siglist.x509(shared.owner, certificate)]
        what = f"all that {printable(certificate.subject.rfc4514_string())} signed"
        if shared.certificates.get("db") == certificate:
            what += ", which is the db key in use: rotate it and sign anew"
    else:
        if arguments.image:
            data = read_bounded(arguments.image, MAX_IMAGE_BYTES)
            digests = authenticode.revocable_digests(data, arguments.image)
        elif re.fullmatch("[0-9a-fA-F]{64}", arguments.hash):
            digests = {"sha256": bytes.fromhex(arguments.hash)}
        else:
            raise UsageError("--hash: is no SHA-256", "Give its 64 hexadecimal digits.")
        rows = [siglist.images(shared.owner, [digest]) for digest in digests.values()]
        what = f"the image with the Authenticode SHA-256 {digests['sha256'].hex()}"
        if others := [f"{name.upper()} {row.hex()}" for name, row in digests.items()][1:]:
            what += f", {', '.join(others)}"
    if not revoke(shared, *rows):
        return _wrapped(f"{shared.directory}: was revoked already: {what}")
    return [
        *_wrapped(f"{shared.directory}: revoked: {what}"),
        *_wrapped("Next: sprout keys enroll, and write dbx.auth to the machines."),
    ]


def _levels(arguments: argparse.Namespace, directory: Path) -> list[str]:
    changes: dict[str, int] = {}
    for word in arguments.levels:
        match = _LEVEL.fullmatch(word)
        if match is None or match[1] in changes:
            raise UsageError(
                f"{word}: is no COMPONENT=GENERATION", "Such as sprout-stub=2; each one once."
            )
        changes[match[1]] = int(match[2])
    set_levels(keyring.public(directory), changes, datetime.now(UTC), lower=arguments.force)
    shared = keyring.public(directory)
    rows = [f"  {component:<24} {number:>10}" for component, number in shared.levels.items()]
    return [
        "lowest generations that boot",
        *rows,
        *_wrapped("Next: sprout keys enroll, and write SbatLevel.auth to the machines."),
    ]


def _wrapped(text: str) -> list[str]:
    return textwrap.wrap(text, 79, break_long_words=False, break_on_hyphens=False)
