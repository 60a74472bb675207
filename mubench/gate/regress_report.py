"""What `mubench regress` prints: a table for the terminal, Markdown for a pull request, or JSON."""

import json
import textwrap
from collections.abc import Sequence
from dataclasses import asdict

from mubench._util.tables import markdown, plain
from mubench.record.measures import MEASURES

from .regress import COSTS, PAIRS_FOR_SECONDS, Comparison, Finding
from .tolerance import CASES_FOR_TOLERANCE, CONFIDENCE, LEAST_FREEDOM, MARGINS, QUALITY

RULE = (
    "Worse: the loss from baseline to new exceeds the tolerance, in the mean over cases or in one "
    "case, Holm's correction covering the cases. The tolerance is the largest of a share of the "
    "floor's gap between golds ("
    + ", ".join(f"{share:.0%} of {name}" for name, share in MARGINS.items())
    + f") and the {CONFIDENCE:.0%} one-sided bounds from the paired samples widened by the golds' "
    f"dispersion, from the spread of the cases (at least {CASES_FOR_TOLERANCE}) and from that of "
    f"the seeds (at least {LEAST_FREEDOM} degrees of freedom). A change above zero is a loss. "
    "Costlier: "
    + " or ".join(f"{measure} above {limit} x the baseline" for measure, limit, _ in COSTS)
    + f"; seconds only with --same-job, on one device and equal threads, in {PAIRS_FOR_SECONDS} "
    f"pairs of runs at least, and by the {CONFIDENCE:.0%} one-sided bound from the spread of their "
    "ratios more than that. Units: "
    + ", ".join(f"{name} in {unit}" for name in QUALITY if (unit := MEASURES[name].unit))
    + "."
)
HEADERS = (
    "method", "task", "measure", "cases", "baseline", "new", "change", "tolerance", "worst case",
    "verdict",
)  # fmt: skip
ALIGN = "lll" + "r" * 5 + "ll"


def as_table(comparison: Comparison, rejected: Sequence[str]) -> str:
    """The report for a terminal.

    Args:
        comparison: what was found.
        rejected: one line per record that does not hold.
    """
    rows = [_row(finding) for finding in comparison.findings]
    lines = [plain(rows, HEADERS, ALIGN), "", *verdict(comparison, rejected)]
    return "\n".join([*lines, *comparison.unpaired, "", textwrap.fill(RULE, 100)])


def as_markdown(comparison: Comparison, rejected: Sequence[str]) -> str:
    """The report for a comment on a pull request: what is wrong first, the rest folded away."""
    failed = bool(comparison.regressions or rejected)
    heading = "regression" if failed else "no regression"
    lines = [f"### mubench regress: {heading}", ""]
    lines += [f"- {line}" for line in verdict(comparison, rejected)]
    rows = [_row(finding) for finding in comparison.findings]
    lines += ["", f"<details><summary>All {len(rows)} comparisons</summary>", ""]
    lines += [markdown(rows, HEADERS, ALIGN), "", *(f"- {line}" for line in comparison.unpaired)]
    return "\n".join([*lines, "", RULE, "", "</details>"])


def as_json(comparison: Comparison, rejected: Sequence[str]) -> str:
    """The report for programs, with numbers unrounded and in the units of records."""
    content = {
        "regressions": [asdict(finding) for finding in comparison.regressions],
        "findings": [asdict(finding) for finding in comparison.findings],
        "unpaired": comparison.unpaired,
        "rejected": rejected,
        "rule": RULE,
    }
    return json.dumps(content, indent=1)


def verdict(comparison: Comparison, rejected: Sequence[str]) -> list[str]:
    """One line per reason to fail, or a single line that says there is none."""
    lines = [f"rejected {line}" for line in rejected]
    lines += [_sentence(finding) for finding in comparison.regressions]
    return lines or [f"no regression in {len(comparison.findings)} comparisons"]


def _sentence(finding: Finding) -> str:
    """A regression in a line."""
    where = f"{finding.method} ({finding.parameters}) on {finding.task}, worst case"
    where += f" {finding.worst_case}"
    if finding.measure == "status":
        return f"{where}: {finding.note}"
    before, after = (_value(finding, value) for value in (finding.baseline, finding.new))
    tolerated = _change(finding, finding.tolerance)
    note = f", {finding.note}" if finding.note else ""
    return f"{where}: {finding.measure} {before} -> {after} (tolerated: {tolerated}){note}"


def _row(finding: Finding) -> list[str]:
    label = "worse" if finding.measure in (*QUALITY, "status") else "costlier"
    return [
        f"{finding.method} ({finding.parameters})",
        finding.task,
        finding.measure,
        str(finding.cases),
        _value(finding, finding.baseline),
        _value(finding, finding.new),
        _change(finding, finding.change),
        _change(finding, finding.tolerance),
        finding.worst_case,
        label.upper() if finding.is_regression else finding.note or "ok",
    ]


def _value(finding: Finding, value: float | None) -> str:
    """A value of a measure as it is printed; empty if there is none."""
    return "" if value is None else MEASURES[finding.measure].text(value, compared=True)


def _change(finding: Finding, change: float | None) -> str:
    """A change as it is printed: of quality a difference with its sign, of a cost a factor."""
    if change is None:
        return ""
    if finding.measure in QUALITY:
        return MEASURES[finding.measure].text(change, is_signed=True, compared=True)
    return f"x {change:.2f}"
