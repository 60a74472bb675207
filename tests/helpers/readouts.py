"""Readouts made of chosen or of random outputs."""

import numpy as np

from mubench.record.readout import Readout, compact


def readout(true_probs, test_right=(1,), retain=(1, 1)):
    """Two classes, every label 0; `true_probs` are the outputs for class 0 on D_f."""
    p = np.asarray(true_probs, dtype=np.float64)
    predictions = 1 - np.asarray(test_right, dtype=np.int64)
    return Readout(
        forget_logits_NK=np.log(np.stack([p, 1 - p], axis=1)).astype(np.float32),
        forget_labels_N=np.zeros(len(p), np.int64),
        test_logits_MK=np.eye(2, dtype=np.float16)[predictions],
        test_predictions_M=predictions,
        test_labels_M=np.zeros(len(predictions), np.int64),
        retain_correct=retain[0],
        retain_total=retain[1],
    )


def random_readout(seed, n, m, k, case=0, shift=0.0):
    """Random logits; readouts with equal `case` and sizes have equal labels."""
    labels = np.random.default_rng([case, n, m, k]).integers(0, k, n + m)
    rng = np.random.default_rng([1, seed])
    logits = rng.normal(0, 2, (n + m, k)).astype(np.float32)
    logits[np.arange(n + m), labels] += 1
    logits[np.arange(n), labels[:n]] += shift
    return Readout(
        forget_logits_NK=logits[:n],
        forget_labels_N=labels[:n],
        test_logits_MK=compact(logits[n:]),
        test_predictions_M=logits[n:].argmax(axis=1),
        test_labels_M=labels[n:],
        retain_correct=int(rng.integers(0, 101)),
        retain_total=100,
    )


# Right on D_f:                    u: 1 1 0 1   g1: 1 0 0 1   g2: 1 1 0 0   (p > .5)
U = readout([0.8, 0.6, 0.3, 0.9], test_right=(1, 1, 1, 1, 0), retain=(90, 100))
G1 = readout([0.8, 0.4, 0.3, 0.6], test_right=(1, 1, 1, 0, 0), retain=(95, 100))
G2 = readout([0.6, 0.7, 0.2, 0.4], test_right=(1, 1, 1, 1, 1), retain=(80, 100))
G3 = readout([0.9, 0.9, 0.9, 0.9], test_right=(1, 1, 1, 1, 1), retain=(80, 100))
