"""The training loop: its bits, its schedules and batches, and predictions."""

import dataclasses

import pytest
import torch
from torch import nn

from mubench.task.data import Samples
from mubench.task.spec import ModelSpec
from mubench.training import loop, networks
from mubench.training.loop import (
    Pipeline,
    TrainState,
    batches,
    fit,
    learning_rate,
    num_batches,
    predict,
)
from mubench.training.networks import Architecture


def same_weights(one, other):
    pairs = zip(one.state_dict().values(), other.state_dict().values(), strict=True)
    return all(torch.equal(a, b) for a, b in pairs)


@pytest.fixture
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def changed(tiny, **update):
    recipe = tiny.task.train.model_copy(update=update)
    return recipe, Pipeline(tiny.task.data, recipe, tiny.device)


def test_same_seed_same_bits_other_seed_other_bits(tiny, one_thread):
    recipe, pipeline = changed(tiny, flip=True, crop=1)
    models = [tiny.fresh(1) for _ in range(3)]
    for model, seed in zip(models, (5, 5, 6), strict=True):
        fit(model, tiny.train, recipe, pipeline, seed=seed)
    assert same_weights(models[0], models[1])
    assert not same_weights(models[0], models[2])


def test_training_leaves_the_global_generator_alone(tiny):
    torch.manual_seed(3)
    expected = torch.rand(4)
    torch.manual_seed(3)
    fit(tiny.fresh(1), tiny.train, tiny.task.train, tiny.pipeline, seed=5)
    assert torch.equal(torch.rand(4), expected)


@pytest.mark.parametrize(
    "update",
    [{}, {"optimizer": "adamw", "lr": 1e-3}, {"momentum": 0.0, "nesterov": False}],
)
def test_a_resumed_training_ends_with_the_same_bits(tiny, one_thread, update):
    recipe, pipeline = changed(tiny, **update)
    whole = tiny.fresh(1)
    log = fit(whole, tiny.train, recipe, pipeline, seed=5)
    kept = {}

    def stop_after_one(make_state):
        state = make_state()
        kept["state"] = TrainState({k: v.clone() for k, v in state.tensors.items()}, state.log)
        return True

    fit(tiny.fresh(1), tiny.train, recipe, pipeline, seed=5, on_epoch=stop_after_one)
    assert len(kept["state"].log) == 1
    resumed = tiny.fresh(9)
    resumed_log = fit(resumed, tiny.train, recipe, pipeline, seed=5, resume=kept["state"])
    assert same_weights(whole, resumed)
    assert resumed_log == log


def test_divergence_is_noticed_at_once(tiny):
    recipe, pipeline = changed(tiny, lr=1e9, schedule="constant", epochs=50)
    steps = []
    with pytest.raises(loop.Diverged, match="loss is"):
        fit(tiny.fresh(1), tiny.train, recipe, pipeline, seed=0, on_step=steps.append)
    assert len(steps) < num_batches(len(tiny.train), recipe.batch_size) * 2


def test_the_log_has_exact_means(tiny):
    """At rate ~0 and in one batch, the logged numbers are those of the untouched model."""
    recipe, pipeline = changed(tiny, lr=1e-30, epochs=1, schedule="constant", batch_size=1000)
    model = tiny.fresh(1)
    (line,) = fit(model, tiny.train, recipe, pipeline, seed=0)
    model.train()
    logits = model(pipeline.normalise(tiny.train.images))
    expected = nn.functional.cross_entropy(logits, tiny.train.labels)
    assert line.loss == pytest.approx(expected.item(), rel=1e-4)
    assert line.accuracy == pytest.approx(
        logits.argmax(1).eq(tiny.train.labels).float().mean().item(), abs=0.01
    )


@pytest.mark.parametrize("warmup", [0.2, 0.5])
def test_one_cycle_is_torchs(tiny, warmup):
    recipe, _ = changed(tiny, warmup=warmup)
    optimizer = torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=1.0)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, recipe.lr, total_steps=100, pct_start=warmup, cycle_momentum=False
    )
    for step in range(100):
        rate = optimizer.param_groups[0]["lr"]
        assert learning_rate(recipe, step, 100) == pytest.approx(rate, rel=1e-9)
        optimizer.step()
        if step < 99:
            schedule.step()


def test_cosine_is_torchs(tiny):
    recipe, _ = changed(tiny, schedule="cosine")
    optimizer = torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=recipe.lr)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=50)
    for step in range(50):
        rate = optimizer.param_groups[0]["lr"]
        assert learning_rate(recipe, step, 50) == pytest.approx(rate, rel=1e-6)
        optimizer.step()
        schedule.step()


def test_step_schedule_divides_after_its_milestones(tiny):
    recipe, _ = changed(tiny, schedule="step", epochs=4, milestones=(2, 3), lr=1.0, gamma=0.1)
    rates = [learning_rate(recipe, step, 8) for step in range(8)]
    assert rates == pytest.approx([1, 1, 1, 1, 0.1, 0.1, 0.01, 0.01])


@pytest.mark.parametrize("n", [1, 2, 7, 8, 9, 16, 17])
def test_batches_give_each_sample_once_and_never_one_alone(tiny, n):
    samples = Samples(tiny.train.images[:n], tiny.train.labels[:n])
    got = list(batches(samples, tiny.pipeline, batch_size=8, seed=1))
    # batch norm cannot be trained on one sample: where there is no other, it is given twice
    expected = list(range(n)) if n > 1 else [0, 0]
    assert sorted(torch.cat([batch.index_N for batch in got]).tolist()) == expected
    assert len(got) == num_batches(n, 8)
    assert all(len(batch.labels_N) > 1 for batch in got)
    for batch in got:
        assert torch.equal(batch.labels_N, samples.labels[batch.index_N])
        assert torch.equal(
            batch.images_NCHW, tiny.pipeline.normalise(samples.images[batch.index_N])
        )


