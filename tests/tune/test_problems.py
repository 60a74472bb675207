"""Problems with a known gold: what is in them, and that none of them is scored."""

import pytest
import torch

from mubench._util.errors import UserError
from mubench.gold.library import GoldLibrary
from mubench.gold.loaded import LoadedTask
from mubench.tune.problems import (
    choose_problems,
    originals_of,
    outputs_of,
    prepare,
    tuning_task,
)


@pytest.fixture(scope="module")
def tuning(tiny_task, tiny_store, tiny):
    loaded = LoadedTask(tuning_task(tiny_task, golds=1, seed=0), torch.device("cpu"))
    return GoldLibrary(loaded, tiny_store)


@pytest.fixture(scope="module")
def twin(tuning):
    (problem,) = choose_problems(tuning.loaded, "twin", 1, 0)
    return problem, prepare(tuning, problem)


def images(samples):
    return {image.numpy().tobytes() for image in samples.images}


def test_a_twin_knows_its_forget_set_and_its_gold_is_the_original(tuning, twin):
    problem, known = twin
    loaded = tuning.loaded
    forget, _ = loaded.split(problem.case)
    assert set(known.forget.labels.tolist()) == set(forget.labels.tolist())
    assert len(known.forget) <= len(forget)
    assert len(known.retain) == len(loaded.train)
    original = tuning.model(loaded.original(problem.case, 0))
    assert (known.golds.right_RN == outputs_of(loaded, original, known.forget).right_RN).all()
    start = outputs_of(loaded, known.start, known.forget)
    assert start.accuracy >= known.golds.accuracy
    assert known.making_epochs > 0


def test_other_originals_are_the_golds_of_a_twin_if_there_are_any(tiny_task, tuning):
    def num_golds(originals, golds=None, seed=0):
        measure = tiny_task.measure.model_copy(update={"originals": originals})
        task = tuning_task(tiny_task.model_copy(update={"measure": measure}), 1, 0)
        loaded = LoadedTask(task, torch.device("cpu"))
        (one,) = choose_problems(loaded, "twin", 1, seed, golds)
        start, *others = originals_of(loaded, one)
        assert start.key == loaded.original(one.case, seed).key
        assert start.seed not in [ref.seed for ref in others]
        return len(others)

    found = [num_golds(1), num_golds(3), num_golds(1, 1), num_golds(3, 1, seed=2), num_golds(3, 0)]
    assert found == [0, 2, 1, 1, 0]


def test_the_method_gets_none_of_it_as_held_out(tuning, twin):
    _, known = twin
    held_out = images(tuning.loaded.holdout)
    assert images(known.holdout) | images(known.forget) == held_out
    assert not images(known.holdout) & images(known.forget)


def test_a_twin_is_made_once(tuning, twin, monkeypatch):
    problem, known = twin
    monkeypatch.setattr("mubench.tune.problems._make_twin", None)
    again = prepare(tuning, problem)
    assert again.making_epochs == known.making_epochs
    for one, other in zip(again.start.parameters(), known.start.parameters(), strict=True):
        assert torch.equal(one, other)


def test_no_tuning_case_has_a_scored_forget_set_or_gold(tuning, tiny):
    scored = {tiny.forget_sha256(case) for case in tiny.cases}
    golds = {ref.key for case in tiny.cases for ref in tiny.golds(case)}
    for case in tuning.loaded.cases:
        assert tuning.loaded.forget_sha256(case) not in scored
        assert not golds & {ref.key for ref in tuning.loaded.golds(case)}
        assert tuning.loaded.originals[0].key == tiny.originals[0].key


def test_problems_are_of_different_cases_and_another_seed_draws_others(tuning):
    chosen = choose_problems(tuning.loaded, "case", 3, 0)
    assert len({one.case for one in chosen}) == 3
    assert len(choose_problems(tuning.loaded, "case", 99, 0)) == 4
    orders = [choose_problems(tuning.loaded, "case", 4, seed) for seed in range(5)]
    assert len({tuple(one.case.id for one in order) for order in orders}) > 1


@pytest.fixture(scope="module")
def whole(tiny_task):
    """The tiny task with whole classes, of which it scores b and d."""
    forget = tiny_task.forget.model_copy(update={"kind": "class", "sizes": ()})
    return tiny_task.model_copy(update={"forget": forget})


def test_whole_classes_are_tuned_on_classes_that_are_not_scored(whole, tiny):
    names = tiny.data.class_names
    loaded = LoadedTask(tuning_task(whole, 1, 0, names), torch.device("cpu"))
    chosen = choose_problems(loaded, "case", 99, 0)
    assert {one.case.class_name for one in chosen} == set(names) - {"b", "d"}
    scored = LoadedTask(whole, torch.device("cpu"))
    keys = {ref.key for case in scored.cases for ref in scored.golds(case)}
    assert not keys & {ref.key for one in chosen for ref in loaded.golds(one.case)}


def test_whole_classes_have_no_twin(whole, tiny):
    loaded = LoadedTask(tuning_task(whole, 1, 0, tiny.data.class_names), torch.device("cpu"))
    with pytest.raises(UserError, match="--on cases"):
        choose_problems(loaded, "twin", 1, 0)


def test_a_task_that_scores_every_class_leaves_none_to_tune_on(whole, tiny):
    forget = whole.forget.model_copy(update={"classes": tiny.data.class_names})
    with pytest.raises(UserError, match="leaves none to tune on"):
        tuning_task(whole.model_copy(update={"forget": forget}), 1, 0, tiny.data.class_names)
