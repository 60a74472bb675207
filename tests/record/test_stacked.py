"""Many models at once score as one by one."""

import numpy as np
import pytest

from mubench.record.metrics import score
from mubench.record.readout import read_arrays, readout_bytes
from mubench.record.stacked import StackedReadouts, recompute


def test_recompute_is_score(lab):
    rng = np.random.default_rng(0)
    golds = lab.golds("a-50")[0]
    models = [lab.readout("a-50", rng, accuracy, 0.5) for accuracy in (0.0, 0.3, 0.7, 1.0)]

    def stack(readouts):
        return StackedReadouts.of([read_arrays(readout_bytes(r), "") for r in readouts])

    values, stderrs = recompute(stack(models), stack(golds))
    for row, model in enumerate(models):
        scores = score(model, golds)
        assert values.keys() == scores.keys()
        for name, each in values.items():
            assert each[row] == pytest.approx(scores[name].value, abs=1e-12)
        for name, each in stderrs.items():
            assert each[row] == pytest.approx(scores[name].stderr, abs=1e-12)
