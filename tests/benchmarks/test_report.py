"""What is made of measurements: medians, ratios, verdicts, tables, and the document."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from benchmarks import markdown, targets
from benchmarks.model import DASH, Bars, Lines, Section, Table, Target
from benchmarks.report import Report, from_json, joined, shorten, to_json, verdicts

FIGURES = {
    "drain.jobs": 30_000.0,
    "drain.bullmq": 10_000.0,
    "drain.ardiq": 12_000.0,
    "pickup_p50.jobs": 0.6,
    "pickup_p50.huey": 1.0,
    "pickup_p50.saq": 1.5,
    "pickup_p99.jobs": 1.5,
    "memory.jobs": 61.0,
}


def found(name: str, bound: str) -> tuple[bool | None, str]:
    """The verdict on one target of the comparison."""
    section = Section("compare", "", "", figures=FIGURES, targets=targets.TARGETS)
    (verdict,) = [one for one in verdicts([section]) if (one.name, one.text) == (name, bound)]
    return verdict.met, verdict.value


@pytest.mark.parametrize(
    ("name", "bound", "met", "value"),
    [
        ("drain", "≥ 2.5x BullMQ", True, "3x"),
        ("drain", "≥ 3x ardiq", False, "2.5x"),
        ("drain", "≥ 15x arq tuned", None, DASH),
        ("pick-up, p50", "≤ 0.7x the best", True, "0.6x"),
        ("pick-up, p99", "≤ 2x own p50", False, "2.5x"),
        ("worker peak memory", "≤ 60 MB", False, "61 MB"),
    ],
)
def test_a_target_is_judged_by_the_figures(
    name: str, bound: str, met: bool | None, value: str
) -> None:
    assert found(name, bound) == (met, value)


def test_a_spread_is_median_least_and_greatest() -> None:
    assert targets.spread([3.0, 1.0, 2.0]) == (2.0, 1.0, 3.0)


@pytest.mark.parametrize(
    ("times", "words"),
    [
        (1.0, "tie (1.00x)"),
        (1.29, "tie (1.29x)"),
        (0.8, "tie (0.80x)"),
        (1.31, "1.31x"),
        (12, "12x"),
    ],
)
def test_a_small_ratio_is_called_a_tie(times: float, words: str) -> None:
    assert targets.called(times) == words


def test_less_can_be_better() -> None:
    assert targets.advantage(2.0, 1.0, less=False) == 2.0
    assert targets.advantage(2.0, 1.0, less=True) == 0.5
    assert targets.advantage(None, 1.0, less=True) is None
    assert targets.ratio(1.0, 0.0) is None


@pytest.mark.parametrize(
    ("number", "text"),
    [(0, "0"), (0.456, "0.46"), (9.999, "10"), (45.67, "45.7"), (12345.6, "12,346")],
)
def test_numbers_have_three_digits_that_matter(number: float, text: str) -> None:
    assert shorten(number) == text


@pytest.fixture
def report() -> Report:
    """A report with one of everything."""
    target = Target("speed", "≥ 2x", 2, lambda figures: figures.get("speed"), unit="x")
    section = Section(
        "compare",
        "Beside its peers",
        "One run.",
        [Table("Medians", ["", "jobs"], [["drain | a", 3.14159], ["none", None]], "A caption.")],
        [
            Bars("drain.svg", "Drain", "jobs/s", {"jobs": (2.0, 1.0, 3.0)}),
            Lines("curve.svg", "Curve", "x", "y", {"jobs": [(1.0, 2.0)]}, logx=True),
        ],
        {"speed": 2.5},
        ["A caveat."],
        [target],
    )
    return Report({"server": "Redis 7"}, [section], verdicts([section]))


def test_the_document_holds_a_report(report: Report) -> None:
    again = from_json(to_json(report))
    assert again.facts == report.facts
    assert again.verdicts == report.verdicts
    (section,), (before,) = again.sections, report.sections
    assert (section.title, section.note, section.caveats) == (
        before.title,
        before.note,
        ["A caveat."],
    )
    assert section.figures == {"speed": 2.5}
    assert list(section.plots) == list(before.plots)
    assert [table.title for table in section.tables] == ["Medians"]


def test_a_page_is_rewritten_between_its_marks(report: Report, tmp_path: Path) -> None:
    page, plots = tmp_path / "performance.md", tmp_path / "plots"
    plots.mkdir()
    (plots / "drain.svg").write_text("<svg/>")
    page.write_text(f"# Before\n\n{markdown.BEGIN}\nold\n{markdown.END}\n\nAfter\n")
    for _ in range(2):
        markdown.rewrite(page, report, plots)
        text = page.read_text()
        assert text.startswith("# Before\n")
        assert text.endswith("\n\nAfter\n")
        assert "old" not in text
        assert text.count("## Beside its peers") == 1
        assert "| drain \\| a | 3.14 |" in text
        assert f"| none | {DASH} |" in text
        assert "| speed | 2.5x | ≥ 2x | met |" in text
        assert "![Drain](performance/drain.svg)" in text
        assert "curve.svg" not in text, "it was not drawn"
    assert (tmp_path / "performance" / "drain.svg").read_text() == "<svg/>"


def test_runs_of_different_sections_are_put_together(report: Report) -> None:
    other = Report({"server": "Redis 8", "command": "two"}, report.sections, report.verdicts)
    both = joined([replace(report, facts={"server": "Redis 7", "command": "one"}), other])
    assert both.facts == {"server": "Redis 7", "command": "one; two"}
    assert (len(both.sections), len(both.verdicts)) == (2, 2)
    assert joined([report]).facts == report.facts


def test_a_page_without_marks_is_left_alone(report: Report, tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("nothing here")
    with pytest.raises(ValueError, match="expected the lines"):
        markdown.rewrite(page, report, tmp_path)
    assert page.read_text() == "nothing here"
