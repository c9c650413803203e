"""The report page: one file, complete, with everything from outside as text."""

from __future__ import annotations

import base64
import hashlib
import re
from collections import Counter
from dataclasses import replace
from html.parser import HTMLParser

import pytest
from drawn_boot import HOSTILE, PHASES, measurement, with_image

from sprout.cost.figures import figures
from sprout.cost.history import History, PastPhase, PastRecord, Revision
from sprout.cost.page import page
from sprout.cost.page_tables import Limits, field_of

VOID = {"meta", "input", "br", "link", "img"}
HISTORY = History(
    tuple(
        Revision(
            f"c0ffee{number}",
            f"Make it smaller {HOSTILE[0]}",
            (
                PastRecord(
                    "uefi",
                    {"qemu": "7.2.22"},
                    tuple(PastPhase(p.name, p.instructions * number, 0) for p in PHASES),
                    f"as asked {HOSTILE[1]}",
                ),
            ),
        )
        for number in (3, 2, 1)
    ),
    cut=True,
)


class Checked(HTMLParser):
    """Reads a page as a browser would, and holds that every element is closed in its order."""

    def __init__(self, text: str) -> None:
        super().__init__(convert_charrefs=True)
        self.open: list[str] = []
        self.count: Counter[str] = Counter()
        self.attributes: list[tuple[str, str, str]] = []
        self.words: list[str] = []
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.count[tag] += 1
        self.attributes += [(tag, name, value or "") for name, value in attrs]
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.count[tag] += 1
        self.attributes += [(tag, name, value or "") for name, value in attrs]

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if not {"script", "style"} & set(self.open):
            self.words.append(data)

    def values(self, name: str) -> list[str]:
        return [value for _, each, value in self.attributes if each == name]

    def text(self) -> str:
        return " ".join(" ".join(self.words).split())


@pytest.fixture(scope="module")
def hostile() -> str:
    sample = measurement(names=HOSTILE)
    verdicts = [f"zone: `{HOSTILE[0]}` +32.4 M", *HOSTILE]
    other = replace(with_image(sample, HOSTILE[0]), boot="pvh")
    return page([sample, other], verdicts, {"zone": HISTORY})


def test_page_needs_nothing_else(hostile: str) -> None:
    checked = Checked(hostile)
    assert checked.count["script"] == 1
    assert not {"link", "img", "iframe", "object", "base", "use", "image"} & set(checked.count)
    assert not [name for _, name, _ in checked.attributes if name.startswith("on")]
    assert not checked.values("src")
    assert all(value.startswith("#") for value in checked.values("href"))
    assert not re.search(r"url\(|@import|https?://(?!www\.w3\.org/2000/svg)", hostile)


def test_page_lets_only_its_own_script_run(hostile: str) -> None:
    policy = next(value for value in Checked(hostile).values("content") if "default-src" in value)
    scripts = re.findall(r"<script>(.*?)</script>", hostile, re.DOTALL)
    digest = base64.b64encode(hashlib.sha256(scripts[0].encode()).digest()).decode()
    assert "default-src 'none'" in policy and f"script-src 'sha256-{digest}'" in policy


def test_hostile_names_stay_text(hostile: str) -> None:
    assert "<script>alert" not in hostile and "onload='" not in hostile
    assert "\x1b" not in hostile and "\u202e" not in hostile and "\x00" not in hostile
    words = Checked(hostile).text()
    assert "</title><script>alert(1)</script>" in words
    assert "{{ 7 * 7 }}" in words and "49{% raw" not in words


def test_words_of_a_commit_stay_in_their_line() -> None:
    evil = "one\u202eeno\x1b[31m\ntwo"
    record = PastRecord("uefi", {"qemu": "7.2.22"}, (PastPhase("kernel", 5, 0),), f"reason {evil}")
    broken = Revision("c0ffee2", "Break it", (), f"problem {evil}")
    history = History((Revision("c0ffee1", f"subject {evil}", (record,)), broken))
    html = page([measurement()], [f"finding {evil}"], {"zone": history})
    assert not {"\u202e", "\x1b"} & set(html)
    words = Checked(html).text()
    for what in ("reason", "subject", "problem", "finding"):
        assert f"{what} one\\u202eeno\\x1b[31m\\ntwo" in words


