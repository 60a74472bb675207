"""Membership inference: can an attacker tell the forget set from images never trained on?

One attack, `mia_lr_loss` (SCRUB, arXiv:2302.09880; NeurIPS-23 unlearning starting kit): logistic
regression on the loss, members against a disjoint set of non-members, always judged out of fold.
Its ideal is not 0.5 but what a gold gives, so read it through `two_sided_gap`.

It is a population attack: cheap and weak. Passing it is no proof of privacy (arXiv:2403.01218).
SalUn's `mia_svc_conf` is left out: it fits on the model's confidence in retain images, and a
readout holds no logits of those.

Suffixes: N members, M non-members, K classes.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.special import log_softmax

from mubench._util.arrays import Bools, Floats, Ints, Logits

FOLDS = 5
REPEATS = 2
LOSS_CAP = 100.0
FPR = 0.01


@dataclass(frozen=True)
class Attack:
    """What one membership inference attack achieved; every number is out of fold."""

    auc: float
    """Area under the ROC curve: mean over folds, then over repeats."""
    accuracy: float
    """Balanced: mean of the shares of members and of non-members that are told rightly."""
    tpr: float | None
    """Share of members found at no more than 1% false positives; None below 100 non-members."""
    count: int
    """Members and non-members together."""


def loss_per_sample(logits_NK: Logits, labels_N: Ints) -> Floats:
    """The loss of each sample in nats, in float64, shape (N,)."""
    log_probs_NK = log_softmax(logits_NK.astype(np.float64), axis=1)
    return -np.take_along_axis(log_probs_NK, labels_N[:, None], axis=1)[:, 0]


def mia_lr_loss(member_losses_N: Floats, nonmember_losses_M: Floats) -> Attack | None:
    """Logistic regression on the loss, by repeated stratified cross-validation.

    All samples of both sides are used; class weights balance unequal sides, so 100 members against
    500 non-members are not answered by "never a member". The loss is capped at 100 and, unlike in
    the starting kit, standardised on the training folds: the solver's stopping rule is absolute and
    would not start on the tiny losses of a confident model. The direction is learnt, so a forget
    set with conspicuously high losses is found as well as one with low losses.

    The AUC is averaged over folds: scores pooled over folds have an AUC biased below 0.5. The TPR
    at 1% FPR needs more samples than a fold has and is taken per repeat from all folds together.
    Below 100 non-members a single false positive is more than 1%, so it is left out. With 100
    members it moves in steps of one point, and its standard error at chance is one point too.

    The folds depend on the order and the number of samples alone, so all models of a case are
    attacked on the same folds and the result is deterministic.

    Args:
        member_losses_N: cross-entropy in nats on D_f, in D_f order.
        nonmember_losses_M: the same on images of the same classes that the model never saw.

    Returns:
        The attack, or None where a side has fewer samples than there are folds.

    Source: arXiv:2302.09880; NeurIPS-23 unlearning starting kit, `simple_mia` (10 splits, as here).
    """
    if min(len(member_losses_N), len(nonmember_losses_M)) < FOLDS:
        return None
    # here: a second to import, and only scoring needs it
    from sklearn.linear_model import LogisticRegression
    from sklearn.metrics import roc_auc_score
    from sklearn.model_selection import RepeatedStratifiedKFold
    from sklearn.preprocessing import StandardScaler

    losses = np.concatenate([member_losses_N, nonmember_losses_M])
    features = np.minimum(losses, LOSS_CAP)[:, None]
    is_member = np.repeat([True, False], [len(member_losses_N), len(nonmember_losses_M)])
    splits = RepeatedStratifiedKFold(n_splits=FOLDS, n_repeats=REPEATS, random_state=0)
    scores = np.empty((REPEATS, len(features)))  # positive: judged a member
    aucs = []
    for index, (fitted, judged) in enumerate(splits.split(features, is_member)):
        scaler = StandardScaler().fit(features[fitted])
        model = LogisticRegression(class_weight="balanced")
        model.fit(scaler.transform(features[fitted]), is_member[fitted])
        fold_scores = model.decision_function(scaler.transform(features[judged]))
        scores[index // FOLDS, judged] = fold_scores
        aucs.append(roc_auc_score(is_member[judged], fold_scores))
    found = np.mean(scores[:, is_member] > 0)
    cleared = np.mean(scores[:, ~is_member] <= 0)
    tpr = None
    if len(nonmember_losses_M) * FPR >= 1:
        tpr = float(np.mean([_tpr(is_member, row) for row in scores]))
    return Attack(float(np.mean(aucs)), float((found + cleared) / 2), tpr, len(features))


def _tpr(is_member: Bools, scores: Floats) -> float:
    """The highest true positive rate with a false positive rate of at most 1%."""
    from sklearn.metrics import roc_curve

    fpr, tpr, _ = roc_curve(is_member, scores, drop_intermediate=False)
    return float(tpr[fpr <= FPR].max())


def two_sided_gap(value: float, golds: Sequence[float]) -> float:
    """Mean over golds of |value - gold|: leaking less than a gold is a gap too."""
    return float(np.mean(np.abs(value - np.asarray(golds))))
