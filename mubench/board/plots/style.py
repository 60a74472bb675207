"""Which plots a board has, which entries they show, and how methods look in them.

A method has the same colour and marker in every plot of a whole board. In the order in which plots
show them, methods take the first colour that none beside them has, as far as there are colours.
Controls are grey. The colours are those of Okabe and Ito and of Paul Tol that colour-blind readers
can tell apart on white paper. Markers tell methods apart without colour. The plot of a single
method tells its entries apart in the same way.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from mubench.board.ranking import Entry, Standing, TaskBoard

PLOTS_FOLDER = "plots"
"""Name of the folder of plots beside the page."""
COLOURS = (
    "#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#332288", "#56B4E9", "#882255",
    "#999933", "#117733",
)  # fmt: skip
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "<", ">", "p", "h")
GREYS = ("#4d4d4d", "#7f7f7f", "#a0a0a0")
MOST_ENTRIES = 12
"""Most entries of a task that are drawn besides controls; more could not be told apart."""


@dataclass(frozen=True)
class Style:
    """How a method looks, in the words of matplotlib."""

    colour: str
    marker: str


Looks = Mapping[str, Style]
"""Method to style."""


@dataclass(frozen=True)
class Plot:
    """A plot of a task."""

    kind: str
    """`cost`, `cases`, `scaling` or `audit`."""
    title: str
    """What the plot shows, in words."""

    def stem(self, board: TaskBoard) -> str:
        """The file name of the plot, without suffix."""
        return f"{board.task.name}-{self.kind}"


def planned(board: TaskBoard) -> list[Plot]:
    """The plots that a task has; the excerpt shows the first."""
    plots = [Plot("cost", "cost against alignment"), Plot("cases", "case by case")]
    if len(board.task.forget.sizes) > 1:
        plots.insert(0, Plot("scaling", "over the size of the forget set"))
    if any(one.scores for entry in shown(board) for one in entry.records):
        plots.append(Plot("audit", "can one tell that samples were trained on?"))
    return plots


def method_stem(board: TaskBoard, method: str) -> str:
    """The path of a method's own plot of a task below the folder of plots, without suffix."""
    return f"methods/{method}-{board.task.name}"


def styles(boards: Iterable[TaskBoard]) -> dict[str, Style]:
    """Method to style, the same for all boards that are drawn together."""
    boards = list(boards)
    together = [list(dict.fromkeys(entry.method for entry in shown(board))) for board in boards]
    drawn = [method for methods in together for method in methods]
    kinds = {e.method: e.standing is Standing.CONTROL for board in boards for e in board.entries}
    out: dict[str, Style] = {}
    for palette, wanted in ((COLOURS, False), (GREYS, True)):
        methods = [one for one in dict.fromkeys([*drawn, *kinds]) if kinds[one] is wanted]
        for index, method in enumerate(methods):
            beside = {other for plot in together if method in plot for other in plot}
            taken = {out[other].colour for other in beside if other in out}
            free = [colour for colour in palette if colour not in taken]
            colour = free[0] if free else palette[index % len(palette)]
            out[method] = Style(colour, MARKERS[index % len(MARKERS)])
    return out


def shown(board: TaskBoard) -> list[Entry]:
    """The entries that are drawn, in the order of the page: the first ones, then the controls."""
    measured = [entry for entry in board.entries if entry.intervals]
    controls = [entry for entry in measured if entry.standing is Standing.CONTROL]
    others = [entry for entry in measured if entry.standing is not Standing.CONTROL]
    return others[:MOST_ENTRIES] + controls


def display_name(entry: Entry) -> str:
    """The name of an entry in a plot, with a star or a word if the entry is not complete."""
    if entry.standing in (Standing.OVER_BUDGET, Standing.FAILED):
        return f"{entry.label} ({entry.standing})"
    return f"{entry.label}*" if entry.is_provisional else entry.label
