"""What a model of a task is: its key."""

from mubench.gold.loaded import LoadedTask


def test_keys_follow_everything_that_determines_a_model_and_nothing_else(tiny, tiny_task):
    def keys(**update):
        task = tiny_task.model_copy(update=update)
        loaded = LoadedTask(task, tiny.device)
        return loaded.originals[0].key, loaded.golds(loaded.cases[0])[0].key

    original, gold = keys()
    recipe = tiny_task.train.model_copy(update={"lr": 0.05})
    assert keys(description="other words", measure=tiny_task.measure) == (original, gold)
    assert keys(name="another-task") == (original, gold)
    assert keys(train=recipe)[0] != original
    assert keys(train=recipe)[1] != gold
    # the original does not know the forget set, so all cases share it
    other = tiny_task.forget.model_copy(update={"sizes": (5,)})
    assert keys(forget=other)[0] == original
    assert keys(forget=other)[1] != gold
