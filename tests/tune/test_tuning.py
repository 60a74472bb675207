"""Tuning as a whole: the best parameter is found, and no gold of a scored case is touched."""

import pytest
import torch

from mubench._util.cache import Store
from mubench._util.errors import UserError
from mubench.gold.bundle import export_bundle
from mubench.gold.library import GoldLibrary
from mubench.gold.loaded import LoadedTask
from mubench.gold.train import train
from mubench.tune.problems import choose_problems, tuning_task
from mubench.tune.tuning import Request, tune
from tests.helpers.packages import bring_tasks


def tuned(reference, task, **changes):
    given = {"num_problems": 1, "trials": 5, "isolate": False, "fixed": {}} | changes
    request = Request(reference=reference, task=task, **given)
    told = []
    found = tune(request, torch.device("cpu"), lambda one, _: told.append(one))
    return found, told


@pytest.fixture
def forbidden(tiny, monkeypatch):
    """No model or readout of a scored gold may be asked for."""
    keys = {ref.key for case in tiny.cases for ref in tiny.golds(case)}
    keys |= {tiny.readout_key(ref, case) for case in tiny.cases for ref in tiny.golds(case)}
    for name in ("read", "holds", "write", "lock"):
        true = getattr(Store, name)

        def guarded(self, kind, key, *rest, _true=true, **named):
            assert key not in keys, f"the {kind} of a scored gold"
            return _true(self, kind, key, *rest, **named)

        monkeypatch.setattr(Store, name, guarded)
    return keys


def test_the_search_beats_the_default_and_touches_no_scored_gold(noisy, tiny_task, forbidden):
    found, told = tuned(noisy, tiny_task)
    assert len(told) == 5
    assert told[0].is_default
    assert found.settings["noise"] < 0.5
    assert found.best.objective < found.default.objective
    assert found.tuned["task"] == "tiny@1"
    assert found.tuned["spec_sha"] == tiny_task.spec_sha
    assert found.tuned["epochs_equivalent"] > found.tuned["making_epochs_equivalent"] > 0
    again, told = tuned(noisy, tiny_task)
    assert told == []
    assert again.settings == found.settings
    _, told = tuned(noisy, tiny_task, trials=6)
    assert len(told) == 1


def test_other_draws_have_golds_of_their_own(noisy, tiny_task, tiny_store, forbidden):
    loaded = LoadedTask(tuning_task(tiny_task, 1, 3), torch.device("cpu"))
    (problem,) = choose_problems(loaded, "case", 1, 3)
    for ref in loaded.golds(problem.case):
        train(GoldLibrary(loaded, tiny_store), ref)
    checked, _ = tuned(noisy, tiny_task, check=True, seed=3, fixed={"fixed": 5})
    assert checked.tuned["spearman_with_cases"] == round(checked.agreement.spearman, 3) > 0.5
    with pytest.raises(UserError, match="needs --on twin"):
        tuned(noisy, tiny_task, on="cases", check=True)
    found, _ = tuned(noisy, tiny_task, on="cases", seed=3, fixed={"extra": {"rounds": 1}})
    assert found.problems == [problem]
    assert found.settings["extra"] == {"rounds": 1}
    assert found.tuned["making_epochs_equivalent"] == pytest.approx(3.0, rel=0.1)


def test_another_original_as_the_gold_of_a_twin_is_trained_and_counted(
    noisy, tiny_task, tiny, tiny_store, forbidden
):
    train(GoldLibrary(tiny, tiny_store), tiny.ref(1, None))
    found, _ = tuned(noisy, tiny_task, golds=1, trials=3, fixed={"fixed": 4})
    assert found.tuned["golds"] == ["original 1"]
    assert found.tuned["making_epochs_equivalent"] > tiny_task.train.epochs
    with pytest.raises(UserError, match="needs a gold"):
        tuned(noisy, tiny_task, on="cases", golds=0)


def test_what_cannot_be_tuned_says_why(noisy, tiny_task):
    with pytest.raises(UserError, match="needs golds"):
        tuned("oracle", tiny_task)
    with pytest.raises(UserError, match="needs golds"):
        tuned("oracle-soft", tiny_task)
    with pytest.raises(UserError, match="a twin has none: tune on other draws"):
        tuned("amnesiac-subtract", tiny_task)
    with pytest.raises(UserError, match="none of 1 trials"):
        tuned(noisy, tiny_task, trials=1, fixed={"fixed": 2})


@pytest.mark.slow
def test_several_trials_at_once(noisy, tiny_task):
    found, told = tuned(noisy, tiny_task, workers=2, trials=4, seed=1, isolate=True)
    assert sum(one.is_default for one in told) == 1
    assert len(told) == found.tuned["trials"] == 4


def test_an_original_that_comes_along_is_not_trained(
    noisy, library, tiny_task, tmp_path, monkeypatch
):
    export_bundle(library, library.loaded.cases[:1], tmp_path / "made.zip")
    content = (tmp_path / "made.zip").read_bytes()
    bring_tasks(tmp_path / "site", "originals_come_along", {"tiny.zip": content})
    monkeypatch.syspath_prepend(tmp_path / "site")
    monkeypatch.setenv("MUBENCH_CACHE", str(tmp_path / "cache"))
    trained = []
    monkeypatch.setattr("mubench.tune.tuning.build", lambda _, refs: trained.extend(refs))
    tuned(noisy, tiny_task, golds=0)
    assert trained == []
