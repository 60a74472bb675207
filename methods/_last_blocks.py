"""The end of a network, which is all that CF-k and EU-k train."""

from torch import nn

from mubench import Problem


def freeze_all_but_last(problem: Problem, model: nn.Module, blocks: int) -> list[nn.Module]:
    """Leaves only the last blocks and the classifier to be trained.

    Args:
        problem: knows the model's blocks.
        model: changed in place.
        blocks: how many before the classifier.

    Returns:
        What is left: the last blocks, the classifier last.
    """
    last = problem.stages(model)[-blocks - 1 :]
    model.requires_grad_(False)
    for block in last:
        block.requires_grad_()
    return last
