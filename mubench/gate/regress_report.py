"""What `mubench regress` prints: a table for the terminal, Markdown for a pull request, or JSON."""

import json
import textwrap
from collections.abc import Sequence
from dataclasses import asdict

from tabulate import tabulate

from .regress import COSTS, Comparison, Finding
from .tolerance import LEAST_CASES, MARGIN, QUALITY, REPEAT_CONFIDENCE, SEEDS_CONFIDENCE

PERCENT = ("label_accuracy", "test_accuracy")
RULE = (
    "Worse: the mean over cases of (new - baseline) exceeds the tolerance, which is the largest of "
    f"{MARGIN:.0%} of the floor's gap between golds, the {REPEAT_CONFIDENCE:.1%} one-sided bound "
    "from the paired samples and, where the seeds or the machine differ, the "
    f"{SEEDS_CONFIDENCE:.1%} bounds from samples widened by the golds' dispersion, from cases (at "
    f"least {LEAST_CASES}) and from seeds. Dearer: "
    + " or ".join(f"{measure} above {limit} x the baseline" for measure, limit, _ in COSTS)
    + "; seconds only with --same-job, on one device and equal threads. Accuracies in points."
)


HEADERS = (
    "method", "task", "measure", "cases", "baseline", "new", "change", "tolerance", "worst case",
    "verdict",
)  # fmt: skip


def as_table(comparison: Comparison, rejected: Sequence[str]) -> str:
    """For a terminal.

    Args:
        comparison: what was found.
        rejected: a line for each record that does not hold.
    """
    rows = [_row(finding) for finding in comparison.findings]
    lines = [_table(rows, "simple"), "", *verdict(comparison, rejected)]
    return "\n".join([*lines, *comparison.unpaired, "", textwrap.fill(RULE, 100)])


def as_markdown(comparison: Comparison, rejected: Sequence[str]) -> str:
    """For a comment on a pull request: what is wrong first, the rest folded away."""
    failed = bool(comparison.regressions or rejected)
    heading = "regression" if failed else "no regression"
    lines = [f"### mubench regress: {heading}", ""]
    lines += [f"- {line}" for line in verdict(comparison, rejected)]
    rows = [_row(finding) for finding in comparison.findings]
    lines += ["", f"<details><summary>All {len(rows)} comparisons</summary>", ""]
    lines += [_table(rows, "pipe"), "", *(f"- {line}" for line in comparison.unpaired)]
    return "\n".join([*lines, "", RULE, "", "</details>"])


def as_json(comparison: Comparison, rejected: Sequence[str]) -> str:
    """For programs."""
    content = {
        "regressions": [asdict(finding) for finding in comparison.regressions],
        "findings": [asdict(finding) for finding in comparison.findings],
        "unpaired": comparison.unpaired,
        "rejected": rejected,
        "rule": RULE,
    }
    return json.dumps(content, indent=1)


def verdict(comparison: Comparison, rejected: Sequence[str]) -> list[str]:
    """A line for each reason to fail, or one that there is none."""
    lines = [f"rejected {line}" for line in rejected]
    lines += [_sentence(finding) for finding in comparison.regressions]
    return lines or [f"no regression in {len(comparison.findings)} comparisons"]


def _sentence(finding: Finding) -> str:
    where = f"{finding.method} ({finding.parameters}) on {finding.task}, worst case"
    where += f" {finding.worst_case}"
    if finding.measure == "status":
        return f"{where}: {finding.note}"
    before, after = (_number(finding, value) for value in (finding.baseline, finding.new))
    tolerated = _number(finding, finding.tolerance, is_difference=True)
    return f"{where}: {finding.measure} {before} -> {after} (tolerated: {tolerated})"


def _row(finding: Finding) -> list[str]:
    label = "worse" if finding.measure in (*QUALITY, "status") else "dearer"
    return [
        f"{finding.method} ({finding.parameters})",
        finding.task,
        finding.measure,
        str(finding.cases),
        _number(finding, finding.baseline),
        _number(finding, finding.new),
        _number(finding, finding.change, is_difference=True),
        _number(finding, finding.tolerance, is_difference=True),
        finding.worst_case,
        label.upper() if finding.is_regression else finding.note or "ok",
    ]


def _number(finding: Finding, value: float | None, *, is_difference: bool = False) -> str:
    """In the unit of the measure; accuracies in percent, changes of cost as factors."""
    if value is None:
        return ""
    if finding.measure in QUALITY:
        scale, digits = (100, 2) if finding.measure in PERCENT else (1, 3)
        return f"{scale * value:{'+' if is_difference else ''}.{digits}f}"
    return f"x {value:.2f}" if is_difference else f"{value:.2f}"


def _table(rows: Sequence[Sequence[str]], style: str) -> str:
    cells = [[cell.replace("|", "\\|").replace("\n", " ") for cell in row] for row in rows]
    sides = ("left", "left", "left", *["right"] * 5, "left", "left")
    return tabulate(cells, HEADERS, tablefmt=style, disable_numparse=True, colalign=sides)
