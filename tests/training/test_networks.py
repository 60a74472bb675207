"""Networks: what holds for each, and what a wrong spec is told."""

import copy
import re

import pytest
import safetensors.torch
import torch
import torch.nn.functional as F
from torch import nn

from mubench._util.errors import UserError
from mubench.task.spec import ModelSpec
from mubench.training.networks import (
    Architecture,
    build,
    check,
    contiguous_tensors,
    features,
    input_layer,
    stages,
)
from tests.helpers.networks import K, images, make

SMALL_VIT = {"depth": 2, "heads": 4}
RESNET = ModelSpec(name="resnet18", width=8)
ALLCNN = ModelSpec(name="allcnn", width=6)
VIT = ModelSpec(name="vit", width=24, options=SMALL_VIT)
MOBILENET = ModelSpec(name="mobilenetv3_small_050")
TIMM_VIT = ModelSpec(
    name="vit_tiny_patch16_224",
    options={"patch_size": 4, "embed_dim": 24, "depth": 2, "num_heads": 2},
)
NETWORKS = [
    pytest.param(spec, channels, size, id=f"{spec.name}-{channels}x{size}")
    for spec in (RESNET, ALLCNN, VIT)
    for channels, size in ((1, 8), (3, 8), (3, 32), (3, 64))
] + [
    pytest.param(MOBILENET, 3, 32, id="mobilenet"),
    pytest.param(TIMM_VIT, 3, 16, id="timm-vit"),
]
each_network = pytest.mark.parametrize(("spec", "channels", "size"), NETWORKS)
each_kind = pytest.mark.parametrize(
    "spec", [RESNET, ALLCNN, VIT, MOBILENET], ids=lambda spec: spec.name
)


def num_parameters(model: nn.Module) -> int:
    return sum(parameter.numel() for parameter in model.parameters())


def equal_states(one: nn.Module, other: nn.Module) -> bool:
    states = zip(one.state_dict().items(), other.state_dict().items(), strict=True)
    return all(a == b and torch.equal(x, y) for (a, x), (b, y) in states)


@each_network
def test_forward_is_the_classifier_on_the_features(spec, channels, size):
    model = make(spec, channels, size)
    assert all(module.training for module in model.modules())
    assert {p.dtype for p in model.parameters()} == {torch.float32}
    model.eval()
    batch = images(channels, size)
    with torch.no_grad():
        logits, out = model(batch), features(model, batch)
        assert logits.shape == (5, K)
        assert out.ndim == 2 and len(out) == 5
        *_, classifier = (layer for layer in model.modules() if isinstance(layer, nn.Linear))
        torch.testing.assert_close(classifier(out), logits)
        torch.testing.assert_close(model.forward_head(model.forward_features(batch)), logits)


@each_network
def test_all_images_pass_the_input_layer_once(spec, channels, size):
    model = make(spec, channels, size)
    passed = []
    layer = input_layer(model)
    layer.register_forward_pre_hook(lambda _, inputs: passed.append(len(inputs[0])))
    model(images(channels, size))
    features(model, images(channels, size, num=3))
    assert passed == [5, 3]


@each_kind
def test_finding_the_input_layer_changes_nothing(spec):
    model = make(spec)
    body = next(module for module in model.modules() if isinstance(module, nn.Sequential))
    body.eval()
    modes = [module.training for module in model.modules()]
    state, random = copy.deepcopy(model), torch.get_rng_state()
    passed = []
    layer = input_layer(model)
    layer.register_forward_pre_hook(lambda _, inputs: passed.append(inputs))
    assert input_layer(model) is layer
    assert passed == []
    assert len(layer._forward_pre_hooks) == 1
    assert modes == [module.training for module in model.modules()]
    assert equal_states(model, state)
    assert torch.equal(torch.get_rng_state(), random)


def test_input_layer_is_behind_the_input_dropout():
    model = make(ModelSpec(name="allcnn", width=6, options={"dropout": True}))
    random = torch.get_rng_state()
    assert isinstance(input_layer(model), nn.Conv2d)
    assert torch.equal(torch.get_rng_state(), random)


@each_kind
def test_weights_follow_from_the_seed(spec):
    random = torch.get_rng_state()
    one = make(spec, seed=2**63 - 1)
    assert torch.equal(torch.get_rng_state(), random)
    torch.rand(1)
    assert equal_states(one, make(spec, seed=2**63 - 1))
    assert not equal_states(one, make(spec, seed=5))


@pytest.mark.parametrize(
    ("spec", "option"), [(RESNET, {"drop_rate": 0.0}), (ALLCNN, {"dropout": False})]
)
def test_saying_a_default_changes_no_weight(spec, option):
    assert equal_states(make(spec), make(spec.model_copy(update={"options": option})))


