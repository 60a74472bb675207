"""What methods that train on D_f share: how often each sample is met, and an end within a pass."""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from mubench import Problem, Samples

MOST_READ = 500  # samples of D_f that one look at its accuracy reads


def beside_retain(
    problem: Problem, forget: Samples, *, visits: int, epochs: int, retain_share: float
) -> tuple[Samples, Tensor]:
    """D_f, repeated so that so many epochs meet each sample `visits` times, and some of D_r.

    In one pass over D a sample is met once, however long the pass. So what a method does to D_f
    would depend on how many epochs the task has.

    Args:
        problem: must give `retain`.
        forget: D_f, with any labels.
        visits: least number of times that each of its samples is met.
        epochs: passes over what is returned.
        retain_share: of D_r; no less than there are visits, as far as D_r goes, because on D_f
            alone a model collapses to its classes.

    Returns:
        The samples, and for each its position in D_f, or -1 for D_r.
    """
    position_M = torch.arange(len(forget), device=problem.device).repeat(-(-visits // epochs))
    replay = problem.subset(
        problem.retain, max(round(retain_share * len(problem.retain)), len(position_M))
    )
    samples = forget[position_M] + replay
    return samples, torch.cat([position_M, position_M.new_full((len(replay),), -1)])


def once_at_most(
    problem: Problem, model: nn.Module, samples: Samples, accuracy: float
) -> Callable[[], bool]:
    """For `after_step`: true once the model's accuracy on samples is at most so high.

    Args:
        problem: computes the answers.
        model: in training.
        samples: with their true labels; some of them, if they are many.
        accuracy: that is low enough.
    """
    some = problem.subset(samples, MOST_READ)

    def is_low() -> bool:
        return bool(problem.correct(model, some).float().mean() <= accuracy)

    return now_and_then(problem, len(some), is_low)


def now_and_then(problem: Problem, num_read: int, ask: Callable[[], bool]) -> Callable[[], bool]:
    """For `after_step`: asks every few steps, so that asking costs a third of the training or less.

    Args:
        problem: tells the size of a batch.
        num_read: samples that pass forward at each question.
        ask: the question.
    """
    every = max(1, -(-num_read // problem.recipe.batch_size))
    steps = 0

    def asked() -> bool:
        nonlocal steps
        steps += 1
        return steps % every == 0 and ask()

    return asked
