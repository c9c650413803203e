"""A booted machine enrols itself through efivarfs by the commands that the documentation gives."""

from __future__ import annotations

import json
import re
import shutil
import textwrap
from datetime import UTC, datetime
from pathlib import Path

from commands import ROOT, built, command
from keyrings import make_keyring, secret_file
from secure import DEFAULT_PATH, boot_options, make_disk_of, make_store, try_in_turn

from sprout.base.run import check
from sprout.format import levels
from sprout.image.uki import build_image
from sprout.initramfs.compile import compile_program
from sprout.initramfs.cpio import Entry, write_cpio
from sprout.signing import keyring, siglist
from sprout.signing.public import revoke, set_levels
from sprout.signing.varstore import read_store

HERE = Path(__file__).parent
PAGE = ROOT / "docs/secure-boot.md"
NOW = datetime(2026, 6, 1, tzinfo=UTC)
SBAT = "sbat,1,SBAT Version,sbat,1,https://example.org\n"
PROGRAMS = ("sh", "dd", "cat", "chattr")
LEVEL = "SbatLevel-6f1c3e52-9d0b-4c1e-8a57-52b3e0a4d7c1"
VARIABLE = f"/sys/firmware/efi/efivars/{LEVEL}"


def documented() -> str:
    """Give the commands of the page that write to efivarfs."""
    blocks = re.findall(r"^ *```console\n(.*?)^ *```", PAGE.read_text(), re.MULTILINE | re.DOTALL)
    (found,) = [block for block in blocks if "/sys/firmware/efi/efivars" in block]
    return textwrap.dedent(found)


def programs() -> dict[str, bytes]:
    """Give this machine's own programs with the libraries that they load, by their paths."""
    files: dict[str, bytes] = {}
    for name in PROGRAMS:
        path = shutil.which(name)
        assert path is not None
        files[f"bin/{name}"] = Path(path).read_bytes()
        for library in re.findall(r"(/\S+) \(0x", check(["ldd", path], "ldd").decode()):
            files[library.lstrip("/")] = Path(library).read_bytes()
    return files


def enrolled(folder: Path, time: str, generation: int, *words: str) -> dict[str, bytes]:
    """Give what `keys enroll` writes for efivarfs once the level is `generation`."""
    shared = keyring.public(folder / "fleet")
    set_levels(shared, {"sprout-test": generation}, NOW, lower=False)
    secret = ["--time", time, "--passphrase-file", str(folder / "pass"), *words]
    output = command("keys", "enroll", folder / "fleet", "-o", folder / "out", *secret)
    assert output.status == 0, output.stderr.decode()
    files = (folder / "out/efivars").iterdir()
    return {f"{generation}/enrol/efivars/{path.name}": path.read_bytes() for path in files}


def script() -> str:
    """Enrol, raise the level as the owner, and try what has to fail."""
    level = f"/3/enrol/efivars/{LEVEL}"
    return "\n".join(
        [
            "cd /1",
            f"{documented()}echo efivars: enrolled=$?",
            f"dd if={level} of={VARIABLE} bs=1M conv=notrunc; echo efivars: immutable=$?",
            "cd /2",
            f"{documented()}echo efivars: raised=$?",
            f"dd if=/1/enrol/efivars/{LEVEL} of={VARIABLE} bs=1M conv=notrunc",
            "echo efivars: replay=$?",
            f"dd if={level} of={VARIABLE} conv=notrunc; echo efivars: pieces=$?",
            f"cat {level} > {VARIABLE}; echo efivars: cat=$?",
            "exit 0\n",
        ]
    )


def guest(boot_stub: Path, kernel: Path, files: dict[str, bytes], work: Path) -> bytes:
    """Give a boot image with these files and the init that runs `/commands`."""
    compile_program([HERE / "efivars_init.c"], work / "init", base=HERE, include=HERE)
    nodes = [
        Entry("dev/console", 0o020600, major=5, minor=1),
        Entry("dev/null", 0o020666, major=1, minor=3),
        Entry("init", 0o100755, (work / "init").read_bytes()),
    ]
    entries = [Entry(name, 0o100755, data) for name, data in sorted(files.items())]
    (work / "initramfs").write_bytes(write_cpio([*nodes, *entries], epoch=0))
    build_image(
        work / "guest.efi",
        stub=boot_stub,
        kernel=kernel,
        initramfs=work / "initramfs",
        cmdline="console=ttyS0 quiet",
        os_release={"ID": "test"},
        uname=json.loads(built("zone-kernel", "metadata.json").read_bytes())["release"],
        sbat=SBAT,
        epoch=0,
    )
    return (work / "guest.efi").read_bytes()


def test_documented_commands_enrol_and_raise_the_level(
    boot_stub: Path, zone_kernel: Path, tmp_path: Path
) -> None:
    shared = make_keyring(tmp_path / "fleet", ("PK", "KEK", "db"))
    secret_file(tmp_path / "pass")
    files = programs()
    files |= enrolled(tmp_path, "2026-06-01T00:00:00Z", 1)
    revoke(shared, siglist.images(shared.owner, [bytes(32)]))
    only = ("--only", "dbx,SbatLevel")
    files |= enrolled(tmp_path, "2026-06-02T00:00:00Z", 2, *only)
    files |= enrolled(tmp_path, "2026-06-03T00:00:00Z", 3, *only)
    assert len([name for name in files if name.startswith("2/")]) == 2
    files["commands"] = script().encode()

    image = guest(boot_stub, zone_kernel, files, tmp_path)
    disk = make_disk_of(tmp_path / "disk.img", {DEFAULT_PATH: image})
    store = make_store(tmp_path / "before.fd", boot_options(disk, [DEFAULT_PATH]))
    after = tmp_path / "after.fd"
    tried = try_in_turn(disk, [DEFAULT_PATH], store, until="efivars: done", keep=after)
    assert tried.reached, tried.text()
    said = dict(re.findall(r"efivars: (\w+)=(\d+)", tried.text()))
    assert said == {
        **{"enrolled": "0", "raised": "0", "immutable": "1"},
        **{"replay": "1", "pieces": "1", "cat": "0"},
    }, tried.text()

    found = {row.name: row for row in read_store(after)}
    for name, path in (("PK", "1"), ("KEK", "1"), ("db", "1"), ("dbx", "3")):
        (file,) = (
            data for row, data in files.items() if row.startswith(f"{path}/enrol/efivars/{name}-")
        )
        assert file.endswith(found[name].data)
    assert found[levels.VARIABLE].attributes == 0x27
    level = levels.unpack(found[levels.VARIABLE].data, "level")
    assert level == {"sbat": 1, "sprout-test": 3}
