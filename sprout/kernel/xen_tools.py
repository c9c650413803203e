"""The programs of a host that talk to the hypervisor, and their libraries, from Xen's source.

Xen's configure asks the machine for some fifty things of which these programs use ten; what it
would write is written here instead, with everything optional off, so that what is installed on
this machine does not decide what is in the tools.

The paths that go into the programs: run-time files in /var/run/xen and /var/run/xenstored, state
in /var/lib/xen (also its `dump`), logs in /var/log/xen, locks in /var/lock, settings in /etc/xen,
scripts in /etc/xen/scripts, helpers in /usr/lib/xen/bin. A host has to make the first five.
"""

from __future__ import annotations

import io
import re
import shutil
import tarfile
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from sprout.base.errors import SproutError
from sprout.base.files import read_bounded, scratch_prefix
from sprout.base.run import check, find_program
from sprout.kernel.fetch import Store, obtain
from sprout.kernel.kbuild import PROGRAMS as KERNEL_PROGRAMS
from sprout.kernel.kbuild import refuse_unfit
from sprout.kernel.order import Order, write_metadata
from sprout.kernel.patches import patched_tree
from sprout.kernel.xen_make import XenMake, interface_versions
from sprout.kernel.xen_sdk import collect_sdk

OUTPUTS = ("tools.tar", "sdk.tar", "metadata.json")
PROGRAMS: tuple[str, ...] = (*KERNEL_PROGRAMS, "python3", "perl", "iasl")

# What is taken, and where it is installed. xenstored has moved between releases.
_PROGRAMS = {
    "xl/xl": "usr/sbin/xl",
    "xenstored/xenstored": "usr/sbin/xenstored",
    "xenstore/xenstored": "usr/sbin/xenstored",
    "console/daemon/xenconsoled": "usr/sbin/xenconsoled",
    "console/client/xenconsole": "usr/lib/xen/bin/xenconsole",
    "helpers/xen-init-dom0": "usr/sbin/xen-init-dom0",
}
_LIBRARIES = "usr/lib/x86_64-linux-gnu"
# Directories below tools/ in the order of their dependence, and what to make there.
_GOALS = (
    ("include", "all"),
    ("libs", "all"),
    ("xenstored", "xenstored"),
    ("xenstore", "xenstored"),
    ("console", "all"),
    ("helpers", "xen-init-dom0"),
    ("xl", "xl"),
)
_OFF = (
    *("monitors", "ocamltools", "xsmpolicy", "ovmf", "rombios", "seabios", "ipxe", "golang"),
    *("qemu_traditional", "qemu_xen", "libnl", "systemd", "pvshim", "pygrub", "libfsimage"),
    *("CONFIG_RUMP", "rpath", "githttp", "libiconv", "ninepfs", "werror"),
)
_PATHS = {
    "prefix": "/usr",
    "bindir": "/usr/bin",
    "sbindir": "/usr/sbin",
    "libdir": f"/{_LIBRARIES}",
    "libexecdir": "/usr/lib",
    "datarootdir": "/usr/share",
    "mandir": "/usr/share/man",
    "docdir": "/usr/share/doc/xen",
    "includedir": "/usr/include",
    "localstatedir": "/var",
    "sysconfdir": "/etc",
    "LIBEXEC": "/usr/lib/xen",
    "LIBEXEC_BIN": "/usr/lib/xen/bin",
    "LIBEXEC_LIB": "/usr/lib/xen/lib",
    "LIBEXEC_INC": "/usr/lib/xen/include",
    "SHAREDIR": "/usr/share",
    "XENFIRMWAREDIR": "/usr/lib/xen/boot",
    "XEN_RUN_DIR": "/var/run/xen",
    "XEN_RUN_STORED": "/var/run/xenstored",
    "XEN_LIB_DIR": "/var/lib/xen",
    "XEN_DUMP_DIR": "/var/lib/xen/dump",
    "XEN_PAGING_DIR": "/var/lib/xen/xenpaging",
    "XEN_LOG_DIR": "/var/log/xen",
    "XEN_LOCK_DIR": "/var/lock",
    "XEN_CONFIG_DIR": "/etc/xen",
    "XEN_SCRIPT_DIR": "/etc/xen/scripts",
    "CONFIG_DIR": "/etc",
    "CONFIG_LEAF_DIR": "default",
    "INITD_DIR": "/etc/init.d",
    "DEBUG_DIR": "/usr/lib/debug",
    "PACKAGE_TARNAME": "xen",
}
_MAKE = {
    "BISON": "bison",
    "FLEX": "flex",
    "PYTHON": "python3",
    "PYTHONPATH": "python3",
    "PERL": "perl",
    "IASL": "iasl",
    "AWK": "awk",
    "PTHREAD_CFLAGS": "-pthread",
    "PTHREAD_LDFLAGS": "-pthread",
    **dict.fromkeys(_OFF, "n"),
    **_PATHS,
}
# glibc has what these ask for on every machine that this runs on.
_HEADER = {
    **dict.fromkeys(
        (
            *("HAVE_INTTYPES_H", "HAVE_STDINT_H", "HAVE_STDLIB_H", "HAVE_STRINGS_H"),
            *("HAVE_STRING_H", "HAVE_STDIO_H", "HAVE_SYS_STAT_H", "HAVE_SYS_TYPES_H"),
            *("HAVE_UNISTD_H", "HAVE_UTMP_H", "HAVE_SYS_EVENTFD_H", "HAVE_PIPE2"),
            *("HAVE_LIBZ", "HAVE_LIBYAJL", "HAVE_YAJL_YAJL_VERSION_H", "STDC_HEADERS"),
        ),
        "1",
    ),
    "INCLUDE_ENDIAN_H": "<endian.h>",
    "QEMU_XEN_PATH": '"/bin/false"',
    "STUBDOM_QMP_PROXY_PATH": '"/bin/false"',
    **{name: f'"{path}"' for name, path in _PATHS.items() if name.isupper()},
}
_HARDENED = "-fstack-protector-strong -D_FORTIFY_SOURCE=2"
_MAX_TEMPLATE_BYTES = 1 << 18
_NEEDED = re.compile(r"\(NEEDED\).*\[([^\]]+)\]")
_SONAME = re.compile(r"\(SONAME\).*\[([^\]]+)\]")

