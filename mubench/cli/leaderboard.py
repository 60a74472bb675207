"""`mubench leaderboard`, `plot`, `report` and `regress`: page, plots and comparisons of records."""

import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from mubench._util.files import write_atomic
from mubench._util.messages import counted, say

from .options import examples, usage_errors

if TYPE_CHECKING:
    from mubench.board.pages.entries_table import MethodPage
    from mubench.board.ranking import TaskBoard
    from mubench.record.check import Results
    from mubench.task.spec import Task


PAGE = Path("board/README.md")
RESULTS = Path("results")
"""Where `mubench run` and `mubench sweep` write to."""
FOLDER = click.Path(file_okay=False, path_type=Path)

results_option = click.option(
    "--results", type=FOLDER, default=RESULTS, show_default=True, help="Folder of records."
)
tasks_option = click.option(
    "--task", "task_files", multiple=True, metavar="FILE",
    help="TOML file of a task that is not installed; repeatable.",
)  # fmt: skip


@click.command(epilog=examples(
    "mubench leaderboard",
    "mubench leaderboard --format csv",
    "mubench leaderboard --results leaderboard/results --page leaderboard/README.md --check",
    "mubench leaderboard --excerpt README.md",
    "mubench leaderboard --methods board/methods",
))  # fmt: skip
@results_option
@click.option("--page", type=click.Path(dir_okay=False, path_type=Path), default=PAGE,
              show_default=True, help="The page to write.")  # fmt: skip
@click.option("--excerpt", "excerpt_file", type=click.Path(exists=True, dir_okay=False,
              path_type=Path), metavar="FILE",
              help="Also update the tables of another page, between its lines "
              "<!-- board --> and <!-- end of board -->.")  # fmt: skip
@click.option("--methods", "methods_folder", type=FOLDER, metavar="DIR",
              help="Also write a page into DIR for each installed method with a ledger, and link "
              "it.")  # fmt: skip
@click.option("--check", is_flag=True, help="Write nothing; exit 1 if a page is stale.")
@click.option("--format", "output", type=click.Choice(["markdown", "csv", "json"]),
              default="markdown", show_default=True,
              help="csv, json: the tables on stdout, no page.")  # fmt: skip
@tasks_option
def leaderboard(
    results: Path,
    page: Path,
    excerpt_file: Path | None,
    methods_folder: Path | None,
    check: bool,
    output: str,
    task_files: tuple[str, ...],
) -> None:
    """Renders the page of all tasks from records.

    Every number is recomputed from the readouts. A record that does not hold is named on stderr and
    on the page. Then the other records are rendered, and the exit code is 1.
    """
    read, tasks = read_folder(results, task_files)
    from mubench.board.pages.excerpt import excerpt
    from mubench.board.pages.leaderboard import missing_plots, render
    from mubench.board.ranking import build
    from mubench.board.table import frame
    from mubench.record.again import marks
    from mubench.record.folder import ResultsFolder

    boards, known = build(read.checked, tasks), marks(ResultsFolder(results), read.checked)
    is_stale = False
    if output == "csv":
        click.echo(frame(boards, known).to_csv(index=False), nl=False)
    elif output == "json":
        click.echo(frame(boards, known).to_json(orient="records", indent=1, double_precision=15))
    else:
        folder = _seen_from(page, results)
        linked: dict[str, MethodPage] = {}
        pages: dict[Path, str] = {}
        if methods_folder:
            linked, pages = _method_pages(methods_folder, boards, page)
        pages[page] = render(boards, read.rejected, folder, known, linked)
        if excerpt_file:
            location = _seen_from(excerpt_file, page)
            with usage_errors():
                pages[excerpt_file] = excerpt(excerpt_file.read_text("utf-8"), boards, location)
        absent = missing_plots(boards, page.parent, linked)
        draws = "mubench plot --methods" if methods_folder else "mubench plot"
        if check:
            stale = [path for path, text in pages.items() if not _holds(path, text)]
            if absent and not stale:
                stale = [page]
            is_stale = bool(stale)
            for path in stale:
                say(f"{path} is stale: run this without --check, then `{draws}`")
        else:
            for path, text in pages.items():
                write_atomic(path, text.encode())
            say(f"{page}: {len(read.checked)} records, {len(boards)} tasks")
            if absent:
                say(f"{counted(len(absent), 'plot')} of the pages do not exist: run `{draws}`")
    if is_stale or read.rejected:
        sys.exit(1)


@click.command(
    epilog=examples(
        "mubench plot",
        "mubench plot --results leaderboard/results --out leaderboard/plots --methods",
    )
)
@results_option
@click.option("--out", type=FOLDER, default=PAGE.parent / "plots", show_default=True,
              help="Folder of plots.")  # fmt: skip
@click.option("--methods", is_flag=True,
              help="Also draw each installed method with a ledger, for its page.")  # fmt: skip
@tasks_option
def plot(results: Path, out: Path, methods: bool, task_files: tuple[str, ...]) -> None:
    """Draws the records of every task, as PNG and SVG.

    Each task has a plot of cost against alignment and one case by case. A task with several sizes
    of the forget set has a plot over these sizes, too. One with audited records has the ROC curves
    of the audit: see `mubench gold audit --write`. Plots of single methods are PNG only.
    """
    read, tasks = read_folder(results, task_files)
    from mubench.board.plots.draw import draw, draw_methods
    from mubench.board.ranking import build

    boards = build(read.checked, tasks)
    written = draw(boards, out)
    if methods:
        with usage_errors():
            from mubench.board.ledger import ledgers

            written += draw_methods(boards, ledgers(), out)
    for path in written:
        say(str(path))
    if read.rejected:
        sys.exit(1)