@each_kind
def test_a_deep_copy_stands_alone(spec):
    model = make(spec).eval()
    twin = copy.deepcopy(model)
    before = model(images())
    assert torch.equal(before, twin(images()))
    assert input_layer(twin) is not input_layer(model)
    with torch.no_grad():
        for parameter in twin.parameters():
            parameter.add_(1.0)
    assert torch.equal(before, model(images()))


@each_kind
@pytest.mark.parametrize("size", [8, 16])
def test_channels_last_gives_the_same_logits(spec, size):
    model = make(spec, size=size).eval()
    batch = images(size=size)
    with torch.no_grad():
        logits = model(batch)
        model.to(memory_format=torch.channels_last)
        last = model(batch.contiguous(memory_format=torch.channels_last))
    torch.testing.assert_close(last, logits, rtol=1e-4, atol=1e-4)


@each_kind
def test_trains_under_bfloat16_autocast(spec):
    model = make(spec)
    with torch.autocast("cpu", torch.bfloat16):
        logits = model(images())
    F.cross_entropy(logits.float(), torch.arange(5)).backward()
    assert logits.isfinite().all()
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None and parameter.grad.isfinite().all(), name


@pytest.mark.parametrize(
    ("name", "count"), [("resnet18", 11_173_962), ("allcnn", 1_370_986), ("vit", 2_729_878)]
)
def test_default_networks_keep_their_size(name, count):
    model = build(ModelSpec(name=name), num_classes=10, channels=3, image_size=32, seed=0)
    assert num_parameters(model) == count


@pytest.mark.parametrize("name", ["resnet18", "allcnn", "vit"])
def test_width_sets_the_size(name):
    counts = [num_parameters(make(ModelSpec(name=name, width=width))) for width in (12, 24, 48)]
    assert counts[0] * 3 < counts[1] < counts[2] / 3


def test_resnet18_width_is_that_of_its_first_stage():
    model = make(RESNET)
    widths = [stage[-1].conv2.out_channels for stage in (model.layer1, model.layer4)]
    assert widths == [8, 64]
    assert model.layer1[0].downsample is None
    assert features(model.eval(), images()).shape == (5, 64)


@pytest.mark.parametrize("name", ["resnet18", "resnet26"])
@pytest.mark.parametrize(
    ("size", "kernel_and_stride", "map_size"), [(32, (3, 1), 4), (64, (3, 1), 8), (72, (7, 2), 3)]
)
def test_small_images_get_the_cifar_stem(name, size, kernel_and_stride, map_size):
    model = make(ModelSpec(name=name), size=size)
    assert (model.conv1.kernel_size[0], model.conv1.stride[0]) == kernel_and_stride
    assert isinstance(model.maxpool, nn.Identity) == (size <= 64)
    assert model.forward_features(images(size=size, num=2)).shape[-1] == map_size


def test_deep_stems_stay_as_timm_has_them():
    model = make(ModelSpec(name="resnet10t"), size=32)
    assert isinstance(model.conv1, nn.Sequential)


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("allcnn", {"dropout": True}),
        ("vit", {**SMALL_VIT, "dropout": 0.5}),
        ("vit", {**SMALL_VIT, "drop_path": 0.5}),
        ("resnet18", {"drop_rate": 0.5}),
    ],
)
def test_dropout_is_off_unless_asked_for(name, options):
    rest = SMALL_VIT if name == "vit" else {}
    batch = images()
    for given, random in ((options, True), (rest, False)):
        model = make(ModelSpec(name=name, width=24, options=given))
        for module in model.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.eval()
        assert torch.equal(model(batch), model(batch)) != random
        model.eval()
        assert torch.equal(model(batch), model(batch))


@pytest.mark.parametrize(
    ("fields", "size", "message"),
    [
        ({"name": "resnet81"}, 8, r"unknown model 'resnet81'; did you mean 'resnet18'\?"),
        ({"name": "alcnn"}, 8, r"did you mean 'allcnn'\?"),
        ({"name": "hf-hub:some/net"}, 8, "unknown model"),
        ({"name": "vit", "options": {"dept": 3}}, 8, r"takes depth, .*dept: unknown; .* 'depth'"),
        ({"name": "vit", "options": {"depth": "3", "dropout": 1.0}}, 8, "depth: .*dropout: "),
        ({"name": "allcnn", "options": {"depth": 3}}, 8, r"takes dropout; depth: unknown\."),
        ({"name": "resnet18", "options": {"drop": 0.1}}, 8, "takes .*drop_rate.* drop: unknown"),
        ({"name": "resnet18", "options": {"checkpoint_path": "x"}}, 8, "checkpoint_path: unknown"),
        ({"name": "resnet18", "options": {"stem_width": 8}}, 8, "stem_width: unknown"),
        ({"name": "resnet18", "options": {"global_pool": "x"}}, 8, "cannot make 'resnet18' with"),
        ({"name": "resnet18", "width": 9}, 8, "odd width"),
        ({"name": "resnet26", "width": 8}, 8, "leave `width` out"),
        ({"name": "inception_v3"}, 16, "cannot make 'inception_v3' .* 16x16 images"),
        ({"name": "vit"}, 10, "set the option `patch` to a divisor of 10"),
        ({"name": "vit", "width": 64}, 8, "set the option `heads` to a divisor of 64"),
    ],
)
def test_a_wrong_spec_is_one_clear_error(fields, size, message):
    with pytest.raises(ValueError) as error:
        make(ModelSpec(**fields), size=size)
    assert re.search(message, str(error.value), re.DOTALL)