__all__ = ["OUTPUTS", "PROGRAMS", "build_tools", "check_interfaces"]


@dataclass(frozen=True)
class _ToolsMake(XenMake):
    """make in a directory of a copy of the tree: the tools are built where their sources are."""

    def arguments(self, targets: Sequence[str], jobs: int = 1) -> list[str | Path]:
        """Give the command line of make for `targets`."""
        compiler = "ccache gcc" if shutil.which("ccache") else "gcc"
        return [
            find_program("make"),
            "--no-print-directory",
            "-C",
            self.source,
            f"CC={compiler}",
            f"HOSTCC={compiler}",
            f"EXTRA_CFLAGS_XEN_TOOLS={_HARDENED} -ffile-prefix-map={self.out}/=",
            "PREPEND_LDFLAGS_XEN_TOOLS=-Wl,-z,relro,-z,now",
            f"-j{jobs}",
            *targets,
        ]


def build_tools(order: Order, store: Store, target: Path, *, jobs: int, log: Path) -> None:
    """Build the tools of the Xen source of `order` into the existing directory `target`.

    Writes `tools.tar` (programs and those libraries of Xen's that they need, with the paths they
    are installed under, stripped), `sdk.tar` (what programs of ours are linked with; both the same
    bytes wherever they are built) and `metadata.json`.
    Raises SproutError when the source does not verify, a patch does not apply or the compiler
    fails.
    """
    flavor, pin = order.flavor, order.locked()
    tree = patched_tree(obtain(store, order.source, pin), flavor.patches_for(pin.upstream))
    log.unlink(missing_ok=True)
    refuse_unfit(store.root)
    with tempfile.TemporaryDirectory(prefix=scratch_prefix("kernel"), dir=store.root) as name:
        work = Path(name) / "xen"
        check(["cp", "-a", tree, work], "Free some space and run it again.")
        _configure(work)
        make = _ToolsMake(work, work, flavor.arch, order.epoch, log, pin.version)
        for folder, goal in _GOALS:
            place = work / "tools" / folder
            if (place / "Makefile").is_file() and (folder != "xenstore" or _has_daemon(place)):
                label = f"compiling {flavor.name}'s tools ({folder})"
                replace(make, source=place).make(label, [goal], jobs=jobs)
        files = _collect(work / "tools", Path(name) / "stripped")
        _write_tar(target / "tools.tar", files, order.epoch)
        sdk = collect_sdk(work / "tools", Path(name) / "stripped")
        _write_tar(target / "sdk.tar", sdk, order.epoch)
    write_metadata(
        target,
        {
            "version": pin.upstream,
            "source": asdict(pin),
            "files": sorted(files),
            **interface_versions(tree / "xen/include/public"),
        },
    )


