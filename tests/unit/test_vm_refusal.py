from __future__ import annotations

from typing import Literal

import pytest

from sprout.format import ready
from sprout.vm.boot import BootError, RefusedError
from sprout.vm.judge import GuestJudge
from sprout.vm.refusal import Refusal, Refusals, is_complaint

PLACE = "from PciRoot(0x0)/Pci(0x2,0x0)"
LOADING = f'BdsDxe: loading Boot0001 "UEFI Misc Device" {PLACE}'
STARTING = f'BdsDxe: starting Boot0001 "UEFI Misc Device" {PLACE}'
NOT_LOADED = f'BdsDxe: failed to load Boot0001 "UEFI Misc Device" {PLACE}: '
NOT_STARTED = f'BdsDxe: failed to start Boot0001 "UEFI Misc Device" {PLACE}: '
BELOW = "sprout: zone: revoked: below this machine's SbatLevel"


def told(*lines: str) -> list[Refusal]:
    refusals = Refusals()
    return [found for line in lines if (found := refusals.see(line)) is not None]


@pytest.mark.parametrize("why", ["Access Denied", "Security Violation"])
def test_firmware_refuses(why: str) -> None:
    assert told(LOADING, NOT_LOADED + why) == [Refusal("firmware", "Boot0001", why)]


def test_stub_refuses() -> None:
    reason = "zone: revoked: below this machine's SbatLevel"
    lines = (LOADING, STARTING, BELOW, NOT_STARTED + "Security Violation")
    assert told(*lines) == [Refusal("stub", "Boot0001", reason)]
    assert is_complaint(BELOW)
    assert not is_complaint(LOADING)


@pytest.mark.parametrize("later", ["BdsDxe: load", LOADING, "Kernel panic - not syncing: x"])
def test_what_comes_later_does_not_undo_a_refusal(later: str) -> None:
    judge = GuestJudge("ready", is_host=False)
    verdicts = [judge.judge(line, 1.0) for line in (STARTING, BELOW)]
    refused = judge.judge(NOT_STARTED + "Security Violation", 1.0)
    assert verdicts == [None, None]
    assert refused is not None
    assert judge.judge(later, 1.0) is None
    assert judge.refusal is not None
    assert judge.refusal.text() == refused.text == judge.told


@pytest.mark.parametrize("until", ["ready", "exit"])
def test_guest_that_is_ready_was_not_refused(until: Literal["ready", "exit"]) -> None:
    judge = GuestJudge(until, is_host=False)
    numbers = " ".join(f"{name}=7" for name in ready.FIELDS)
    is_ready = f"{ready.PREFIX} v={ready.VERSION} {numbers}"
    told_by_guest = NOT_LOADED.replace("Boot0001", "Boot0002") + "Access Denied"
    verdicts = [judge.judge(line, 1.0) for line in (STARTING, is_ready, told_by_guest)]
    assert (verdicts[1] is not None) == (until == "ready")
    assert judge.ready is not None
    assert judge.refusal is None


@pytest.mark.parametrize(
    "lines",
    [
        [NOT_LOADED + "Not Found"],
        [NOT_LOADED + "Unsupported"],
        [NOT_LOADED + "Access Denied now"],
        [STARTING, NOT_LOADED + "Access Denied"],  # said by what was started
        [STARTING, BELOW],
        [STARTING, BELOW, NOT_STARTED + "Load Error"],
        [STARTING, NOT_STARTED + "Security Violation"],  # of a program that is not our stub
        [BELOW, NOT_STARTED + "Security Violation"],
        [STARTING, BELOW, STARTING, NOT_STARTED + "Security Violation"],
        ["[    0.1] BdsDxe: failed to load Boot0001 x: Access Denied"],
    ],
)
def test_other_failures_are_no_refusals(lines: list[str]) -> None:
    assert told(*lines) == []


def test_refusal_is_a_boot_error_with_a_status_of_its_own() -> None:
    error = RefusedError("zone", Refusal("firmware", "Boot0001", "Access Denied"), [LOADING])
    assert isinstance(error, BootError)
    assert error.message == "zone: the firmware refused the image: Access Denied"
    assert error.exit_status == 3
    assert error.console_lines == (LOADING,)
    assert "sprout verify" in error.hint
