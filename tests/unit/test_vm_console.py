from __future__ import annotations

import random

import pytest

from sprout.vm.console import MAX_LINE, MAX_LINES, Console, Failures, clean, failure


def test_lines_are_the_same_however_the_bytes_arrive() -> None:
    data = b"\x1b[2J\x1b[01;01Hone\r\n\x1b[1m\x1b[33mtwo\x1b[0m \x07\r\n\x1b[07;01Hthree\tx\n\nfour"
    whole = Console()
    whole.feed(data)
    whole.finish()
    single = Console()
    for index in range(len(data)):
        single.feed(data[index : index + 1])
    single.finish()
    assert list(whole.lines) == list(single.lines) == ["one", "two", "three x", "four"]


def test_everything_is_bounded() -> None:
    console = Console()
    console.feed(b"a" * (10 * MAX_LINE))
    console.feed(b"b\n" * (2 * MAX_LINES))
    assert len(console.lines) == MAX_LINES
    assert max(map(len, console.lines)) <= MAX_LINE


def test_hostile_bytes_come_out_printable() -> None:
    source = random.Random(7)  # noqa: S311 - reproducible noise, not a secret
    console = Console()
    for _ in range(200):
        console.feed(source.randbytes(500))
    console.finish()
    assert all(letter.isprintable() for line in console.lines for letter in line)
    assert clean("\x1b]0;title\x07safe\u202e\x9b31m") == "safe31m"


def test_each_line_is_shown_as_it_comes() -> None:
    shown: list[str] = []
    console = Console(shown.append)
    assert console.feed(b"one\ntw") == ["one"]
    assert console.feed(b"o\n") == ["two"]
    assert shown == ["one", "two"]


@pytest.mark.parametrize(
    ("line", "told"),
    [
        (
            "[    0.5] Kernel panic - not syncing: VFS: Unable to mount root fs on "
            "unknown-block(0,0)",
            "kernel panic: VFS: Unable to mount root fs on unknown-block(0,0)",
        ),
        (
            "[    1.23][    T1] BUG: kernel NULL pointer dereference, address: 0000000000000000",
            "kernel oops: BUG: kernel NULL pointer dereference, address: 0000000000000000",
        ),
        ("[    1.2] Oops: 0002 [#1] PREEMPT SMP", "kernel oops: Oops: 0002 [#1] PREEMPT SMP"),
        (
            "general protection fault, probably for non-canonical address 0xdead: 0000 [#1]",
            "kernel oops: general protection fault, probably for non-canonical address "
            "0xdead: 0000 [#1]",
        ),
        (
            "!!!! X64 Exception Type - 0E(#PF - Page-Fault)  CPU Apic ID - 00000000 !!!!",
            "CPU exception: 0E(#PF - Page-Fault)",
        ),
        (
            "sprout: .linux: entry point outside",
            "the boot stub failed: .linux: entry point outside",
        ),
        ("sprout-init: /dev: EPERM", "init failed: /dev: EPERM"),
        (
            "ERR: Not a Multiboot bootloader!",
            "the hypervisor did not start: Not a Multiboot bootloader!",
        ),
        (
            "Xen must be loaded below 4Gb.",
            "the hypervisor did not start: Xen must be loaded below 4Gb.",
        ),
        (
            'BdsDxe: failed to load Boot0001 "UEFI Misc Device" from PciRoot(0x0)/Pci(0x2,0x0): '
            "Security Violation",
            "the firmware cannot load a boot application from the disk: Security Violation",
        ),
        (
            'BdsDxe: failed to start Boot0001 "x" from PciRoot(0x0): Load Error',
            "the boot application failed: Load Error",
        ),
        (
            'BdsDxe: loading Boot0000 "UiApp" from Fv(7CB8BDC9)/FvFile(462CAA21)',
            'the boot application came back to the firmware: "UiApp"',
        ),
        (
            "BdsDxe: No bootable option or device was found.",
            "the firmware found nothing to boot: BdsDxe: No bootable",
        ),
    ],
)
def test_failures_are_named(line: str, told: str) -> None:
    assert failure(line) == told


@pytest.mark.parametrize(
    "line",
    [
        "",
        'BdsDxe: starting Boot0001 "UEFI Misc Device" from PciRoot(0x0)/Pci(0x1,0x0)',
        "[    0.1] Linux version 6.12 (BUG: reports welcome)",
        "[    0.1] debugfs: Oops: mentioned in passing",
        "[    9.9] traps: prog[12] general protection fault ip:1 sp:2",
        "sprout-ready v=2 entry=1",
    ],
)
def test_ordinary_lines_are_no_failures(line: str) -> None:
    assert failure(line) is None


@pytest.mark.parametrize(
    ("lines", "told"),
    [
        (
            [
                "(XEN) ****************************************",
                "(XEN) Panic on CPU 0:",
                "(XEN) Could not construct domain 0",
            ],
            "hypervisor panic: Could not construct domain 0",
        ),
        (
            ["(XEN) [2026-01-01 00:00:01] Panic on CPU 12:", "(XEN)", "(XEN) FATAL PAGE FAULT"],
            "hypervisor panic: FATAL PAGE FAULT",
        ),
        (["(XEN) Domain 0 (vcpu#0) crashed on cpu#0:"], "the host's kernel crashed"),
        (
            ["(XEN) Hardware Dom0 crashed: rebooting machine in 5 seconds."],
            "the host's kernel crashed",
        ),
        (
            ["(XEN) Hardware Dom0 halted: halting machine"],
            "the host's kernel ended: halted: halting machine",
        ),
        (
            ["(XEN) Domain 3 (vcpu#1) crashed on cpu#0:"],
            "the hypervisor ended a zone: Domain 3 (vcpu#1) crashed on cpu#0",
        ),
        (
            ["(XEN) Domain 1 reported crashed by domain 0 on cpu#0:"],
            "the hypervisor ended a zone: Domain 1 reported crashed by domain 0 on cpu#0",
        ),
        (
            ["[first] [    0.4] Kernel panic - not syncing: No working init found."],
            "zone first: kernel panic: No working init found.",
        ),
        (["[a-2] sprout-init: /dev: EPERM"], "zone a-2: init failed: /dev: EPERM"),
        (
            ["[    0.5] Kernel panic - not syncing: in the host"],
            "kernel panic: in the host",
        ),
    ],
)
def test_failures_of_a_host_are_named(lines: list[str], told: str) -> None:
    failures = Failures()
    assert [failures.see(line) for line in lines] == [*[None] * (len(lines) - 1), told]


@pytest.mark.parametrize(
    "line",
    [
        "(XEN) Xen version 4.17.5 (@) (gcc 12.2.0) debug=n",
        "(XEN) Dom0 kernel: 64-bit, PAE, lsb, paddr 0x1000000 -> 0x1e1c000",
        "(XEN) Command line: console=com1 -- Panic on CPU 0:",
        "(XEN) d0 has maximum 208 PIRQs",
        "(XEN) Preparing system for ACPI S5 state.",
        "[first] sprout-ready v=2 entry=0",
        "[first] (XEN) Hardware Dom0 crashed: says a zone",
    ],
)
def test_ordinary_lines_of_a_host_are_no_failures(line: str) -> None:
    assert Failures().see(line) is None
