"""The leaderboard page: what was found, the section of each task, and how to read them.

The same records give the same page, byte for byte, on every machine: no date, no path and no order
of files enters. `mubench.board.ranking` says how entries are averaged, tested and ranked; the page
says it again for its readers.
"""

from collections.abc import Iterable, Mapping, Sequence
from itertools import combinations
from pathlib import Path

from mubench._util.messages import counted
from mubench._util.statistics import CASES_FOR_INTERVAL
from mubench._util.tables import markdown
from mubench.board.hypotheses import can_show
from mubench.board.plots.style import PLOTS_FOLDER, method_stem, planned
from mubench.board.ranking import Entry, Standing, TaskBoard
from mubench.board.verdicts import RELEVANT_SHARE
from mubench.record.again import Mark
from mubench.record.check import Rejected
from mubench.record.flags import Flag
from mubench.record.measures import MEASURES, Place, shown_in

from .again import explanation
from .entries_table import CLAIMED, OFF_DESIGN, MethodPage, shows_claims
from .section import bullet, task_section, unstated

INTRODUCTION = """\
# Leaderboard

After a model was made to forget D_f: how close is the model to one that never saw D_f, and what did
that cost?

{summary}
`mubench leaderboard` renders this page from the records in `{folder}`. The command
recomputes every accuracy, distance and count from the readouts beside the records. To change this
page, change the records; edits to the page are lost.
"""

READING = f"""\
## How to read the tables

- **± is a 95% interval**: Student's t over the cases, where the value of a case is the mean over
  its seeds. The interval covers how much cases differ. Below {CASES_FOR_INTERVAL} cases, none is
  shown.
{{measures}}\
- **Nothing** is the original that a run started from, scored as if it were a method. **floor** is
  each gold scored against the other golds. Two models that were retrained differ so much.
- **gap closed** is the way from nothing to the floor: (nothing - method) / (nothing - floor) in
  margin distance. At 0, the method is no closer to a gold than doing nothing; at 1, it is as close
  as another gold. Below 0, it is further away. The 95% interval is Fieller's, over the cases.
- **verdict**: *better than nothing* if an exact sign-flip test over the cases shows that the margin
  distance is below that of nothing by more than {RELEVANT_SHARE:.0%} of the case's gap to the
  floor, and does not show that the activation distance is above. *Equivalent to retraining* if, in
  addition, two one-sided t tests show that the mean margin distance is within half the gap of the
  floor, and the sign-flip test does not show that the label gain is below that of golds by more
  than {RELEVANT_SHARE:.0%} of the way from nothing to them. *Worse than nothing* if the margin
  distance is shown to be above by more than as much. *Not shown* otherwise. Each test is corrected
  for the number of entries, by Benjamini and Hochberg's method: of all claims that are made, few
  are false, and bad entries that join take nothing from good ones.
- **A worked example**: the distances of nothing less those of the method, and less what has to be
  exceeded, are +0.5, +0.3, +0.4, +0.2 and +0.1 in five cases. Doing nothing would give each sign
  with equal chance. Of 32 patterns of signs only this one has so large a mean, so p is 1/32 = 0.03.
- **rank**: the place among the entries that are better than nothing and keep the model, by gap
  closed. An entry keeps the model if the whole interval of its test accuracy lies less than a point
  below the golds'. All other entries stand below, whatever their δ. What is better than nothing
  comes first there, and then what is not shown to be and keeps the model.
- **group**: entries that share a letter cannot be told apart by the paired sign-flip test, Holm's
  method correcting for the number of pairs.
- **Order of settings**: methods are ranked by gap closed at their defaults, and once more at a
  preset, both over the cases of both. Kendall's τ is the share of pairs that keep their order less
  the share that do not. Its p is the share of all orders that agree or disagree so far. A method
  whose preset is its defaults has one entry and is not counted.
- **Entries without a standing**: controls, and entries that are over budget, failed or provisional.
  An entry is provisional if cases or seeds are missing.
- **Why δ alone is no rank**: δ compares two averages. A method that gets the right number of wrong
  samples has a small δ, whichever samples they are.{{coincidence}}
- **Controls** show what the measures make of doing nothing, retraining, guessing or knowing the
  answer.
- **access**: what the method was given. Touching anything else would have failed.
- **not isolated**: the method ran in the harness's own process, where code that looks for golds can
  find them. It is not noted of methods that come with the harness.
{{again}}{{flags}}{{pages}}"""

CLAIMS_SHOWN = f"""\
- **{CLAIMED}**: what papers print of the method, in settings near to the task. They differ from it
  in the size of D_f or in training. The method's own page, which its name links, says how.
"""
PAGES_LINKED = f"""\
- **{OFF_DESIGN}**: the method is made for other forget sets than the task has. Its own page, which
  its name links, says for which, and what its paper claims.
"""


