"""The meter cannot be passed by: each way of working, against a count by hand."""

import threading
from copy import deepcopy

import pytest
import torch
from torch import nn
from torch.func import functional_call, grad, jacrev, jvp, stack_module_state, vjp, vmap
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint

from mubench.method import meter as meter_module
from mubench.method.meter import Meter, operations_per_sample
from mubench.method.operations import counted_operations
from mubench.task.spec import ModelSpec
from tests.helpers.networks import K, images, make

N = 60
SPEC = ModelSpec(name="allcnn", width=8)
IMAGES = images(num=N)
LABELS = torch.arange(N) % K


def measured(work, spec=SPEC):
    """What a meter reads after work on a network that it watches: the reading and what it saw."""
    model, meter = make(spec).eval(), Meter()
    meter.watch(model)
    with meter.running() as reading:
        work(model)
    return reading, meter.seen


def weights(model):
    return {name: value.detach() for name, value in model.named_parameters()}


def step(model):
    F.cross_entropy(model(IMAGES), LABELS).backward()


def without_gradients(model):
    with torch.no_grad():
        model(IMAGES)


def under_inference_mode(model):
    with torch.inference_mode():
        model(IMAGES)


def twice_through_one_graph(model):
    loss = model(IMAGES).sum()
    loss.backward(retain_graph=True)
    loss.backward()


def functional(model):
    functional_call(model, weights(model), (IMAGES,))


def gradient_by_function(model):
    grad(lambda w: functional_call(model, w, (IMAGES,)).sum())(weights(model))


def sample_by_sample(model):
    def loss(w, image, label):
        return F.cross_entropy(functional_call(model, w, (image[None],)), label[None])

    vmap(grad(loss), (None, 0, 0))(weights(model), IMAGES, LABELS)


def outputs_sample_by_sample(model):
    vmap(lambda image: model(image[None]))(IMAGES)


def three_models_at_once(model):
    stacked = stack_module_state([model, model, model])
    vmap(lambda w, b: functional_call(model, (w, b), (IMAGES,)))(*stacked)


def vector_jacobian(model):
    _, pull = vjp(lambda w: functional_call(model, w, (IMAGES,)), weights(model))
    pull(torch.ones(N, K))


def all_outputs_at_once(model):
    weights_of = weights(model)
    jacrev(lambda w: functional_call(model, w, (IMAGES,)).sum(0))(weights_of)


def outputs_of_each_sample(model):
    def outputs(w, image):
        return functional_call(model, w, (image[None],))[0]

    vmap(jacrev(outputs), (None, 0))(weights(model), IMAGES)


def batched_gradients(model):
    out_K = model(IMAGES).sum(0)
    torch.autograd.grad(out_K, list(model.parameters()), torch.eye(K), is_grads_batched=True)


def checkpointed(model):
    checkpoint(model, IMAGES, use_reentrant=False).sum().backward()


def checkpointed_reentrant(model):
    checkpoint(model, IMAGES.clone().requires_grad_(), use_reentrant=True).sum().backward()


def only_the_head_is_trained(model):
    model.body.requires_grad_(False)
    step(deepcopy(model))


def only_the_images_are_derived(model):
    model.requires_grad_(False)
    model(IMAGES.clone().requires_grad_()).sum().backward()


WATCHED = {
    only_the_head_is_trained: (1, 1),
    only_the_images_are_derived: (1, 1),
    step: (1, 1),
    without_gradients: (1, 0),
    under_inference_mode: (1, 0),
    lambda model: model(IMAGES): (1, 0),  # gradients on, and no backward pass
    twice_through_one_graph: (1, 2),
    functional: (1, 0),
    gradient_by_function: (1, 1),
    sample_by_sample: (1, 1),
    outputs_sample_by_sample: (1, 0),
    three_models_at_once: (3, 0),
    vector_jacobian: (1, 1),
    all_outputs_at_once: (1, K),
    outputs_of_each_sample: (1, K),
    checkpointed: (2, 1),
    checkpointed_reentrant: (2, 1),
}


@pytest.mark.parametrize("work", WATCHED, ids=lambda work: work.__name__)
def test_what_passes_the_networks_is_seen(work):
    reading, seen = measured(work)
    forward, backward = WATCHED[work]
    assert (reading.samples.forward, reading.samples.backward) == (forward * N, backward * N)
    assert reading.samples == seen
    assert (reading.unseen.forward, reading.unseen.backward) == (0, 0)


def copy_without_hook(model):
    copied = deepcopy(model)
    Meter.unwatch(copied)
    step(copied)


def rebuilt(model):
    other = make(SPEC, seed=9)
    other.load_state_dict(model.state_dict())
    step(other)


def in_a_thread(model):
    thread = threading.Thread(target=rebuilt, args=(model,))
    thread.start()
    thread.join()


def sub_modules(model):
    Meter.unwatch(model)
    maps = IMAGES
    for part in model.body:
        maps = part(maps)
    model.head(maps.mean((2, 3))).sum().backward()


def by_hand(model):
    """The weights in calls of functions, with no module at all."""
    maps, layers = IMAGES, [part for part in model.body if isinstance(part, nn.Sequential)]
    for conv, norm, _ in layers:
        maps = F.conv2d(maps, conv.weight, None, conv.stride, conv.padding)
        maps = F.batch_norm(
            maps, norm.running_mean, norm.running_var, norm.weight, norm.bias
        ).relu()
    logits_NK = maps.mean((2, 3)) @ model.head.weight.T + model.head.bias
    F.cross_entropy(logits_NK, LABELS).backward()


