"""The plot of the audit: how many members an attack finds, over how many it names wrongly."""

from collections import defaultdict
from dataclasses import dataclass, replace

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter

from mubench._util.arrays import Floats
from mubench.board.ranking import Entry, TaskBoard
from mubench.record.audit.lira import FPR, Leak, Scores

from .figure import FLOOR, GREY, blank
from .style import Looks, display_name, shown

HEIGHT = 3.6
"""Inches."""
LEFT, RIGHT = 0.09, 0.6
"""Where the axes begin and end, as shares of the width; the rest is for names and numbers."""


@dataclass(frozen=True)
class _Attacked:
    """An entry under attack."""

    entry: Entry
    cases: list[Scores]
    """The scores of each case."""
    leak: Leak
    """What the attack achieves, over cases."""


def audit(board: TaskBoard, title: str, looks: Looks) -> Figure:
    """The ROC curve of the attack on each audited entry, over all cases, and on golds as chance.

    Args:
        board: the board of a task with at least one audited record.
        title: the title of the figure.
        looks: method to style.
    """
    attacked = [one for entry in shown(board) if (one := _attacked(entry))]
    attacked.sort(key=lambda one: -one.leak.tpr.mean)
    cases = max((one.cases for one in attacked), key=len)
    members = sum(scores.golds_JN.shape[1] for scores in cases)
    nonmembers = sum(scores.golds_JN.size for scores in cases)
    figure = blank(
        HEIGHT, board, title,
        f"Members: the {members} samples of D_f of {len(cases)} cases, as the model answers. "
        "Bars and ±: 95% over cases. Dashed: controls.\n"
        f"Non-members: the same samples, as {nonmembers} answers of golds that never saw them.",
    )  # fmt: skip
    figure.subplots_adjust(left=LEFT, right=RIGHT, top=0.88, bottom=0.2)
    axes = figure.add_subplot()
    axes.set_xlabel("false positives: non-members that are called members")
    axes.set_ylabel("true positives: members that are found")
    lowest = 1 / nonmembers
    fpr = np.geomspace(lowest, 1, 200)
    axes.plot(fpr, fpr, color=GREY, lw=0.8, ls=":", label="chance: what retraining gives")
    axes.axvline(FPR, color=FLOOR, lw=0.8, zorder=0)  # pale, so that bars show on it
    for one in attacked:
        _curve(axes, one, looks)
    axes.set_xscale("log")
    axes.set_xlim(lowest, 1)
    axes.set_ylim(0, 1.02)  # a curve at the top shows as whole
    axes.xaxis.set_major_formatter(PercentFormatter(1, decimals=None))
    axes.yaxis.set_major_formatter(PercentFormatter(1, decimals=0))
    figure.legend(
        loc="upper left", bbox_to_anchor=(RIGHT + 0.01, 0.9), frameon=False, fontsize=7.5,
        title=f"true positives at {FPR:.0%} false positives", title_fontsize=7.5, alignment="left",
    )  # fmt: skip
    return figure


def _attacked(entry: Entry) -> _Attacked | None:
    """The scores of an entry's audited records; None if there are none."""
    by_case: dict[str, list[Scores]] = defaultdict(list)
    for one in entry.records:
        if one.scores:
            by_case[one.record.case].append(one.scores)
    if not by_case:
        return None
    cases = [
        replace(runs[0], models_JN=np.concatenate([run.models_JN for run in runs]))
        for runs in by_case.values()
    ]
    return _Attacked(entry, cases, Leak.of(cases))


def _curve(axes: Axes, attacked: _Attacked, looks: Looks) -> None:
    """Draws the ROC curve of an entry, and its true positive rate at the rate that is told."""
    entry, leak = attacked.entry, attacked.leak
    style = looks[entry.method]
    fpr, tpr = _roc(attacked.cases)
    line = "--" if entry.is_control else "-"
    axes.plot(fpr, tpr, line, color=style.colour, lw=1.2, drawstyle="steps-post")
    half_width = leak.tpr.half_width or 0
    low, high = min(half_width, leak.tpr.mean), min(half_width, 1 - leak.tpr.mean)
    tail = f" ± {100 * half_width:.0f}" if leak.tpr.half_width is not None else ""
    area = f" ± {leak.auroc.half_width:.2f}" if leak.auroc.half_width is not None else ""
    axes.errorbar(
        FPR, leak.tpr.mean, yerr=[[low], [high]], fmt=style.marker + line, color=style.colour,
        ms=5, lw=1.2, elinewidth=1.2, zorder=3,
        label=f"{display_name(entry)}: {100 * leak.tpr.mean:.0f}{tail}%, "
        f"AUROC {leak.auroc.mean:.2f}{area}",
    )  # fmt: skip


def _roc(cases: list[Scores]) -> tuple[Floats, Floats]:
    """False and true positive rates over all thresholds, of all cases together."""
    from sklearn.metrics import roc_curve  # here: a second to import

    models = np.concatenate([scores.models_JN.ravel() for scores in cases])
    golds = np.concatenate([scores.golds_JN.ravel() for scores in cases])
    is_model = np.arange(len(models) + len(golds)) < len(models)
    fpr, tpr, _ = roc_curve(is_model, np.concatenate([models, golds]))
    return fpr, tpr