def render(
    boards: Sequence[TaskBoard],
    rejected: Sequence[Rejected],
    folder: str,
    marks: Mapping[str, Mark] = {},
    pages: Mapping[str, MethodPage] = {},
) -> str:
    """The page as Markdown.

    Args:
        boards: the board of each task.
        rejected: the files that are not believed, which the page names.
        folder: the path of the results folder, as seen from the page.
        marks: path of a record under that folder to its mark, if it was measured again.
        pages: name of a method to its own page, which is linked.
    """
    summary = "".join(f"- {_summary(board)}\n" for board in boards)
    parts = [INTRODUCTION.format(folder=folder, summary=summary)]
    parts += [task_section(board, marks, pages) for board in boards] or [
        "There are no records yet.\n"
    ]
    if absent := _without_a_row(boards, pages):
        parts += ["## Methods without a row\n\nNo task of this page has records of them.\n"]
        parts += [markdown(absent, ["method", "what is known"]) + "\n"]
    if rejected:
        rows = [[f"`{one.file}`", one.reason] for one in rejected]
        parts += ["## Rejected records\n\nNo number on this page comes from these files.\n"]
        parts += [markdown(rows, ["file", "why"]) + "\n"]
    return "\n".join([*parts, _reading(boards, marks, pages)])


def _without_a_row(boards: Sequence[TaskBoard], pages: Mapping[str, MethodPage]) -> list[list[str]]:
    """The published methods that no board has an entry of, and what their ledgers say was seen."""
    measured = {entry.method for board in boards for entry in board.entries}
    return [
        [f"[{name}]({page.address})", " ".join(page.ledger.seen) or "not measured yet"]
        for name, page in sorted(pages.items())
        if name not in measured
    ]


def _reading(
    boards: Sequence[TaskBoard], marks: Mapping[str, Mark], pages: Mapping[str, MethodPage]
) -> str:
    """How to read the tables: what is always so, each measure, and the flags in the notes."""
    unused = unstated(boards)
    measures = [
        bullet(measure.explanation)
        for measure in shown_in(Place.PAGE)
        if measure.name not in unused
    ]
    claims = any(shows_claims(board, pages) for board in boards)
    noted = {flag for board in boards for entry in board.entries for flag in entry.flags}
    flags = [bullet(f"**{_flag_note(flag)}**: {flag.meaning}") for flag in Flag if flag in noted]
    return READING.format(
        measures="".join(measures),
        again=explanation(marks),
        flags="".join(flags),
        pages=CLAIMS_SHOWN * claims + PAGES_LINKED if pages else "",
        coincidence=_coincidence(boards),
    )


def _coincidence(boards: Sequence[TaskBoard]) -> str:
    """A sentence on two entries of one board with the same delta and other samples, if any."""
    for board in boards:
        for one, other in combinations(board.entries, 2):
            if not (one.judgement and other.judgement and one.case_means and other.case_means):
                continue
            far = one.judgement.verdict is not other.judgement.verdict
            if far and one.case_means["delta"] == other.case_means["delta"]:
                return (
                    f" On {board.task.id}, `{one.label}` and `{other.label}` have the same δ in\n"
                    f"  every case. By margin distance the one is {one.judgement.verdict}, the "
                    f"other {other.judgement.verdict}."
                )
    return ""


def _summary(board: TaskBoard) -> str:
    """One sentence on what a board found."""
    listed = [entry for entry in board.entries if not entry.is_control]
    named = f"**{board.task.id}** ({counted(board.task.num_cases, 'case')})"
    passing = [entry for entry in listed if entry.rank]
    if not passing:
        few = "" if can_show(board.task.num_cases) else ", as so few cases can show nothing"
        return (
            f"{named}: none of {counted(len(listed), 'entry')} is shown to be closer to "
            f"retraining than doing nothing{few}."
        )
    first, *others = passing
    shown = f"Of {counted(len(listed), 'entry')}, {len(passing)}"
    alike = [f"`{one.label}` ({_at(one)})" for one in others if set(one.group) & set(first.group)]
    told = f" It cannot be told apart from {', '.join(alike)}." if alike else ""
    return (
        f"{named}: `{first.label}` is first ({_at(first)}; doing nothing closes 0, another "
        f"retrained model 1).{told} {shown} {'is' if len(passing) == 1 else 'are'} shown to be "
        "better than doing nothing and to keep the test accuracy."
    )


def _at(entry: Entry) -> str:
    """The gap that an entry with a standing closes, and its δ."""
    assert entry.judgement and entry.judgement.gap_closed
    delta = MEASURES["delta"].text(entry.intervals["delta"].mean)
    return f"{entry.judgement.gap_closed.value:.2f} of the gap closed, δ {delta}"


def _flag_note(flag: Flag) -> str:
    """The words by which the notes of an entry tell a flag."""
    return str(Standing.OVER_BUDGET if flag is Flag.OVER_BUDGET else flag)


def missing_plots(
    boards: Sequence[TaskBoard], folder: Path, methods: Iterable[str] = ()
) -> list[Path]:
    """The files of plots that the pages show and that do not exist.

    Args:
        boards: the board of each task.
        folder: the folder of the page; the plots lie in `plots` below it.
        methods: names of those that have pages of their own.
    """
    paths = [
        folder / PLOTS_FOLDER / f"{plot.stem(board)}.{suffix}"
        for board in boards
        for plot in planned(board)
        for suffix in ("png", "svg")
    ]
    paths += [
        folder / PLOTS_FOLDER / f"{method_stem(board, name)}.png"
        for name in methods
        for board in boards
        if board.measured_entries(name)
    ]
    return [path for path in paths if not path.is_file()]