def compiled(model):
    other = make(SPEC, seed=9)
    torch.compile(other, backend="aot_eager")(IMAGES).sum().backward()


def unwatched_sample_by_sample(model):
    Meter.unwatch(model)
    sample_by_sample(model)


def patched_hooks(model):
    """A method that finds the meter's state and sets it back."""
    hook = next(iter(meter_module.networks.input_layer(model)._forward_hooks.values()))
    seen = next(
        cell.cell_contents
        for cell in hook.__closure__
        if isinstance(cell.cell_contents, meter_module.SampleCount)
    )
    step(model)
    seen.forward, seen.backward = -(10**6), 0


PASSED_BY = [
    copy_without_hook, rebuilt, in_a_thread, sub_modules, by_hand, unwatched_sample_by_sample,
    patched_hooks,
]  # fmt: skip


@pytest.mark.parametrize("work", PASSED_BY, ids=lambda work: work.__name__)
def test_what_passes_the_networks_by_is_counted_from_operations(work):
    reading, _ = measured(work)
    assert (reading.samples.forward, reading.samples.backward) == (N, N)
    assert reading.unseen == reading.samples


def test_backward_passes_at_once_outside_of_functions_are_counted_from_operations():
    reading, _ = measured(batched_gradients)
    assert (reading.samples.forward, reading.samples.backward) == (N, K * N)


@pytest.mark.slow
def test_a_compiled_network_is_counted():
    reading, _ = measured(compiled)
    assert (reading.samples.forward, reading.samples.backward) == (N, N)


@pytest.mark.parametrize("spec", [ModelSpec(name="resnet18", width=8), SPEC], ids=lambda s: s.name)
def test_a_second_derivative_counts_what_it_takes(spec):
    def twice_derived(model):
        parameters = list(model.parameters())
        loss = F.cross_entropy(model(IMAGES), LABELS)
        gradients = torch.autograd.grad(loss, parameters, create_graph=True)
        sum(gradient.pow(2).sum() for gradient in gradients).backward()

    reading, seen = measured(twice_derived, spec)
    # The second pass goes through the first one too, which has two convolutions for each of the
    # network's own: at least the passes that a hook sees, and half as much again.
    assert (seen.forward, seen.backward) == (N, 2 * N)
    assert reading.samples.forward == N
    assert 4 * N <= reading.samples.backward <= 4.2 * N


@pytest.mark.filterwarnings("ignore:`torch.jit:FutureWarning")  # torch's own, where it derives
def test_a_forward_derivative_counts_its_products():
    def derived_forward(model):
        jvp(model, (IMAGES,), (torch.ones_like(IMAGES),))

    # For each convolution: of the images, of their tangents, and with the tangents of the weights.
    assert measured(derived_forward)[0].samples.forward == 3 * N


def test_a_patched_meter_reads_the_same(monkeypatch):
    def patching(model):
        for name in ("_settle", "operations_per_sample", "counted_operations"):
            monkeypatch.setattr(meter_module, name, lambda *_: None)
        for name in ("running", "watch"):
            monkeypatch.setattr(Meter, name, None)
        rebuilt(model)

    reading, _ = measured(patching)
    assert (reading.samples.forward, reading.samples.backward) == (N, N)


def test_a_little_work_beside_the_networks_is_explained():
    def with_a_classifier(model):
        step(model)
        small = nn.Linear(2 * SPEC.width, K)
        small(torch.ones(N, 2 * SPEC.width)).sum().backward()

    reading, _ = measured(with_a_classifier)
    assert (reading.unseen.forward, reading.unseen.backward) == (0, 0)
    assert reading.operations > N * operations(SPEC)


def operations(spec):
    one = operations_per_sample(make(spec))
    return one.forward + one.backward


def test_a_sample_is_worth_the_same_whatever_the_network_is_used_for():
    model = make(SPEC)
    one = operations_per_sample(model)
    with counted_operations() as ran:
        step(model)
    assert (ran.forward, ran.backward) == (N * one.forward, N * one.backward)
    assert operations_per_sample(model.eval().requires_grad_(False)) == one
    assert not model.training


def test_work_before_an_error_is_counted():
    model, meter = make(SPEC), Meter()
    meter.watch(model)
    with pytest.raises(ZeroDivisionError), meter.running() as reading:
        rebuilt(model)
        _ = 1 / 0
    assert (reading.samples.forward, reading.samples.backward) == (N, N)


def test_unwatch_leaves_no_trace():
    model = make(SPEC)
    Meter().watch(model)
    Meter.unwatch(model)
    assert not any(layer._forward_hooks for layer in model.modules())
    assert not any("mubench_meter" in vars(layer) for layer in model.modules())


def test_one_image_without_a_batch_is_one_sample():
    reading, seen = measured(lambda model: model.conv1(IMAGES[0]), ModelSpec(name="resnet18"))
    assert seen.forward == reading.samples.forward == 1


def test_a_sample_counts_once_for_each_member_of_an_ensemble():
    spec = SPEC.model_copy(update={"shards": 3})

    def whole_then_one_member(model):
        without_gradients(model)
        step(model.members[1])

    reading, seen = measured(whole_then_one_member, spec)
    assert (seen.forward, seen.backward) == (4 * N, N)
    assert reading.samples == seen
    assert reading.unseen.backward == 0
    one, other = make(SPEC), make(spec).members[0]
    assert operations_per_sample(one) == operations_per_sample(other)
