"""The search: the default first, what is never chosen, and going on after a kill."""

import pytest

from mubench._util.errors import UserError
from mubench.tune import study
from mubench.tune.study import Limits, Search
from mubench.tune.trials import InThisProcess
from tests.helpers.tuning import LR, score, squared


@pytest.fixture
def search(tmp_path):
    made = []

    def begin(run=squared, num_problems=1, survey=False, **limits):
        limits = Limits(**{"trials": 12} | limits)
        file = tmp_path / "a/trials.sqlite"
        made.append(Search(file, [LR], limits, run, num_problems, survey=survey))
        return made[-1]

    yield begin
    for one in made:
        one.close()


def ended(search):
    told = []
    search.go_on(InThisProcess(), told.append)
    return told


def test_the_best_is_better_than_the_default_which_comes_first(search):
    one = search()
    outcomes = ended(one)
    assert [outcome.is_default for outcome in outcomes] == [True, *[False] * 11]
    assert outcomes[0].settings == {}
    assert one.best.objective == min(outcome.objective for outcome in outcomes) < 0.1
    assert one.outcomes == outcomes
    assert one.epochs_equivalent == 12


def test_an_epochs_limit_counts_the_problems_and_is_kept(search):
    one = search(epochs=10.5, making_epochs=5.0)
    assert len(ended(one)) == 5
    assert one.epochs_equivalent == 10


def test_the_default_runs_whatever_it_costs(search):
    (only,) = ended(search(epochs=0.1))
    assert only.is_default


def test_a_search_goes_on_after_a_kill(search):
    class Killed(BaseException):
        pass

    def dies(settings, number):
        if len(seen) == 4:
            raise Killed
        seen.append(settings)
        return squared(settings, number)

    seen = []
    first = search(dies)
    with pytest.raises(Killed):
        ended(first)
    first.close()
    again = search()
    assert len(again.outcomes) == 4
    broken = again._study.trials[4].params["lr"]
    told = ended(again)
    assert len(again.outcomes) == 12
    assert [one.is_default for one in again.outcomes] == [True, *[False] * 11]
    assert told[0].settings["lr"] == broken, "what the kill broke off comes first"
    drawn = [one.settings["lr"] for one in again.outcomes[1:]]
    assert len(set(drawn)) == len(drawn)


def test_a_kill_during_the_default_repeats_the_default(search):
    def dies(_settings, _number):
        raise KeyboardInterrupt

    first = search(dies)
    with pytest.raises(KeyboardInterrupt):
        ended(first)
    first.close()
    told = ended(search(trials=2))
    assert [one.is_default for one in told] == [True, False]


@pytest.mark.parametrize(
    ("changes", "limits", "status"),
    [
        ({"retrain_share": 0.6}, {"budget": 0.5}, "over budget"),
        ({"lost_accuracy": 0.02}, {}, "loses accuracy"),
        ({"delta_signed": -4.0}, {"most_delta": 3.0}, "delta too large"),
        ({"status": "diverged", "error": "it did"}, {}, "diverged: it did"),
    ],
)
def test_what_is_never_chosen(search, changes, limits, status):
    one = search(lambda *_: lambda: score(**changes), trials=3, **limits)
    assert [outcome.status for outcome in ended(one)] == [status] * 3
    assert one.best is None


def test_a_loss_within_the_noise_is_none(search):
    one = search(lambda *_: lambda: score(lost_accuracy=0.02, lost_stderr=0.015), trials=2)
    assert [outcome.status for outcome in ended(one)] == ["ok"] * 2


def test_a_job_that_breaks_off_is_a_trial_that_failed(search):
    def fails(_settings, _number):
        def job():
            raise RuntimeError("lost\nand more")

        return job

    one = search(fails, trials=2)
    assert [outcome.status for outcome in ended(one)] == ["error: RuntimeError: lost"] * 2


@pytest.mark.parametrize(("survey", "ends"), [(False, "pruned"), (True, "ok")])
def test_a_hopeless_trial_ends_early_but_in_a_survey(search, survey, ends):
    def job(settings, _number):
        return lambda: score(5.0 if num_jobs.append(settings) or len(num_jobs) > 20 else 0.5)

    num_jobs = []
    one = search(job, num_problems=2, trials=12, survey=survey)
    statuses = [outcome.status for outcome in ended(one)]
    assert statuses == ["ok"] * 10 + [ends] * 2
    assert len(num_jobs) == (24 if survey else 22)


def test_without_optuna_it_is_said_how_to_get_it(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "optuna", None)
    with pytest.raises(UserError, match=r"pip install 'mubench\[tune\]'"):
        study.optuna()
