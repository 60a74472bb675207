"""The loss whose squared gradients per sample are the diagonal of the Fisher information."""

from torch import Tensor

from mubench import Batch


def under_own_labels(logits_1K: Tensor, _: Batch) -> Tensor:
    """Of one sample, (K,): sqrt(p_y) CE(x, y) for each label y, with p_y as a constant.

    The sum over y of squared gradients is that of p_y (d CE(x, y))^2: the expectation over the
    labels that the model itself would draw. A draw of one label would miss what counts, since in a
    memorised sample that is due to labels of small p_y.
    """
    log_p_K = logits_1K[0].log_softmax(0)
    return -(0.5 * log_p_K.detach()).exp() * log_p_K
