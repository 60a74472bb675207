"""A task with its data: its cases, their sets, the readout of a model."""

import numpy as np
import pytest
import torch

from mubench._util.errors import UserError
from mubench.gold import loaded
from mubench.gold.loaded import LoadedTask, load_once
from mubench.task.data import shard_numbers
from mubench.task.spec import parse_task
from tests.helpers.tiny import SHARDED


def test_the_readout_is_what_the_weights_say(library):
    tiny = library.loaded
    case = tiny.cases[0]
    ref = tiny.golds(case)[0]
    readout = library.readout(ref, ref.case).readout
    model = library.model(ref)
    forget, retain = tiny.split(case)
    with torch.no_grad():
        logits = model(tiny.pipeline.normalise(forget.images))
        correct = model(tiny.pipeline.normalise(retain.images)).argmax(1).eq(retain.labels).sum()
    assert np.allclose(readout.forget_logits_NK, logits.numpy(), atol=1e-5)
    assert readout.forget_labels_N.tolist() == forget.labels.tolist()
    assert (readout.retain_correct, readout.retain_total) == (int(correct), 234)
    assert len(readout.test_labels_M) == len(tiny.test) == 60


def test_d_f_and_d_r_of_a_case_make_up_d(tiny):
    for case in tiny.cases:
        forget, retain = tiny.split(case)
        assert len(forget) == int(case.id.rpartition("-")[2])
        assert len(set(forget.labels.tolist())) == 1
        images = sorted(bytes(image.numpy()) for image in (*forget.images, *retain.images))
        assert images == sorted(bytes(image.numpy()) for image in tiny.train.images)


def test_a_case_that_is_none_is_named_with_those_that_are(tiny):
    assert tiny.case("d-6") in tiny.cases
    with pytest.raises(UserError, match=r"no case 'b-7'; did you mean 'b-6'\? It has .*d-12"):
        tiny.case("b-7")


def test_data_is_read_once_for_each_task(tiny_task, monkeypatch):
    monkeypatch.setattr(loaded, "_last_loaded", None)
    cpu = torch.device("cpu")
    first = load_once(tiny_task, cpu)
    assert load_once(tiny_task, cpu) is first
    other = load_once(tiny_task.model_copy(update={"name": "another"}), cpu)
    assert other is not first
    assert other.task.name == "another"


def test_a_worker_lets_go_of_a_task_before_it_loads_the_next(tiny_task, monkeypatch):
    """Otherwise the data of both would be in the memory of a GPU at once."""
    held = []
    monkeypatch.setattr(loaded, "_last_loaded", None)

    class Loads:
        def __init__(self, task, device):
            held.append(loaded._last_loaded)
            self.task, self.device = task, device

    monkeypatch.setattr(loaded, "LoadedTask", Loads)
    other = tiny_task.model_copy(update={"version": 2})
    first = load_once(tiny_task, torch.device("cpu"))
    assert load_once(tiny_task, torch.device("cpu")) is first
    assert load_once(other, torch.device("cpu")).task is other
    assert held == [None, None]


def test_steps_of_an_ensemble_are_those_of_its_members(tiny, sharded):
    number_N = shard_numbers(tiny.train.images, 3)
    assert sharded.shard_sizes() == np.bincount(number_N).tolist()
    case = sharded.cases[0]
    number_M = number_N[np.setdiff1d(np.arange(240), sharded.forget_indices(case))]
    sizes = np.bincount(number_M).tolist()
    assert sharded.shard_sizes(case) == sizes
    assert all(66 <= size <= 97 for size in sizes)  # three batches of 32, none of one sample
    assert sharded.retrain_steps(case) == 27  # of three members in three epochs
    assert (tiny.shard_sizes(), tiny.shard_sizes(case)) == ([240], [234])


def test_a_shard_without_an_image_is_refused_before_anything_is_trained():
    text = SHARDED.replace("shards = 3", "shards = 900")
    with pytest.raises(UserError, match=r"a shard of D has no image; lower model\.shards"):
        LoadedTask(parse_task(text, "sharded.toml"), torch.device("cpu"))
    text = SHARDED.replace("shards = 3", "shards = 50").replace("sizes = [6, 12]", "sizes = [50]")
    with pytest.raises(UserError, match="no image without D_f of b-50"):
        LoadedTask(parse_task(text, "sharded.toml"), torch.device("cpu"))
