"""Exact mode: a boot repeats to the instruction, and what is planted is found and named."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest
from commands import ROOT, Sprout, assert_one_error

from sprout.base.run import check
from sprout.cost.compare import compare
from sprout.cost.figures import Figure
from sprout.cost.gate import Reference, judge
from sprout.cost.model import Measurement, Phase
from sprout.cost.record import read_measurements
from sprout.cost.rows import first_line

BOOTS = 5
LOOP = 1_000_000
PLANTED_INIT = """
#include <time.h>
static __attribute__((noinline, unused)) void planted_loop(void)
{
    long left = 500000;
    __asm__ volatile("1: dec %0; jnz 1b" : "+r"(left));
}

static __attribute__((noinline, unused)) void planted_sleep(void)
{
    nanosleep(&(struct timespec){.tv_nsec = 10000000}, NULL);
}

static void announce_ready"""
PLANTED_STUB = """
__attribute__((noinline)) static void planted_slowness(void)
{
    for (volatile int left = 300000; left > 0; left--)
        ;
}

static struct failure prepare"""


def counts(measured: Measurement) -> list[tuple[str, int, int]]:
    return [(phase.name, phase.instructions, phase.wait_ns) for phase in measured.phases]


def phase(measured: Measurement, name: str) -> Phase:
    return next(phase for phase in measured.phases if phase.name == name)


def exact(
    sprout: Sprout, out: Path, *words: str | Path, env: dict[str, str] | None = None
) -> Measurement:
    """Measure with the real command, and read what it wrote."""
    output = sprout(*words, "--json", out, env=env)
    assert output.status == 0, output.stderr.decode()
    (measured,) = read_measurements(out)
    return measured


def headline(now: Measurement, before: Measurement) -> str:
    """Give the first line of the report that compares the two."""
    return first_line(
        [judge(now, budget=None, records=[], reference=Reference(before, "before", gated=False))]
    )


def moved(now: Measurement, before: Measurement) -> set[Figure]:
    """Give the figures of which the gate would say that they changed."""
    return {c.figure for c in compare(now, before) if c.grew or c.improved}


def plant_in_init(tree: Path, function: str) -> None:
    """Let the zone's init call one of PLANTED_INIT before it says that it is ready."""
    source = tree / "initramfs/zone/main.c"
    text = source.read_text().replace("\nstatic void announce_ready", PLANTED_INIT)
    call = "    announce_ready(started);"
    assert "planted" in text and text.count(call) == 1
    source.write_text(text.replace(call, f"    {function}();\n{call}"))


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A checkout of its own, tool included, that a test may change."""
    copy = tmp_path / "checkout"
    copy.mkdir()
    for name in ("images.toml", "kernels", "initramfs", "signing", "docs", "SConstruct", "sprout"):
        source = ROOT / name
        if source.is_dir():
            shutil.copytree(source, copy / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copyfile(source, copy / name)
    return copy


@pytest.fixture(scope="module")
def pvh(sprout: Sprout, tmp_path_factory: pytest.TempPathFactory) -> Measurement:
    """The zone as it is, started by its PVH entry."""
    out = tmp_path_factory.mktemp("exact") / "pvh.json"
    return exact(sprout, out, "boot", "zone", "--exact", "--via", "pvh")


@pytest.fixture(scope="module")
def uefi(sprout: Sprout, tmp_path_factory: pytest.TempPathFactory) -> Measurement:
    """The zone as it is, started by UEFI firmware."""
    out = tmp_path_factory.mktemp("exact") / "uefi.json"
    return exact(sprout, out, "boot", "zone", "--exact")


@pytest.fixture
def both_cores_busy() -> Iterator[None]:
    """Two programs that never stop, while the test runs."""
    busy = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(2)]
    yield
    for program in busy:
        program.kill()
        program.wait()


@pytest.mark.usefixtures("both_cores_busy")
def test_five_boots_under_load_are_equal(sprout: Sprout, uefi: Measurement, tmp_path: Path) -> None:
    def boot_again(number: int) -> Measurement:
        return exact(sprout, tmp_path / f"{number}.json", "boot", "zone", "--exact")

    # Two at a time: that is more load, and less time.
    with ThreadPoolExecutor(2) as pool:
        others = list(pool.map(boot_again, range(1, BOOTS)))
    assert len(others) == BOOTS - 1
    for again in others:
        assert counts(again) == counts(uefi)
        assert again.functions == uefi.functions
        assert (again.bytes_of, again.memory_kib) == (uefi.bytes_of, uefi.memory_kib)


def test_phases_are_whole(uefi: Measurement, pvh: Measurement) -> None:
    names = ["firmware", "stub", "decompression", "kernel", "calibration", "init"]
    assert [phase.name for phase in uefi.phases] == names
    assert [phase.name for phase in pvh.phases] == [names[0], *names[3:]]
    for measured in (uefi, pvh):
        whole = sum(phase.instructions for phase in measured.phases)
        assert all(phase.instructions > 0 for phase in measured.phases)
        assert abs(whole - measured.emulator_instructions) <= measured.emulator_instructions / 1000
        # Every instruction has a function.
        for phase_ in measured.phases:
            own = sum(cost.own for cost in measured.functions[phase_.name].values())
            assert own == phase_.instructions


@pytest.mark.parametrize("boot", ["uefi", "pvh"])
def test_interrupts_and_stocks_are_the_kernels_wherever_they_fall(
    request: pytest.FixtureRequest, boot: str
) -> None:
    measured: Measurement = request.getfixturevalue(boot)
    anywhere = ("common_interrupt", "__common_interrupt", "allocate_slab", "_get_random_bytes")
    for phase_, functions in measured.functions.items():
        for name in anywhere:
            assert (f"kernel:{name}" in functions) == (phase_ == "kernel")
    first, second = (measured.functions["kernel"][f"kernel:{name}"].calls for name in anywhere[:2])
    assert 0 < first == second


def test_functions_that_ran_were_called(pvh: Measurement) -> None:
    # Not: entry code that interrupts jump into, what stands behind the last function, and the parts
    # of functions that the compiler moved away as seldom run.
    kernel = pvh.functions["kernel"]
    uncalled = [name for name, cost in kernel.items() if cost.own and not cost.calls]
    uncalled = [name for name in uncalled if not name.endswith(".cold")]
    assert len(uncalled) <= 10, uncalled
    assert all(cost.calls <= cost.total for cost in kernel.values())


def test_firmware_is_told_by_module(uefi: Measurement) -> None:
    modules = uefi.functions["firmware"]
    named = sum(cost.own for name, cost in modules.items() if " " not in name)
    assert named >= phase(uefi, "firmware").instructions * 0.99
    assert {"firmware:DxeCore", "firmware:PeiCore", "firmware:BdsDxe"} <= modules.keys()


def test_initcalls_are_told(pvh: Measurement) -> None:
    assert {"acpi_init", "inet_init"} <= pvh.initcalls.keys()


def test_stub_keeps_its_promise(uefi: Measurement) -> None:
    # What must be copied is the kernel, eight bytes an instruction; the initrd is copied later.
    copied = uefi.bytes_of["copied"] - uefi.bytes_of["initramfs"]
    assert phase(uefi, "stub").instructions <= 2_000_000 + copied // 8 + 1000


@pytest.mark.parametrize("boot", ["uefi", "pvh"])
def test_zone_starts_within_its_promise(request: pytest.FixtureRequest, boot: str) -> None:
    measured: Measurement = request.getfixturevalue(boot)
    outside = ("firmware", "stub", "calibration", "init")
    spent = [phase for phase in measured.phases if phase.name not in outside]
    # GCC 14 clears memory byte by byte and inlines less (docs/boot-cost-steps.md).
    version = check(["gcc", "-dumpversion"], "").decode().split(".")[0]
    promise = 100_000_000 if version == "12" else 112_000_000
    assert sum(phase.instructions for phase in spent) <= promise
    assert sum(phase.wait_ns for phase in spent) <= 10_000_000


@pytest.mark.parametrize("boot", ["uefi", "pvh"])
def test_loop_in_init_is_counted_and_named(
    request: pytest.FixtureRequest, sprout: Sprout, tree: Path, tmp_path: Path, boot: str
) -> None:
    before: Measurement = request.getfixturevalue(boot)
    plant_in_init(tree, "planted_loop")
    words = ("--tree", tree, "boot", "zone", "--exact", "--via", boot)
    looped = exact(sprout, tmp_path / "loop.json", *words)
    grown = phase(looped, "init").instructions - phase(before, "init").instructions
    assert abs(grown - LOOP) <= LOOP / 100
    assert "`planted_loop` +1.0" in headline(looped, before)
    assert moved(looped, before) == {Figure("instructions", "init")}


def test_sleep_in_init_is_counted(
    sprout: Sprout, tree: Path, pvh: Measurement, tmp_path: Path
) -> None:
    plant_in_init(tree, "planted_sleep")
    words = ("--tree", tree, "boot", "zone", "--exact", "--via", "pvh")
    slept = exact(sprout, tmp_path / "sleep.json", *words)
    # 10 ms, and up to a tick more until the kernel has switched to high-resolution timers.
    assert 9_900_000 <= phase(slept, "init").wait_ns <= 14_100_000
    changes = {change.figure.title(): change for change in compare(slept, pvh)}
    assert changes["init waits"].grew
    assert not changes["kernel waits"].grew


def test_kernel_option_is_named_by_its_initcall(
    sprout: Sprout, tree: Path, pvh: Measurement, tmp_path: Path
) -> None:
    fragment = tree / "kernels/fragments/core.config"
    text = fragment.read_text()
    assert "# CONFIG_LEGACY_PTYS is not set\n" in text
    on = "CONFIG_LEGACY_PTYS=y\nCONFIG_LEGACY_PTY_COUNT=256\n"
    fragment.write_text(text.replace("# CONFIG_LEGACY_PTYS is not set\n", on))
    words = ("--tree", tree, "boot", "zone", "--exact", "--via", "pvh")
    slow = exact(sprout, tmp_path / "ptys.json", *words)
    assert "`pty_init` +" in headline(slow, pvh)


def test_change_of_an_unrelated_file_changes_no_figure(
    sprout: Sprout, pvh: Measurement, checkout: Path, tmp_path: Path
) -> None:
    for name in ("docs/cost.md", "sprout/cost/text.py", "sprout/cli/cost.py"):
        path = checkout / name
        path.write_text(path.read_text() + "\n# Another line, which has no part in a boot.\n")
    words = ("--tree", checkout, "boot", "zone", "--exact", "--via", "pvh")
    again = exact(sprout, tmp_path / "same.json", *words, env={"PYTHONPATH": str(checkout)})
    for step in ("stub", "zone-kernel", "zone-initramfs", "zone-image", "counter"):
        stamp = Path("build") / step / ".key.json"
        ours, theirs = ((root / stamp).read_text() for root in (ROOT, checkout))
        assert json.loads(ours)["key"] == json.loads(theirs)["key"], step
    assert replace(again, phases=()) == replace(pvh, phases=())  # the host's time is in these
    assert counts(again) == counts(pvh)


def test_slowed_function_of_the_stub_is_named(
    sprout: Sprout, uefi: Measurement, checkout: Path, tmp_path: Path
) -> None:
    main = checkout / "sprout/stub/main.c"
    text = main.read_text().replace("\nstatic struct failure prepare", PLANTED_STUB, 1)
    call = "    failure = find_itself(handover, &self);"
    call = call if call in text else "    struct failure failure = find_itself(handover, &self);"
    assert call in text
    main.write_text(text.replace(call, f"    planted_slowness();\n{call}"))
    words = ("--tree", checkout, "boot", "zone", "--exact")
    slow = exact(sprout, tmp_path / "stub.json", *words, env={"PYTHONPATH": str(checkout)})
    assert headline(slow, uefi).startswith("`planted_slowness` +")
    assert moved(slow, uefi) == {Figure("instructions", "stub")}


@pytest.mark.parametrize("boot", ["uefi", "pvh"])
def test_what_ran_before_the_kernel_moves_nothing_in_it(
    request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, boot: str
) -> None:
    before: Measurement = request.getfixturevalue(boot)
    # One more entry for the firmware to look through.
    words = "-fw_cfg name=opt/org.example/planted,string=x"
    real = check(["sh", "-c", "command -v qemu-system-x86_64"], "").decode().strip()
    wrapper = tmp_path / "qemu-system-x86_64"
    wrapper.write_text(f'#!/bin/sh\nexec {real} {words} "$@"\n')
    wrapper.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    sprout = request.getfixturevalue("sprout")
    after = exact(sprout, tmp_path / "planted.json", "boot", "zone", "--exact", "--via", boot)
    own, ran = (phase(one, "firmware").instructions for one in (before, after))
    assert 1_000 < ran - own < 100_000
    # The decompressor looks through the firmware's memory map, which may have another entry too.
    for now, then in zip(counts(after)[1:], counts(before)[1:], strict=True):
        assert now[0] == then[0]
        assert abs(now[1] - then[1]) <= (2_000 if now[0] == "decompression" else 0)
        assert now[2:] == then[2:]
    assert (after.functions["init"], after.memory_kib) == (
        before.functions["init"],
        before.memory_kib,
    )


def test_what_exact_mode_cannot_do_is_refused(sprout: Sprout) -> None:
    for words in (["--accel", "kvm"], ["--cpus", "2"], ["--until", "exit"]):
        assert_one_error(sprout("boot", "zone", "--exact", *words), words[0], status=2)
    assert_one_error(sprout("boot", "zone", "--svg", "x.svg"), "--exact", status=2)
    assert not (ROOT / "x.svg").exists()