@click.command(short_help="Renders published figures beside measured ones.", epilog=examples(
    "mubench report leaderboard/paper/tmu.toml --results leaderboard/results "
    "--page leaderboard/tmu.md",
))  # fmt: skip
@click.argument("plan", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@results_option
@click.option("--page", type=click.Path(dir_okay=False, path_type=Path), required=True,
              help="The page to write.")  # fmt: skip
@click.option("--check", is_flag=True, help="Write nothing; exit 1 if the page is stale.")
@tasks_option
def report(plan: Path, results: Path, page: Path, check: bool, task_files: tuple[str, ...]) -> None:
    """Renders the page that a TOML file describes: what a publication printed beside the records.

    PLAN is the TOML file. The published figures are in the CSV file of the same name beside it.
    """
    read, tasks = read_folder(results, task_files)
    from mubench.board.pages.report import read_report, render_report
    from mubench.board.ranking import build

    with usage_errors():
        boards = build(read.checked, tasks)
        text = render_report(read_report(plan), boards, _seen_from(page, plan))
    is_stale = check and not _holds(page, text)
    if is_stale:
        say(f"{page} is stale: run this without --check")
    elif not check:
        write_atomic(page, text.encode())
        say(str(page))
    if is_stale or read.rejected:
        sys.exit(1)


def _seen_from(page: Path, path: Path) -> str:
    """The address of a path in the links of a page."""
    return Path(os.path.relpath(path, page.parent)).as_posix()


def _method_pages(
    folder: Path, boards: "Sequence[TaskBoard]", page: Path
) -> "tuple[dict[str, MethodPage], dict[Path, str]]":
    """The pages of all installed methods with a ledger: name to link, and path to text.

    Args:
        folder: where the pages lie.
        boards: of all tasks.
        page: the page of all tasks.
    """
    import inspect

    from mubench.board.ledger import ledgers
    from mubench.board.pages.entries_table import MethodPage
    from mubench.board.pages.method import Described, render_method
    from mubench.method.discovery import load_method
    from mubench.method.parameters import describe_parameters

    linked, pages = {}, {}
    with usage_errors():
        for name, ledger in ledgers().items():
            method, file = load_method(name), folder / f"{name}.md"
            described = Described(
                name,
                inspect.getdoc(method.cls) or "no description",
                ", ".join(sorted(method.requires)),
                [[p.name, p.type, p.default, p.meaning] for p in describe_parameters(method.cls)],
            )
            linked[name] = MethodPage(_seen_from(page, file), ledger)
            pages[file] = render_method(described, ledger, boards, _seen_from(file, page))
    return linked, pages


def _holds(path: Path, text: str) -> bool:
    """True if a file has exactly this text."""
    return path.is_file() and path.read_bytes() == text.encode()


def read_folder(results: Path, task_files: tuple[str, ...]) -> "tuple[Results, list[Task]]":
    """Reads the records of a folder, and names those that do not hold on stderr.

    Args:
        results: the folder.
        task_files: TOML files of tasks that are not installed.

    Returns:
        The records, and the tasks that they may be of.
    """
    with usage_errors():
        from mubench.record.check import read_results
        from mubench.task.installed import installed_tasks, load_task

        tasks = [*installed_tasks(), *map(load_task, task_files)]
        read = read_results(results, tasks)
    for rejected in read.rejected:
        say(f"rejected {results / rejected.file}: {rejected.reason}")
    return read, tasks


@click.command(short_help="Exits 1 if new records are worse or costlier.", epilog=examples(
    "mubench regress leaderboard/results results",
    "mubench regress baseline --same-job --format markdown > comment.md",
))  # fmt: skip
@click.argument("baseline", type=FOLDER)
@click.argument("new", type=FOLDER, default=Path("results"))
@click.option("--same-job", is_flag=True,
              help="Both ran in one job on one device: compare seconds too.")  # fmt: skip
@click.option("--format", "output", type=click.Choice(["table", "markdown", "json"]),
              default="table", show_default=True,
              help="markdown: for a comment on a pull request.")  # fmt: skip
@tasks_option
def regress(
    baseline: Path, new: Path, same_job: bool, output: str, task_files: tuple[str, ...]
) -> None:
    """Exits 1 if the records in NEW are worse or costlier than those in BASELINE.

    NEW is `results` unless given. Records are paired by task, case, method, parameters and seed. If
    the seeds differ, means over seeds are paired. The rule stands below the table. A record in
    either folder that does not hold is named, and also makes the exit code 1.
    """
    stored, _ = read_folder(baseline, task_files)
    fresh, _ = read_folder(new, task_files)
    from mubench.gate import regress_report
    from mubench.gate.regress import compare

    with usage_errors():
        comparison = compare(baseline, stored, new, fresh, same_job=same_job)
    rejected = [
        f"{folder / one.file}: {one.reason}"
        for folder, read in ((baseline, stored), (new, fresh))
        for one in read.rejected
    ]
    show = {
        "table": regress_report.as_table,
        "markdown": regress_report.as_markdown,
        "json": regress_report.as_json,
    }[output]
    click.echo(show(comparison, rejected))
    if comparison.regressions or rejected:
        sys.exit(1)
