"""Writing the plots of all boards as PNG and SVG, and those of single methods as PNG."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from mubench._util.files import write_atomic
from mubench.board.ranking import TaskBoard

from .style import method_stem, planned, shown, styles


def draw(boards: Sequence[TaskBoard], folder: Path) -> list[Path]:
    """Writes all plots of all tasks.

    Args:
        boards: the board of each task.
        folder: the folder of the plots.

    Returns:
        The files that were written.
    """
    from .audit import audit
    from .cases import cases
    from .cost import cost
    from .figure import files, rc_context
    from .sizes import scaling

    makers = {"cost": cost, "cases": cases, "scaling": scaling, "audit": audit}
    looks = styles(boards)
    written = []
    for board in boards:
        if not shown(board):
            continue
        for plot in planned(board):
            with rc_context():
                figure = makers[plot.kind](board, plot.title, looks)
                contents = files(figure)
            written += _write(folder, plot.stem(board), contents)
    return written


def draw_methods(boards: Sequence[TaskBoard], methods: Iterable[str], folder: Path) -> list[Path]:
    """Writes a plot per method and task, as PNG only, because there are many.

    Args:
        boards: the board of each task.
        methods: names; those without a measured entry are left out.
        folder: the folder of the plots.

    Returns:
        The files that were written.
    """
    from .figure import files, rc_context
    from .method import method

    written = []
    for name in methods:
        for board in boards:
            if board.measured_entries(name):
                with rc_context():
                    contents = files(method(board, name), ["png"])
                written += _write(folder, method_stem(board, name), contents)
    return written


def _write(folder: Path, stem: str, contents: Mapping[str, bytes]) -> list[Path]:
    paths = []
    for suffix, content in contents.items():
        path = folder / f"{stem}.{suffix}"
        write_atomic(path, content)
        paths.append(path)
    return paths
