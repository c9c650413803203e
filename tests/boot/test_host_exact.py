"""The host counted: its boot repeats to the instruction, and is told by phase and function."""

from __future__ import annotations

from pathlib import Path

import pytest
from commands import Sprout, built

from sprout.cost.model import Measurement
from sprout.cost.record import read_measurements

COUNTED = [
    *("firmware", "stub", "xen", "xen-calibration", "kernel", "calibration", "services", "create"),
    *("zone-kernel", "zone-calibration", "zone-init", "scrub"),
]
# What it should be with every compiler; GCC 12 and QEMU 7.2 keep the 30 million themselves.
CREATE_PROMISE = 31_500_000
# What a zone that runs may take, in instructions, while another one boots: its clock ticks.
TICKS_OF_A_ZONE = 80_000
COUNTED_OF_SEVERAL = [*COUNTED[:8], "zones", "zone-calibration", "scrub"]


@pytest.fixture(scope="module")
def host_disk() -> Path:
    """The host's bootable disk."""
    return built("host-disk", "host.img")


def counts(measured: Measurement) -> list[tuple[str, int, int]]:
    return [(phase.name, phase.instructions, phase.wait_ns) for phase in measured.phases]


def exact(sprout: Sprout, out: Path, *words: str) -> Measurement:
    output = sprout("boot", "host", "--exact", "--json", out, *words)
    assert output.status == 0, output.stderr.decode()
    (measured,) = read_measurements(out)
    return measured


def spent(measured: Measurement, *names: str) -> int:
    return sum(phase.instructions for phase in measured.phases if phase.name in names)


@pytest.fixture(scope="module")
def measured(
    sprout: Sprout, host_disk: Path, tmp_path_factory: pytest.TempPathFactory
) -> Measurement:
    """The host as it is, counted."""
    return exact(sprout, tmp_path_factory.mktemp("host") / "host.json")


def test_hosts_boot_repeats_to_the_instruction(
    sprout: Sprout, measured: Measurement, tmp_path: Path
) -> None:
    again = exact(sprout, tmp_path / "again.json")
    assert counts(again) == counts(measured)
    assert again.functions == measured.functions
    assert (again.bytes_of, again.memory_kib) == (measured.bytes_of, measured.memory_kib)


def test_hosts_phases_are_whole_and_told_by_function(measured: Measurement) -> None:
    assert [phase.name for phase in measured.phases] == COUNTED
    whole = sum(phase.instructions for phase in measured.phases)
    assert abs(whole - measured.emulator_instructions) <= measured.emulator_instructions / 1000
    for phase in measured.phases:
        functions = measured.functions[phase.name]
        assert sum(cost.own for cost in functions.values()) == phase.instructions
        assert phase.instructions > 0 or phase.name == "scrub"
    assert "xen:__start_xen" in measured.functions["xen"]
    assert "kernel:xen_start_kernel" in measured.functions["kernel"]
    assert "zone:xen_start_kernel" in measured.functions["zone-kernel"]
    assert not any(name.startswith("zone:") for name in measured.functions["kernel"])


def test_host_starts_within_its_promise(measured: Measurement) -> None:
    assert spent(measured, "stub") <= 10_000_000
    assert spent(measured, "kernel", "calibration") <= 400_000_000
    assert spent(measured, "create") <= CREATE_PROMISE
    assert spent(measured, "zone-kernel", "zone-calibration") <= 150_000_000


def test_each_of_sixteen_zones_is_started_like_the_first(
    sprout: Sprout, tree: Path, tmp_path: Path
) -> None:
    # One after the other: beside each other they would be told together.
    images = (tree / "images.toml").read_text().split("[zones.first]")[0]
    images = images.replace('"first"', ", ".join(f'"z{number}"' for number in range(16)))
    images = images.replace("machine_memory_mib = 512", "machine_memory_mib = 1600")
    for number in range(16):
        after = f'after = ["z{number - 1}"]\n' if number else ""
        images += (
            f'[zones.z{number}]\nflavor = "zone"\ninitramfs = "zone"\ntype = "pv"\n'
            f'memory_mib = 64\nvcpus = 1\ncmdline = "console=hvc0 quiet"\n{after}'
        )
    (tree / "images.toml").write_text(images)
    report, picture = tmp_path / "zones.json", tmp_path / "zones.svg"
    words = ("--tree", tree, "boot", "host", "--exact", "--json", report, "--svg", picture)
    output = sprout(*words)
    assert output.status == 0, output.stderr.decode()
    (found,) = read_measurements(report)
    assert [phase.name for phase in found.phases] == COUNTED_OF_SEVERAL
    assert [zone.name for zone in found.zones] == [f"z{number}" for number in range(16)]
    print(output.stdout.decode())
    first = found.zones[0]
    for number, zone in enumerate(found.zones):
        assert zone.create <= first.create * 1.03
        ticks = number * TICKS_OF_A_ZONE << found.key.icount_shift
        assert zone.kernel + zone.init <= (first.kernel + first.init) * 1.02 + ticks
    assert all(f"z{number} " in picture.read_text() for number in range(16))


def test_zones_times_are_those_of_the_phases(measured: Measurement) -> None:
    (zone,) = measured.zones
    shift = measured.key.icount_shift
    took = (zone.create >> shift, zone.kernel >> shift, zone.init >> shift)
    phases = (
        spent(measured, "create"),
        spent(measured, "zone-kernel", "zone-calibration"),
        spent(measured, "zone-init"),
    )
    for one, other in zip(took, phases, strict=True):
        assert abs(one - other) <= 500_000
    after_firmware = sum(p.instructions for p in measured.phases if p.name != "firmware")
    assert abs((zone.ready >> shift) - after_firmware) <= 500_000


def test_our_hypervisor_takes_a_third_less_than_the_packaged_one(
    sprout: Sprout, measured: Measurement, tree: Path, tmp_path: Path
) -> None:
    path = tree / "kernels/flavors/xen.toml"
    path.write_text(path.read_text().replace('"built"', '"packaged"'))
    report = tmp_path / "packaged.json"
    output = sprout("--tree", tree, "boot", "host", "--exact", "--json", report)
    assert output.status == 0, output.stderr.decode()
    (packaged,) = read_measurements(report)
    ours, theirs = (spent(one, "xen", "xen-calibration") for one in (measured, packaged))
    print(f"ours {ours:,} instructions, packaged {theirs:,}")
    assert ours * 3 <= theirs * 2


@pytest.mark.parametrize(
    "words",
    [("--cpus", "2", "--memory", "8192"), ("--append-hypervisor", "dom0=pvh")],
    ids=["large", "pvh"],
)
def test_other_hosts_repeat_too(sprout: Sprout, tmp_path: Path, words: tuple[str, ...]) -> None:
    # The stub lies above 4 GiB in the large one, and is found there too.
    first, second = (exact(sprout, tmp_path / f"{number}.json", *words) for number in range(2))
    assert counts(first) == counts(second)
    assert first.functions == second.functions
    assert 0 < spent(first, "stub") < spent(first, "firmware")
    whole = sum(phase.instructions for phase in first.phases)
    assert abs(whole - first.emulator_instructions) <= first.emulator_instructions / 1000
