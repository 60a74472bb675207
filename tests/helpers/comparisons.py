"""Two folders of records, of ten classes, and what comparing them says."""

from mubench.gate.regress import compare
from mubench.record.check import read_results
from tests.helpers.lab import Lab, make_task

CLASSES = tuple("abcdefghij")


def ten_classes(results):
    return Lab(results, make_task(classes=CLASSES, sizes=(40,)))


def fresh_lab(lab, tmp_path, name="new"):
    return Lab(tmp_path / name, lab.task)


def judged(lab, other, **options):
    comparison = compare(
        lab.results, read_results(lab.results, [lab.task]),
        other.results, read_results(other.results, [lab.task]), **options,
    )  # fmt: skip
    return comparison, {finding.measure for finding in comparison.regressions}
