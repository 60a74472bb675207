"""Two kinds of problems agree where they order the trials alike."""

import pytest

from mubench._util.errors import UserError
from mubench.tune.agreement import agreement
from mubench.tune.study import Outcome
from mubench.tune.trials import InThisProcess
from tests.helpers.tuning import score


def outcomes(*values, status="ok"):
    return [
        Outcome(number, status, {"lr": value}, (score(value),), is_default=False)
        for number, value in enumerate(values)
    ]


def compared(found, of_lr, num_others=2):
    def run(settings, number):
        return lambda: of_lr(settings["lr"]) if number < 2 else score(-settings["lr"])

    return agreement(found, 1, run, num_others, InThisProcess())


def test_the_same_order_is_one_and_the_reverse_minus_one():
    found = outcomes(0.1, 0.2, 0.4)
    same = compared(found, lambda lr: score(lr**2))
    assert (same.spearman, same.num_trials, same.epochs_equivalent) == (pytest.approx(1), 3, 6)
    assert compared(found, lambda lr: score(-lr)).spearman == pytest.approx(-1)


def test_what_may_be_expected_is_how_the_other_problems_agree_among_themselves():
    found = outcomes(0.1, 0.2, 0.4)
    two = compared(found, lambda lr: score(3 * lr))
    assert two.among_others == pytest.approx(1)
    # Two problems agree, and the third is against each: with the mean of the others it is -1, and
    # each of the two meets a mean that the larger slope decides.
    three = compared(found, lambda lr: score(3 * lr), num_others=3)
    assert three.among_others == pytest.approx((1 + 1 - 1) / 3)
    assert compared(found, lambda lr: score(lr), num_others=1).among_others is None


def test_what_did_not_run_everywhere_does_not_count():
    found = [*outcomes(0.1, 0.2, 0.4), Outcome(4, "pruned", {"lr": 9.0}, (), is_default=False)]
    assert compared(found, lambda lr: score(lr)).num_trials == 3
    with pytest.raises(UserError, match="only 2 trials ran"):
        compared(found, lambda lr: score(lr, status="error" if lr > 0.3 else "ok"))
