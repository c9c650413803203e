"""The boot loaders compared, each with its menu off: what it needs, its files, its version."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from sprout import __version__
from sprout.base.errors import SproutError
from sprout.base.files import read_bounded
from sprout.base.run import check, find_program
from sprout.cost.peers_disks import BOOT_NAME, Parts, our_image, systemd_image
from sprout.cost.peers_result import Recipe

SPROUT, SYSTEMD_STUB, SYSTEMD_BOOT, GRUB = "sprout", "systemd-stub", "systemd-boot", "GRUB"

_SYSTEMD = Path("/usr/lib/systemd/boot/efi")
_STUB = _SYSTEMD / "linuxx64.efi.stub"
_BOOT = _SYSTEMD / "systemd-bootx64.efi"
_GRUB_MODULES = Path("/usr/lib/grub/x86_64-efi")
# To read the disk, to read the configuration, and to start Linux; GRUB adds what these need.
_MODULES = ("part_gpt", "fat", "normal", "linux")
_SYSTEMD_VERSION = re.compile(rb"#### LoaderInfo: systemd-(?:stub|boot) ([!-~]{1,60}) ####")
_MAX_BYTES = 16 << 20
_TIMEOUT_S = 60.0


@dataclass(frozen=True)
class Loader:
    """One way to start a kernel.

    `make` takes the parts and a directory to work in, and gives the files of the EFI system
    partition by their names there. `needs` are (file or program, package).
    """

    name: str
    needs: tuple[tuple[Path | str, str], ...]
    make: Callable[[Parts, Path], dict[str, Path]]
    recipe: Callable[[str], Recipe]

    def check(self) -> None:
        """Raise SproutError naming the package where something that it needs is missing."""
        for need, package in self.needs:
            hint = f"Install it: sudo apt-get install {package}"
            if isinstance(need, str):
                find_program(need, hint)
            elif not need.exists():
                raise SproutError(f"{need}: is missing; {self.name} is compared too", hint)


def loaders() -> tuple[Loader, ...]:
    """Give all of them, in the order of the tables."""
    mtools = (("mformat", "mtools"), ("mcopy", "mtools"), ("sfdisk", "fdisk"))
    objcopy = ("objcopy", "binutils")
    modules = _GRUB_MODULES / "moddep.lst"
    grub = (("grub-mkimage", "grub-common"), (modules, "grub-efi-amd64-bin"))
    return (
        Loader(SPROUT, mtools, _sprout, _sprout_recipe),
        Loader(
            SYSTEMD_STUB,
            (*mtools, objcopy, (_STUB, "systemd-boot-efi")),
            _systemd_stub,
            _systemd_stub_recipe,
        ),
        Loader(
            SYSTEMD_BOOT,
            (*mtools, (_BOOT, "systemd-boot-efi")),
            _systemd_boot,
            _systemd_boot_recipe,
        ),
        Loader(GRUB, (*mtools, *grub), _grub, _grub_recipe),
    )


def _sprout(parts: Parts, work: Path) -> dict[str, Path]:
    image = work / "sprout.efi"
    our_image(image, parts)
    return {BOOT_NAME: image}


def _sprout_recipe(_cmdline: str) -> Recipe:
    return Recipe(
        SPROUT,
        __version__,
        "A unified kernel image on Sprout's stub, laid out as `sprout build` does.",
        (),
    )


def _systemd_stub(parts: Parts, work: Path) -> dict[str, Path]:
    image = work / "systemd.efi"
    systemd_image(image, parts, _STUB)
    return {BOOT_NAME: image}


def _systemd_stub_recipe(_cmdline: str) -> Recipe:
    return Recipe(
        SYSTEMD_STUB,
        _systemd_version(_STUB),
        "A unified kernel image on systemd's stub, with the sections of Sprout's image, by "
        "`objcopy`, each section at the next page behind the stub's own.",
        (
            "objcopy \\",
            *(
                f"    --add-section {name}={file} --change-section-vma {name}=ADDRESS \\"
                for name, file in (
                    (".osrel", "osrel"),
                    (".cmdline", "cmdline"),
                    (".uname", "uname"),
                    (".initrd", "initrd"),
                    (".linux", "vmlinuz"),
                )
            ),
            f"    {_STUB} BOOTX64.EFI",
        ),
    )


def _systemd_boot(parts: Parts, work: Path) -> dict[str, Path]:
    texts = _systemd_boot_texts(parts.cmdline)
    return {
        BOOT_NAME: _BOOT,
        **_written(work, texts),
        "vmlinuz": parts.kernel,
        "initrd": parts.initrd,
    }


def _systemd_boot_texts(cmdline: str) -> dict[str, str]:
    entry = f"title zone\nlinux /vmlinuz\ninitrd /initrd\noptions {cmdline}\n"
    return {"loader/loader.conf": "timeout 0\n", "loader/entries/zone.conf": entry}


def _systemd_boot_recipe(cmdline: str) -> Recipe:
    return Recipe(
        SYSTEMD_BOOT,
        _systemd_version(_BOOT),
        "A boot loader specification entry of type 1. With a time-out of 0 it still waits some "
        "0.1 s for a key: see the waits.",
        _shown(_systemd_boot_texts(cmdline)),
    )


def _grub(parts: Parts, work: Path) -> dict[str, Path]:
    image = work / "grub.efi"
    hint = "Install grub-efi-amd64-bin and grub-common of one version."
    check(_grub_command(image), hint, timeout=_TIMEOUT_S)
    texts = _grub_texts(parts.cmdline)
    return {
        BOOT_NAME: image,
        **_written(work, texts),
        "vmlinuz": parts.kernel,
        "initrd": parts.initrd,
    }


def _grub_command(image: Path) -> list[str]:
    options = ["-O", "x86_64-efi", "-p", "/EFI/BOOT", "-o", str(image)]
    return ["grub-mkimage", *options, *_MODULES]


def _grub_texts(cmdline: str) -> dict[str, str]:
    entry = f"menuentry zone {{\n    linux /vmlinuz {cmdline}\n    initrd /initrd\n}}\n"
    return {"EFI/BOOT/grub.cfg": f"set timeout_style=hidden\nset timeout=0\n{entry}"}


def _grub_recipe(cmdline: str) -> Recipe:
    version = check(["grub-mkimage", "--version"], "Install grub-common.", timeout=_TIMEOUT_S)
    return Recipe(
        GRUB,
        version.decode(errors="replace").split(")")[-1].strip(),
        "The modules are in its image, so that it loads none. Version 2.06 leaves boot services "
        "itself and enters the kernel at its 32-bit entry point; where a version starts the "
        "kernel as a PE image, that entry point is taken.",
        (" ".join(_grub_command(Path("BOOTX64.EFI"))), *_shown(_grub_texts(cmdline))),
    )


def _written(work: Path, texts: dict[str, str]) -> dict[str, Path]:
    """Write texts to files in `work`; give these by the texts' names."""
    files = {}
    for name, text in texts.items():
        files[name] = work / name.rsplit("/", 1)[-1]
        files[name].write_text(text)
    return files


def _shown(texts: dict[str, str]) -> tuple[str, ...]:
    """Give files for a reader: each under its name."""
    lines = []
    for name, text in texts.items():
        lines += [f"/{name}:", *(f"    {line}" for line in text.splitlines())]
    return tuple(lines)


def _systemd_version(file: Path) -> str:
    """Give the version that a program of systemd's carries for the boot loader variables."""
    match = _SYSTEMD_VERSION.search(read_bounded(file, _MAX_BYTES))
    return match[1].decode() if match else "unknown"
