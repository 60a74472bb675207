"""Writing the plots of all boards as PNG and SVG."""

from collections.abc import Sequence
from pathlib import Path

from mubench._util.files import write_atomic
from mubench.board.ranking import TaskBoard

from .style import planned, shown, styles


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
            for suffix, content in contents.items():
                path = folder / f"{plot.stem(board)}.{suffix}"
                write_atomic(path, content)
                written.append(path)
    return written