@each_kind
def test_an_architecture_gives_a_fresh_network_for_each_seed(spec):
    size = 32 if spec == MOBILENET else 8
    architecture = Architecture(spec, num_classes=K, channels=3, image_size=size)
    rng = torch.random.get_rng_state()
    first, again, other = (architecture.fresh(seed) for seed in (0, 0, 1))
    assert torch.equal(torch.random.get_rng_state(), rng)
    assert first.training and first is not again
    expected = make(spec, size=size).state_dict()
    assert first.state_dict().keys() == expected.keys()
    for name, value in first.state_dict().items():
        assert torch.equal(value, again.state_dict()[name])
        assert torch.equal(value, expected[name])
    assert any(
        not torch.equal(p, q) for p, q in zip(first.parameters(), other.parameters(), strict=True)
    )
    assert all(p.is_meta for p in architecture.fresh(0, "meta").parameters())


@pytest.mark.parametrize(("spec", "count"), [(RESNET, 6), (ALLCNN, 9), (VIT, 4), (TIMM_VIT, 4)])
def test_stages_hold_every_layer_once_in_order_and_the_head_last(spec, count):
    model = make(spec, size=16)
    blocks = stages(model)
    assert len(blocks) == count
    assert blocks[-1] is model.get_submodule("head" if spec != RESNET else "fc")
    held = [p for block in blocks for p in block.parameters()]
    own = {id(p) for p in model.parameters(recurse=False)}  # of no layer
    assert [id(p) for p in held] == [id(p) for p in model.parameters() if id(p) not in own]


def test_the_blocks_of_an_ensemble_are_those_of_its_members_side_by_side():
    model = make(ALLCNN.model_copy(update={"shards": 3}))
    blocks = stages(model)
    each = [stages(member) for member in model.members]
    assert [list(block) for block in blocks] == [list(row) for row in zip(*each, strict=True)]
    assert features(model.eval(), images()).shape == (5, 3 * 2 * 6)


def test_contiguous_tensors_are_copies_that_safetensors_can_write():
    model = make(ALLCNN).to(memory_format=torch.channels_last)
    weights = model.state_dict(keep_vars=True)
    given = weights | {"turned": torch.arange(6).reshape(2, 3).T}
    tensors = contiguous_tensors(given)
    assert not all(value.is_contiguous() for value in given.values())
    assert tensors.keys() == given.keys()
    for name, value in tensors.items():
        assert value.is_contiguous() and not value.requires_grad
        assert torch.equal(value, given[name])
        assert value.data_ptr() != given[name].data_ptr()
    back = safetensors.torch.load(safetensors.torch.save(tensors))
    assert all(torch.equal(back[name], value) for name, value in tensors.items())


@pytest.mark.parametrize(
    "spec", [MOBILENET, TIMM_VIT, ModelSpec(name="resnet18", options={"drop_rate": 0.1})],
    ids=lambda spec: spec.name,
)  # fmt: skip
def test_what_can_be_built_passes_the_check_and_changes_nothing(spec):
    random = torch.get_rng_state()
    check(spec, channels=3, image_size=32 if spec == MOBILENET else 16)
    assert torch.equal(torch.get_rng_state(), random)


def test_a_check_of_a_large_network_takes_no_memory(monkeypatch):
    monkeypatch.setattr("mubench.training.networks.build", None)  # for networks that need it
    check(ModelSpec(name="vit_large_patch16_224"), channels=3, image_size=32)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"name": "resnet81"}, "unknown model"),
        ({"name": "resnet18", "options": {"drop": 0.1}}, "drop: unknown"),
        ({"name": "inception_v3"}, "timm cannot make"),
    ],
)
def test_what_cannot_be_built_is_refused(fields, message):
    with pytest.raises(UserError, match=message):
        check(ModelSpec(**fields), channels=3, image_size=16)
