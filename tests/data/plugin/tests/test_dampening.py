from mubench_dampening.dampening import Dampening

from mubench.checks import parametrize_with_checks


@parametrize_with_checks([Dampening(), Dampening(alpha=2.0, strength=0.5)])
def test_conforms(check):
    check()