def test_every_link_has_its_place_and_ids_are_unique(hostile: str) -> None:
    checked = Checked(hostile)
    ids = checked.values("id")
    assert len(ids) == len(set(ids))
    assert {value.removeprefix("#") for value in checked.values("href")} <= set(ids)
    assert len(checked.values("href")) == 2 * 5


def test_page_is_deterministic_and_bounded(hostile: str) -> None:
    assert len(hostile.encode()) < 3_000_000
    sample = measurement()
    assert page([sample], [], {"zone": HISTORY}) == page([sample], [], {"zone": HISTORY})


def test_verdict_comes_first() -> None:
    sample = measurement(PHASES[1:4])
    words = Checked(page([sample], ["zone, kernel: `pty_init` +32.4 M", "too big"], {})).text()
    assert words.split("Boot cost", 2)[2].strip().startswith("✖ zone, kernel: `pty_init` +32.4 M")
    assert "too big" in words
    words = Checked(page([sample], [], {})).text()
    assert words.split("Boot cost", 2)[2].strip().startswith("✔ Within budgets and baseline")
    assert "The baseline was never committed." in words


def test_figures_stand_beside_their_limits() -> None:
    sample = measurement()
    baseline = {field_of(figure): amount for figure, amount in figures(sample).items()}
    baseline["kernel.instructions"] -= 32_400_000
    baseline["stub.instructions"] += 1  # within the tolerance: told, but no news
    baseline["bytes.kernel"] += 1_000_000
    budget = {"kernel.instructions": 140_000_000, "memory_kib": 40_000}
    limits = {("zone", "uefi"): Limits(budget, baseline)}
    html = page([sample], ["x"], {}, limits=limits)
    rows = [" ".join(Checked(row).words) for row in re.findall(r"<tr>.*?</tr>", html, re.DOTALL)]
    rows = [" ".join(row.split()) for row in rows]
    minus = "\N{MINUS SIGN}"
    assert "kernel 140,951,068 +32.4 M (+29.8%) 101% 140,000,000 108,551,068 11.0% 1,749" in rows
    assert "memory taken, KiB 31,520 same 79% 40,000 31,520" in rows
    assert any(row.startswith("power-on to ready 1,286,758,994 +32.4 M (+2.6%)") for row in rows)
    assert '<td class="n over">+32.4 M' in html and '<td class="n over">101%' in html
    assert f'<td class="n ">{minus}1 ({minus}0.0%)' in html
    assert f'<td class="n better">{minus}1.0 M ({minus}17.1%)' in html


def test_history_is_drawn_and_listed() -> None:
    html = page([measurement()], [], {"zone": HISTORY})
    words = Checked(html).text()
    assert html.count('aria-label="History of ') == len(PHASES)
    listed = [words.index(f"c0ffee{number} Make it smaller") for number in (1, 2, 3)]
    assert listed == sorted(listed)  # newest first
    assert "as asked" in words and "Older ones are not shown" in words


def test_page_without_calling_contexts() -> None:
    """A measurement read back from JSON has none."""
    words = Checked(page([replace(measurement(), frames={}, functions={})], [], {})).text()
    assert "No functions were counted." in words


def test_script_knows_the_pictures_geometry(hostile: str) -> None:
    heights = {
        float(height)
        for row in re.findall(r'<g class="box [a-z]+">.*?</g>', hostile, re.DOTALL)
        for height in re.findall(r'<rect [^>]*height="([\d.]+)"', row)
    }
    assert 17.0 in heights
    assert "ROW = 17, ADVANCE = 11 * 0.62" in hostile
