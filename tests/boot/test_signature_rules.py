"""Whom `sprout verify` says to refuse, firmware does refuse; and what it accepts, firmware runs."""

from __future__ import annotations

from pathlib import Path

from memory_signers import NOW
from odd_images import machine
from secure import (
    DEFAULT_PATH,
    Keys,
    boot_options,
    enrolled,
    flipped,
    make_disk_of,
    make_store,
    try_in_turn,
)

from sprout.format import pe
from sprout.signing.authenticode import sign_image
from sprout.signing.verify import verify_image
from sprout.vm.probe import compile_application

HERE = Path(__file__).parent


def test_verdicts_are_the_firmwares(tmp_path: Path) -> None:
    aborted, last = tmp_path / "aborted.efi", tmp_path / "last.efi"
    compile_application(HERE / "machine/aborted.c", aborted)
    compile_application(HERE / "machine/guest.c", last, "BEHAVIOUR=READY")
    plain, keys = aborted.read_bytes(), Keys()
    stamp = pe.parse_headers(plain, "image").coff_offset + 4
    odd = machine(
        plain, (flipped(plain, stamp), flipped(plain, stamp + 1), flipped(plain, stamp + 2))
    )

    names = {f"T/{number}.EFI": name for number, name in enumerate(odd.images)}
    files = {path: odd.images[name][0] for path, name in names.items()}
    files[DEFAULT_PATH] = sign_image(last.read_bytes(), [keys.db], "last")
    disk = make_disk_of(tmp_path / "disk.img", files)
    variables = enrolled(keys, db=[keys.db, *odd.db], dbx=odd.dbx)
    store = make_store(tmp_path / "store.fd", [*variables, *boot_options(disk, list(files))])
    tried = try_in_turn(disk, list(files), store, until="sprout-ready ")
    assert tried.reached, tried.text()

    ran = {names[path] for path, why in tried.failed.items() if why == "Aborted"}
    refused = {names[path] for path, row in tried.refused.items() if row.by == "firmware"}
    assert ran | refused == set(odd.images), tried.text()
    for name, (image, _) in odd.images.items():
        verdict = verify_image(image, name, odd.trust, at=NOW)
        if verdict.accepted:
            assert name in ran
        if any(row.by == "firmware" for row in verdict.refusals):
            assert name in refused
    # Those that firmware alone would let through, or is not said to refuse.
    strict = {name for name, (_, by) in odd.images.items() if by == "sprout"}
    assert strict & refused == {"no ContentInfo", "signer by key identifier", "70 KB"}
