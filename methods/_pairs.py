"""Batches of a second set, for a loss that sees two sets side by side."""

from collections.abc import Iterator

from mubench import Batch, Problem, Samples


def endless(problem: Problem, samples: Samples, batch_size: int | None = None) -> Iterator[Batch]:
    """Batches of samples without end; each pass is shuffled and augmented anew.

    Args:
        problem: makes the batches.
        samples: to go through again and again.
        batch_size: samples per batch. None: the recipe's.
    """
    while True:
        yield from problem.batches(samples, batch_size=batch_size)
