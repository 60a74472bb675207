"""The group of all commands. Data goes to stdout, everything else to stderr.

Exit codes: 0 done; 1 a run failed or a check did not hold; 2 wrong usage; 130 interrupted.
Commands import what they need when they run, so that help is instant.
"""

from typing import Any

import click

from .author import check, new_method
from .entries import submit, verify
from .golds import gold
from .leaderboard import leaderboard, plot
from .options import examples, usage_errors
from .regress import regress
from .run import run
from .sweep import sweep


@click.group(
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog=examples(
        "mubench run --method tmu --task digits-subset",
        "mubench run --method tmu --task cifar10-subset --cases all",
        "mubench list tasks",
    ),
)
@click.version_option(package_name="mubench")
def main() -> None:
    """Measures machine unlearning of image classifiers against retrained models.

    The variables MUBENCH_DATA (where data sets are) and MUBENCH_CACHE (where trained models go)
    name folders.
    """


for command in (run, sweep, gold, leaderboard, plot, regress, check, new_method, submit, verify):
    main.add_command(command)


@main.command("list", epilog=examples("mubench list methods", "mubench list tasks"))
@click.argument("what", type=click.Choice(["methods", "tasks"]))
def list_(what: str) -> None:
    """Names what is installed; imports no method."""
    from mubench._util.tables import plain

    if what == "tasks":
        from mubench.task.spec import installed_tasks

        with usage_errors():
            tasks = installed_tasks()
        rows: list[list[Any]] = [
            [t.id, t.data.name, t.model.name, t.num_cases, t.measure.golds, t.train.epochs]
            for t in tasks
        ]
        headers = ["task", "data", "model", "cases", "golds per case", "epochs per model"]
    else:
        from importlib.metadata import entry_points

        from mubench.method.discovery import METHODS_GROUP

        rows = [
            [e.name, f"{e.dist.name} {e.dist.version}" if e.dist else "", e.value]
            for e in sorted(set(entry_points(group=METHODS_GROUP)), key=lambda e: e.name)
        ]
        headers = ["method", "distribution", "class"]
    click.echo(plain(rows, headers, "lllrrr" if what == "tasks" else ""))


@main.command(epilog=examples("mubench show tmu", "mubench show ./mine.py:Mine"))
@click.argument("reference", metavar="METHOD")
def show(reference: str) -> None:
    """Prints what a method is, what it needs and its parameters."""
    with usage_errors():
        from mubench.method.discovery import load_method
        from mubench.method.parameters import describe_parameters

        method = load_method(reference)
    import inspect

    where = (
        f"{method.distribution} {method.distribution_version}"
        if method.distribution
        else "not installed"
    )
    click.echo(f"{method.name} ({where})\n")
    click.echo((inspect.getdoc(method.cls) or "no description") + "\n")
    click.echo(f"access: {', '.join(sorted(method.requires))}")
    click.echo(f"ranked: {'no, a control' if method.control else 'yes'}\n")
    from mubench._util.tables import plain

    rows = [[p.name, p.type, p.default, p.meaning] for p in describe_parameters(method.cls)]
    headers = ["parameter", "type", "default", "meaning"]
    widths = [None, 26, None, 70]
    click.echo(plain(rows, headers, widths=widths) if rows else "no parameters")
