"""Sources out of the distribution's archive, through apt's own signed chain.

apt verifies the archive's InRelease signature, which carries the digest of the package index,
which carries the digest of the package (apt-secure(8)). The user's own apt configuration says
which archives and keys there are; what would weaken the chain is switched off for our calls.
"""

from __future__ import annotations

import platform
import re
from pathlib import Path

from sprout.base.errors import SproutError
from sprout.base.files import sha256_file
from sprout.base.run import Output, run
from sprout.kernel.sources import VERSION, AptOrigin, Pin, SourceUnavailable, in_series

STRICT = (
    "-o",
    "APT::Get::AllowUnauthenticated=false",
    "-o",
    "Acquire::AllowInsecureRepositories=false",
    "-o",
    "Acquire::AllowWeakRepositories=false",
    "-o",
    "Acquire::Retries=2",
)
# apt drops to the user _apt where it can; a private directory would only make it complain.
UNSANDBOXED = ("-o", "APT::Sandbox::User=root")
TIMEOUT_S = 1800.0


def machine_release() -> str:
    """Give this machine's distribution release, e.g. `debian-12` (os-release(5))."""
    try:
        fields = platform.freedesktop_os_release()
    except OSError:
        return "unknown"
    return f"{fields.get('ID', 'unknown')}-{fields.get('VERSION_ID', 'rolling')}"


def newest(origin: AptOrigin, source: str) -> Pin:
    """Give a pin of the newest version that the machine's package lists know.

    Raises SproutError when they know none, or have no SHA-256 for it.
    """
    output = run(["apt-cache", *STRICT, "show", "--no-all-versions", origin.package])
    fields = dict(
        line.split(": ", 1)
        for line in output.stdout.decode(errors="replace").split("\n\n")[0].splitlines()
        if ": " in line and not line.startswith(" ")
    )
    # A name that no package has is a regular expression to apt (apt-get(8)): linux-source-6.1 finds
    # linux-source-6.12.
    if output.status != 0 or fields.get("Package") != origin.package:
        raise SourceUnavailable(
            f"{origin.name}: the package lists know no {origin.package}",
            "Run `sudo apt-get update`, or add an archive that has it.",
        )
    version = fields.get("Version", "")
    upstream = VERSION.match(version)
    if upstream is None or "SHA256" not in fields or "Filename" not in fields:
        raise SproutError(
            f"{origin.name}: {origin.package} has no version or SHA-256 in the package lists",
            "Run `sudo apt-get update`.",
        )
    if not in_series(upstream[0], origin.series):
        raise SourceUnavailable(
            f"{origin.name}: {origin.package} is {upstream[0]}, which is not of {origin.series}",
            "Name the package of that series, or mend `series`.",
        )
    file = Path(fields["Filename"]).name
    sha256 = fields["SHA256"]
    return Pin(source, origin.name, machine_release(), version, upstream[0], file, sha256)


def download(origin: AptOrigin, pin: Pin, directory: Path) -> Path:
    """Download the package of `pin` into `directory` and give its path.

    Raises SproutError when apt refuses it, the archive no longer has it, or its SHA-256 is
    another one.
    """
    output = run(
        ["apt-get", "-q", *STRICT, *UNSANDBOXED, "download", f"{origin.package}={pin.version}"],
        cwd=directory,
        timeout=TIMEOUT_S,
    )
    if output.status != 0:
        raise SourceUnavailable(
            f"{origin.name}: {origin.package} {pin.version}: {reason(output)}",
            "Check the network, then run `sudo apt-get update`; where the archive dropped that "
            "version, `sprout update FLAVOR` moves the lock to one it has.",
        )
    found = sorted(directory.glob("*.deb"))
    if len(found) != 1:
        raise SproutError(
            f"{origin.name}: apt left {len(found)} files for {origin.package}", "Run it again."
        )
    actual = sha256_file(found[0])
    if actual != pin.sha256:
        raise SproutError(
            f"{origin.name}: {pin.file}: SHA-256 is {actual}, the lock says {pin.sha256}",
            "The archive's file is not the one that was locked: find out why before updating.",
        )
    return found[0]


def reason(output: Output) -> str:
    """Give apt's own word for what went wrong: its first error, else its last line."""
    errors = re.findall(r"^E: (.*)$", output.stderr.decode(errors="replace"), re.MULTILINE)
    return errors[0] if errors else output.last_line()
