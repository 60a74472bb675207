"""`mubench tune`: a method's parameters, chosen without a gold of any scored case."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from mubench._util.messages import say

from .options import DEVICE, SETTINGS, TASK, examples, usage_errors

if TYPE_CHECKING:
    from mubench.tune.study import Outcome
    from mubench.tune.tuning import Found


@click.command(
    short_help="Chooses a method's parameters without golds.",
    epilog=examples(
        "mubench tune finetune --task digits-subset --trials 20",
        "mubench tune tmu --task cifar10-subset --on cases --budget 60 --workers 4",
        "mubench run --method finetune --task digits-subset "
        "--preset tuned-finetune-digits-subset.toml",
    ),
)
@click.argument("reference", metavar="METHOD")
@TASK
@click.option("--on", type=click.Choice(["twin", "cases"]), default="twin", show_default=True,
              help="twin: held-out images that the original has learned; cases: other draws of "
              "forget sets, or classes that are not scored, with golds of their own.")  # fmt: skip
@click.option("--problems", type=click.IntRange(1), default=2, show_default=True, metavar="N",
              help="How many twins or tuning cases.")  # fmt: skip
@click.option("--golds", type=click.IntRange(0), metavar="N",
              help="Golds of each tuning case [1]; or originals that are the golds of twins [the "
              "task's others], 0 for the one that a twin was made of.")  # fmt: skip
@click.option(
    "--trials", type=click.IntRange(1), metavar="N",
    help="Most trials, with that of the default.  [default: 30 without --budget]",
)  # fmt: skip
@click.option("--budget", "epochs", type=click.FloatRange(0, min_open=True), metavar="EPOCHS",
              help="Most that the search may cost in epochs-equivalent, twins and golds "
              "included.")  # fmt: skip
@click.option("--max-delta", "most_delta", type=click.FloatRange(0), metavar="POINTS",
              help="Choose nothing that has a δ beyond this.")  # fmt: skip
@click.option("--check", is_flag=True,
              help="Draw trials at random, run them on tuning cases too, and say how well the "
              "two orders agree.")  # fmt: skip
@click.option("--seed", type=click.IntRange(0), default=0, show_default=True,
              help="Of the problems and of the draws.")  # fmt: skip
@click.option("--workers", type=click.IntRange(1), default=1, show_default=True, metavar="N",
              help="Trials at once, each in a process of its own.")  # fmt: skip
@SETTINGS
@DEVICE
@click.option("--isolate/--no-isolate", default=None,
              help="As for `mubench run`.")  # fmt: skip
@click.option("--out", type=click.Path(dir_okay=False, path_type=Path), metavar="FILE",
              help="Preset file.  [default: tuned-METHOD-TASK.toml]")  # fmt: skip
def tune(
    reference: str,
    task_name: str,
    on: str,
    problems: int,
    golds: int | None,
    trials: int | None,
    epochs: float | None,
    most_delta: float | None,
    check: bool,
    seed: int,
    workers: int,
    settings: tuple[str, ...],
    device: str,
    isolate: bool | None,
    out: Path | None,
) -> None:
    """Chooses a method's parameters without a gold of any scored case.

    Each trial runs the method on problems whose gold is known, and is scored by its margin
    distance to that gold. What is best becomes a preset file for --preset. The same command goes on
    with a search that was killed.
    """
    with usage_errors():
        from mubench._util.files import write_atomic
        from mubench._util.workers import WorkerLost
        from mubench.method.parameters import parse_settings
        from mubench.run.machine import pick_device
        from mubench.task.installed import load_task
        from mubench.training.loop import Diverged
        from mubench.tune.preset_file import preset_toml
        from mubench.tune.tuning import Request, tune

        request = Request(
            reference=reference,
            task=load_task(task_name),
            on="twin" if on == "twin" else "cases",
            num_problems=problems,
            golds=golds,
            trials=trials,
            epochs=epochs,
            most_delta=most_delta,
            check=check,
            seed=seed,
            workers=workers,
            isolate=isolate,
            fixed=parse_settings(settings),
        )
        try:
            found = tune(request, pick_device(device), _tell)
        except Diverged as error:
            raise click.ClickException(f"training {request.task.id} diverged: {error}") from None
        except WorkerLost as error:
            raise click.ClickException(
                f"training {request.task.id} broke off: {error}; the same command goes on"
            ) from None
        content = preset_toml(found.method, found.settings, found.tuned)
    file = out or Path(f"tuned-{found.method}-{request.task.name}.toml")
    write_atomic(file, content.encode())
    click.echo(_table(found))
    say(f"preset: {file}, for --preset")


def _tell(outcome: "Outcome", epochs: float) -> None:
    """A line about a trial that ended."""
    name = f"trial {outcome.number}" + " (default)" * outcome.is_default
    values = ", ".join(f"{name}={_text(value)}" for name, value in outcome.settings.items())
    status = "" if outcome.status == "ok" else f", {outcome.status}"
    if outcome.scores and outcome.scores[-1].status == "ok":
        found = f"margin distance {outcome.objective:.3f}, δ {outcome.delta_signed:+.1f}{status}"
    else:
        found = outcome.status
    say(f"{name}: {found}; {epochs:.2f} epochs so far{f'; {values}' if values else ''}")


def _text(value: object) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _table(found: "Found") -> str:
    from mubench._util.tables import plain

    def cells(outcome: "Outcome", number: int) -> list[str]:
        """Margin distance, signed delta and cost on a problem; empty where a trial never came."""
        if number >= len(outcome.scores) or outcome.scores[number].status != "ok":
            return ["", "", ""]
        score = outcome.scores[number]
        return [
            f"{score.margin_distance:.3f}",
            f"{score.delta_signed:+.1f}",
            f"{score.epochs_equivalent:.2f}",
        ]

    rows = [
        [problem.label, f"{found.best.scores[number].nothing:.3f}",
         *cells(found.default, number), *cells(found.best, number)]
        for number, problem in enumerate(found.problems)
    ]  # fmt: skip
    headers = ["problem", "nothing", "default", "δ", "epochs", "best", "δ", "epochs"]
    lines = [plain(rows, headers, "lrrrrrrr"), ""]
    chosen = "the default" if found.best.is_default else f"trial {found.best.number}"
    lines.append(
        f"Margin distance to the golds. Best of {found.tuned['trials']} trials: {chosen}; the "
        f"search cost {found.tuned['epochs_equivalent']:.2f} epochs-equivalent."
    )
    if found.agreement:
        checked = found.agreement
        lines.append(
            f"On tuning cases, {checked.num_trials} trials have an order that agrees by "
            f"{checked.spearman:+.2f} (Spearman) with that on twins, for "
            f"{checked.epochs_equivalent:.2f} epochs-equivalent more."
        )
        if checked.among_others is not None:
            lines.append(
                f"A tuning case agrees with the others by {checked.among_others:+.2f}: no twin can "
                "be expected to agree by much more."
            )
    lines += [f"  {name} = {_text(value)}" for name, value in found.best.settings.items()]
    return "\n".join(lines)