def test_normalise_is_scale_then_standardise(tiny):
    images = tiny.train.images[:5]
    mean = torch.tensor(tiny.task.data.mean).view(1, 3, 1, 1)
    std = torch.tensor(tiny.task.data.std).view(1, 3, 1, 1)
    expected = (images.float() / 255 - mean) / std
    assert torch.allclose(tiny.pipeline.normalise(images), expected, atol=1e-5)


def test_flips_mirror_about_half_and_crops_shift_within_the_padding(tiny):
    _, pipeline = changed(tiny, flip=True)
    images = torch.randint(256, (400, 3, 8, 8), dtype=torch.uint8)
    out = pipeline.augment(images, torch.Generator().manual_seed(0))
    kept = (out == images).flatten(1).all(1)
    mirrored = (out == images.flip(3)).flatten(1).all(1)
    assert bool((kept | mirrored).all())
    assert 0.35 < mirrored.float().mean() < 0.65

    _, pipeline = changed(tiny, crop=2)
    out = pipeline.augment(images, torch.Generator().manual_seed(0))
    padded = nn.functional.pad(images, (2, 2, 2, 2))
    windows = {(y, x): padded[:, :, y : y + 8, x : x + 8] for y in range(5) for x in range(5)}
    hits = torch.stack([(out == window).flatten(1).all(1) for window in windows.values()])
    assert bool(hits.any(0).all())  # every image is one of the 25 windows
    assert bool(hits.any(1).all())  # and every window occurs
    assert out.dtype == torch.uint8


def test_accuracy_over_a_ragged_last_batch_is_exact(tiny, monkeypatch):
    model = tiny.fresh(3).eval()
    whole = predict(model, tiny.train, tiny.pipeline)
    monkeypatch.setattr(loop, "SCORING_BATCH", 7)  # 240 = 34 * 7 + 2
    ragged = predict(model, tiny.train, tiny.pipeline)
    assert torch.allclose(whole, ragged, atol=1e-5)
    assert torch.equal(whole.argmax(1), ragged.argmax(1))


def test_predict_gives_each_layer_its_mode_back(tiny):
    model = tiny.fresh(3).train()
    frozen = model.body[1][1].eval()
    predict(model, tiny.test, tiny.pipeline)
    assert [layer for layer in model.modules() if not layer.training] == [frozen]


def test_predict_gives_the_training_flag_back_and_ignores_autocast(tiny):
    model = tiny.fresh(3).train()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    out = predict(model, tiny.test, tiny.pipeline)
    assert model.training
    assert out.dtype == torch.float32
    assert all(torch.equal(before[name], value) for name, value in model.state_dict().items())


def test_bfloat16_changes_the_forward_pass_not_the_weights_type(tiny):
    recipe, pipeline = changed(tiny, precision="bfloat16")
    model = tiny.fresh(1)
    fit(model, tiny.train, recipe, pipeline, seed=5)
    assert {p.dtype for p in model.parameters()} == {torch.float32}
    exact = tiny.fresh(1)
    fit(exact, tiny.train, tiny.task.train, pipeline, seed=5)
    assert not same_weights(model, exact)


def test_the_log_is_plain_data(tiny):
    (line, *_) = fit(tiny.fresh(1), tiny.train, tiny.task.train, tiny.pipeline, seed=5)
    assert set(dataclasses.asdict(line)) == {"epoch", "lr", "loss", "accuracy"}


@pytest.fixture
def elsewhere(tiny, monkeypatch):
    """The tiny task's samples and pipeline on a device without numbers.

    That device refuses what a GPU refuses: tensors of two devices in one operation.
    """
    monkeypatch.setattr(torch.Tensor, "item", lambda _: 0.5)
    device = torch.device("meta")
    return tiny.train.to(device), Pipeline(tiny.task.data, tiny.task.train, device)


@pytest.mark.parametrize("name", ["allcnn", "resnet18", "vit"])
@pytest.mark.parametrize("optimizer", ["sgd", "adamw"])
def test_no_step_mixes_devices(tiny, elsewhere, name, optimizer):
    samples, pipeline = elsewhere
    recipe = tiny.task.train.model_copy(
        update={"epochs": 1, "optimizer": optimizer, "flip": True, "crop": 1}
    )
    pipeline.flip, pipeline.crop = True, 1
    spec = ModelSpec(name=name, width={"allcnn": 8, "resnet18": 8, "vit": 24}[name])
    model = Architecture(spec, 4, 3, 8).fresh(0, "meta")
    (line,) = loop.fit(model, samples, recipe, pipeline, seed=0)
    assert line.epoch == 1
    assert loop.predict(model, samples, pipeline).shape == (len(samples), 4)
    assert networks.input_layer(model) is not None
    assert {value.device.type for value in model.state_dict().values()} == {"meta"}


def test_a_gpu_is_timed_over_many_steps_in_a_row(elsewhere, tiny, monkeypatch):
    """It works on while it is given more, so a step alone takes longer than one of many."""
    samples, pipeline = elsewhere
    given, waits = [], []
    monkeypatch.setattr(loop, "fit", lambda _, some, *__, **___: given.append(len(some)))
    monkeypatch.setattr(loop, "synchronise", waits.append)
    monkeypatch.setattr(loop, "GPU_TIMED_STEPS", 4)
    ticks = iter(range(100))
    monkeypatch.setattr(loop.time, "perf_counter", lambda: next(ticks))
    seconds = loop.step_seconds(None, samples, tiny.task.train, pipeline)
    assert given == [4 * tiny.task.train.batch_size] * 6
    assert seconds == [1 / 4] * 5
    assert waits == [samples.labels.device] * 12