def check_interfaces(hypervisor: Mapping[str, object], tools: Mapping[str, object]) -> None:
    """Refuse tools that the hypervisor would refuse; both as their `metadata.json` says.

    The versions of domctl and sysctl have to be equal. A packaged hypervisor does not say them:
    there the series has to be the same (4.17.7 and 4.17.5), within which they do not change.
    """
    for name in ("domctl", "sysctl"):
        if name in hypervisor and hypervisor[name] != tools[name]:
            raise SproutError(
                f"{name}: the hypervisor's version is {hypervisor[name]}, the tools' {tools[name]}",
                "Build both from one source: `sprout update` moves the lock of both.",
            )
    series = [".".join(str(m["version"]).split(".")[:2]) for m in (hypervisor, tools)]
    if series[0] != series[1]:
        raise SproutError(
            f"the hypervisor is Xen {series[0]}, its tools are of Xen {series[1]}",
            "Take both from one series.",
        )


def _has_daemon(place: Path) -> bool:
    return "xenstored:" in read_bounded(place / "Makefile", _MAX_TEMPLATE_BYTES).decode()


def _configure(work: Path) -> None:
    """Write what Xen's configure would write for these programs; what we do not name is off."""
    for name in ("config/Tools.mk", "config/Paths.mk"):
        template = read_bounded(work / f"{name}.in", _MAX_TEMPLATE_BYTES).decode()
        text = re.sub(r"@(\w+)@", lambda found: _MAKE.get(found[1], ""), template)
        (work / name).write_text(text)
    header = read_bounded(work / "tools/config.h.in", _MAX_TEMPLATE_BYTES).decode()
    defined = re.sub(r"^#undef (\w+)$", _definition, header, flags=re.MULTILINE)
    (work / "tools/config.h").write_text(defined)


def _definition(found: re.Match[str]) -> str:
    value = _HEADER.get(found[1])
    return f"/* {found[1]} is off */" if value is None else f"#define {found[1]} {value}"


def _collect(tools: Path, scratch: Path) -> dict[str, bytes]:
    """Give the stripped programs and the libraries of Xen's that they need, by installed path."""
    libraries = {}
    for file in sorted((tools / "libs").glob("*/lib*.so")):
        soname = _SONAME.search(_dynamic(file))
        if soname is not None and "_test" not in file.name:
            libraries[soname[1]] = file
    found: dict[str, Path] = {}
    waiting = []
    for source, path in _PROGRAMS.items():
        if (tools / source).is_file():
            found[path] = tools / source
            waiting.append(tools / source)
    missing = sorted(set(_PROGRAMS.values()) - set(found))
    if missing:
        raise SproutError(f"{missing[0]}: was not built", "Report this Xen version.")
    while waiting:
        for name in _NEEDED.findall(_dynamic(waiting.pop())):
            path = f"{_LIBRARIES}/{name}"
            if name in libraries and path not in found:
                found[path] = libraries[name]
                waiting.append(libraries[name])
    return {path: _stripped(file, scratch) for path, file in sorted(found.items())}


def _dynamic(file: Path) -> str:
    return check(["readelf", "-d", "-W", file], "Reinstall binutils.").decode(errors="replace")


def _stripped(file: Path, scratch: Path) -> bytes:
    check(
        ["strip", "--strip-all", "--remove-section=.comment", "-o", scratch, file],
        "Reinstall binutils.",
    )
    return scratch.read_bytes()


def _write_tar(target: Path, files: Mapping[str, bytes], epoch: int) -> None:
    with tarfile.open(target, "w", format=tarfile.USTAR_FORMAT) as archive:
        for path, data in sorted(files.items()):
            info = tarfile.TarInfo(path)
            info.size, info.mode, info.mtime = len(data), 0o755, epoch
            archive.addfile(info, io.BytesIO(data))
