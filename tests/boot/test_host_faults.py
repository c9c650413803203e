"""What zones do to themselves: another one keeps answering, and the host says what happened."""

from __future__ import annotations

import re
import time
from dataclasses import replace
from pathlib import Path

import pytest
from host_machine import (
    POWERED_OFF,
    PROGRAM,
    PV,
    Machine,
    Said,
    program,
    replaced,
    said,
    supervised,
    with_zones,
)

from sprout.format.zones import Zone
from sprout.initramfs.cpio import Entry

ALIVE = replace(PV, name="alive", cmdline="quiet -- /bin/alive")
# A machine with room for all of them.
MEMORY = ("-m", "1024")


def misbehaving(name: str) -> Zone:
    return replace(PV, name=name, cmdline=f"quiet -- /bin/misbehave {name}")


def alive_after(text: str, what: str) -> int:
    """Give how often the zone that is well spoke after `what` (a regular expression) was said."""
    match = re.search(what, text, re.MULTILINE)
    assert match is not None, text
    return len(re.findall(r"^\[alive\] alive \d+", text[match.end() :], re.MULTILINE))


@pytest.mark.parametrize(
    ("zone", "fault"),
    [
        (
            replace(PV, name="panic", initramfs="/zones/initramfs/empty.cpio"),
            "zone panic ended before it was ready: crash",
        ),
        (
            replace(PV, name="exits", initramfs="/zones/initramfs/exits.cpio"),
            "zone exits ended before it was ready: crash",
        ),
        (
            replace(PV, name="large", memory_mib=4096),
            "zone large did not start: 4096 MiB of memory, ",
        ),
        (
            replace(PV, name="mute", initramfs="/zones/initramfs/mute.cpio", ready_s=3),
            "zone mute is not ready in time: it is ended",
        ),
    ],
    ids=lambda value: value.name if isinstance(value, Zone) else "",
)
def test_a_zone_that_never_gets_ready_leaves_the_others_alone(
    machine: Machine, host_entries: list[Entry], zone: Zone, fault: str
) -> None:
    entries = with_zones(host_entries, ALIVE, zone)
    text = machine(entries, re.escape(fault), meanwhile=lambda: time.sleep(5))
    assert any(line.startswith(fault) for line in said(text)), text
    assert alive_after(text, re.escape(fault)) >= 20, text
    assert POWERED_OFF in text


@pytest.mark.parametrize("what", ["flood", "bomb", "hog"])
def test_a_zone_that_takes_all_it_can_takes_it_from_itself(
    machine: Machine, host_entries: list[Entry], tmp_path: Path, what: str
) -> None:
    # The host listens all the while, and the zone that misbehaves can be ended.
    asked = [
        (f"console {what}", Said(f"misbehaves: {what}"))
        if what != "flood"
        else ("list", {"done": "list"}),
        *([("list", {"done": "list"})] * 200),
        ("console alive", Said("alive 60")),
        (f"stop {what}", (what, "ended")),
        ("console alive", Said("alive 90")),
    ]
    entries = with_zones(host_entries, ALIVE, misbehaving(what))
    *heard, last = supervised(machine, entries, tmp_path / "channel", asked, extra=MEMORY)
    text = str(last["text"])
    states = {line["zone"]: line["state"] for line in heard if "state" in line}
    assert states["alive"] == "ready", text
    assert alive_after(text, rf"^\[{what}\] misbehaves: {what}") >= 60, text
    # A line is at most what the limit of a second leaves, and the host's console holds few of them.
    shown = len(re.findall(rf"^\[{what}\] ", text, re.MULTILINE))
    assert shown < 20_000, shown
    assert POWERED_OFF in text


def test_a_host_whose_store_is_killed_says_so_and_ends(
    machine: Machine, host_entries: list[Entry], tmp_path: Path
) -> None:
    killer = (
        "#include <signal.h>\n#include <unistd.h>\n"
        "int main(int argc, char **argv) { (void)argc; pid_t self = getpid();\n"
        "if (fork() == 0) { sleep(8); kill(self, SIGKILL); _exit(0); }\n"
        'execv("/usr/sbin/xenstored.real", argv); return 1; }\n'
    )
    name = "usr/sbin/xenstored"
    (real,) = (entry for entry in host_entries if entry.name == name)
    wrapper = Entry(name, PROGRAM, program(tmp_path, killer))
    entries = [*replaced(host_entries, wrapper), replace(real, name=f"{name}.real")]
    text = machine(with_zones(entries, ALIVE))
    assert "xenstored ended by signal 9" in "\n".join(said(text)), text
    assert "[alive] alive 1" in text
    assert POWERED_OFF in text
