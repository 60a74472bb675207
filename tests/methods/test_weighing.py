"""Methods that change weights by what gradients say of them: against their equations."""

import math

import torch
from mubench_methods._fisher import under_own_labels
from mubench_methods.fisher import Fisher
from mubench_methods.iu import IU
from mubench_methods.ntk_bn import NTKBatchNorm
from mubench_methods.pbu import PBU
from mubench_methods.sfron import SFRon
from torch.nn import functional as F

from tests.helpers.patterns import CLASSES, TEST, TRAIN, accuracy, weights


def named(model):
    return {name: value.detach().clone() for name, value in model.named_parameters()}


def derived(problem, model, value_of_logits, sample):
    """Autograd of a function of one sample's logits, by name."""
    value = value_of_logits(model(problem.normalise(sample.images))[0])
    parameters = dict(model.named_parameters())
    return dict(zip(parameters, torch.autograd.grad(value, parameters.values()), strict=True))


def fisher_by_hand(problem, model, samples):
    """mean_x sum_y p_y(x) (d CE(x, y))^2, label by label and sample by sample."""
    total = {name: torch.zeros_like(value) for name, value in model.named_parameters()}
    for i in range(len(samples)):
        one = samples[i : i + 1]
        p_K = problem.logits(model, one).softmax(1)[0]
        for y in range(CLASSES):
            of_y = derived(problem, model, lambda z_K, y=y: -z_K.log_softmax(0)[y], one)
            for name, value in of_y.items():
                total[name] += p_K[y] * value.square() / len(samples)
    return total


def test_the_fisher_information_is_over_the_models_own_labels(make):
    problem = make({"forget"})
    found = problem.gradients(
        problem.original, problem.forget, loss=under_own_labels, square=True, per_sample=True
    )
    for name, value in fisher_by_hand(problem, problem.original, problem.forget).items():
        torch.testing.assert_close(found[name], value, rtol=1e-3, atol=1e-9, msg=name)


def noise_of(make, forget=None, retain=None, **settings):
    """What Fisher adds to each weight, and the standard normal draw behind it, by name."""
    problem = make({"retain"}, forget, **({} if retain is None else {"retain": retain}))
    before = named(problem.original)
    after = named(Fisher(**settings).unlearn(problem))
    generator = problem.generator("noise")
    return {
        name: ((after[name] - value), torch.randn(value.shape, generator=generator))
        for name, value in before.items()
    }


def test_fisher_noise_has_the_variance_of_the_sheet(make):
    """sqrt(alpha min(1 / F, 1e3)) on convolutions; 10 times that variance on all else."""
    alpha, few = 1e-7, TRAIN[:24]
    problem = make({"retain"}, retain=few)
    fisher = fisher_by_hand(problem, problem.original, few)
    for name, (change, noise) in noise_of(make, retain=few, alpha=alpha, fisher_n=None).items():
        is_head = name.startswith("head")
        variance = (1 / (fisher[name] + 1e-8)).clamp(max=1e2 if is_head else 1e3)
        if change.ndim > 1:
            variance = variance.mean(1, keepdim=True)
        if change.ndim == 1 or is_head:
            variance = 10 * variance
        expected = (alpha * variance).sqrt() * noise
        torch.testing.assert_close(change, expected, rtol=2e-3, atol=1e-6, msg=name)


def test_fisher_empties_the_row_of_a_class_that_is_gone(make):
    whole = (TRAIN.labels == 2).nonzero().squeeze(1)
    problem = make({"retain"}, whole)
    head = Fisher(fisher_n=20).unlearn(problem).head
    noise = {name: noise for name, (_, noise) in noise_of(make, whole, fisher_n=20).items()}
    torch.testing.assert_close(head.weight[2], 0.01 * noise["head.weight"][2])
    torch.testing.assert_close(head.bias[2], 0.01 * noise["head.bias"][2])


def test_ntk_is_two_ridge_regressions_on_logits(make):
    """w(S) = -G (G' G + |S| lambda I)^-1 (softmax - onehot): here one row per logit."""
    problem = make({"forget", "retain"}, forget=torch.tensor([1, 5, 9]), retain=TRAIN[10:30])
    model, scale, ridge = problem.original, 3.0, 0.01
    names = [
        name
        for name, value in model.named_parameters()
        if name.startswith("body") and value.ndim == 1
    ]
    before = named(model)

    def regression(samples):
        rows = []
        for i in range(len(samples)):
            for k in range(CLASSES):
                one = derived(problem, model, lambda z_K, k=k: z_K[k], samples[i : i + 1])
                rows.append(torch.cat([one[name] for name in names]))
        jacobian_MP = torch.stack(rows).double()
        residual_NK = problem.logits(model, samples).double().softmax(1)
        residual_M = (residual_NK - F.one_hot(samples.labels, CLASSES)).flatten()
        ridge_MM = len(samples) * ridge * torch.eye(len(rows), dtype=torch.float64)
        return -jacobian_MP.T @ torch.linalg.solve(
            jacobian_MP @ jacobian_MP.T + ridge_MM, residual_M
        )

    expected = scale * (regression(problem.retain) - regression(problem.retain + problem.forget))
    method = NTKBatchNorm(scale=scale, ridge=ridge, noise=0.0, retain_share=1.0)
    after = named(method.unlearn(problem))
    change = torch.cat([after[name] - before[name] for name in names])
    torch.testing.assert_close(change.double(), expected, rtol=1e-2, atol=1e-6)
    assert all(torch.equal(after[k], v) for k, v in before.items() if k not in names)
    assert all(value.requires_grad for value in model.parameters())


def test_iu_solves_the_damped_system(make):
    """alpha H^-1 v, where H = sum g g' / N + lambda I is inverted as it stands."""
    problem = make({"forget", "retain"})
    each_NP = torch.randn(6, 9, generator=torch.Generator().manual_seed(0))
    v_P, method = torch.arange(9.0), IU(damping=0.1)
    h_PP = each_NP.T @ each_NP / 6 + 0.1 * torch.eye(9)
    expected = torch.linalg.solve(h_PP, v_P)
    torch.testing.assert_close(method.solve(each_NP, v_P), expected, rtol=1e-3, atol=1e-4)

    before = weights_only(problem.original)
    forget, retain = (
        torch.cat([v.flatten() for v in problem.gradients(problem.original, s).values()])
        for s in (problem.forget, problem.retain)
    )
    v_P = len(problem.forget) / len(TRAIN) * (forget - retain)
    # under so much damping H is the damping
    after = weights_only(IU(damping=1e9, alpha=1e9).unlearn(problem))
    torch.testing.assert_close(after - before, v_P, rtol=1e-2, atol=1e-6)


def weights_only(model):
    return torch.cat([value.detach().flatten() for value in model.parameters()])


def test_iu_raises_the_loss_of_forget(make):
    problem = make({"forget", "retain"})
    before = loss(problem, problem.original, problem.forget)
    assert loss(problem, IU().unlearn(problem), problem.forget) > before


def loss(problem, model, samples):
    return F.cross_entropy(problem.logits(model, samples), samples.labels)


def test_pbu_first_step_of_adam_goes_up_the_loss_of_forget(make):
    """At theta* only -alpha CE has a gradient, and Adam's first step is its sign."""
    problem = make({"forget"})
    before = named(problem.original)
    gradient = problem.gradients(problem.original, problem.forget)
    after = named(PBU(epochs=1, lr=1e-3, clip=None).unlearn(problem))
    for name, value in before.items():
        is_told = gradient[name].abs() > 1e-6
        expected = 1e-3 * gradient[name].sign()
        torch.testing.assert_close(
            (after[name] - value)[is_told], expected[is_told], rtol=0.02, atol=1e-5
        )


def test_pbu_is_held_by_distance_and_by_fisher_information(make):
    def moved(**settings):
        problem = make({"forget"})
        before = weights(problem.original)
        method = PBU(**({"fisher_weight": 0, "distance_weight": 0, "lr": 1e-3} | settings))
        return (weights(method.unlearn(problem)) - before).norm()

    assert moved(distance_weight=1e6) < 0.7 * moved()
    assert moved(fisher_weight=1e9) < 0.9 * moved()


def test_sfron_masks_by_the_ratio_of_squared_gradients(make):
    """In batches of one size, as squares of means shrink with it: one of 20 on either side."""
    problem, retain = make({"forget", "retain"}), TRAIN[20:40]
    model = problem.original
    of_forget = problem.gradients(model, problem.forget, square=True, batch_size=20)
    of_retain = problem.gradients(model, retain, square=True, batch_size=20)
    for name, mask in SFRon(threshold=2.0).mask(problem, model, retain).items():
        is_clear = (of_forget[name] / (2 * of_retain[name]) - 1).abs() > 1e-3
        expected = of_forget[name] > 2 * of_retain[name]
        assert torch.equal(mask[is_clear], expected[is_clear])


def test_sfron_forgets_by_its_ascents_alone(make):
    def accuracies(every):
        problem = make({"forget", "retain"})
        unlearned = SFRon(every=every, forget_weight=25, retain_share=1.0).unlearn(problem)
        return [accuracy(problem, unlearned, samples) for samples in (problem.forget, TEST)]

    (with_ascents, test), (without, _) = accuracies(1), accuracies(10**6)
    assert with_ascents < without - 0.1
    assert test > 0.5


def counted(make, method, requires=None):
    problem = make(method.requires)
    method.unlearn(problem)
    return problem.meter.seen.forward, problem.meter.seen.backward


def test_fisher_takes_a_forward_and_k_backward_passes_a_sample(make):
    assert counted(make, Fisher(fisher_n=50)) == (50, CLASSES * 50)


def test_ntk_takes_k_backward_passes_a_sample_of_either_set(make):
    """Forward once for the residuals and once for the derivatives."""
    assert counted(make, NTKBatchNorm(retain_share=50 / 300)) == (2 * 70, CLASSES * 70)


def test_iu_takes_a_pass_over_all_and_one_of_its_samples(make):
    assert counted(make, IU(fisher_share=50 / 300)) == (len(TRAIN) + 50, len(TRAIN) + 50)


def test_pbu_takes_its_epochs_and_the_fisher_information(make):
    assert counted(make, PBU(epochs=3)) == (4 * 20, (3 + CLASSES) * 20)


def test_sfron_takes_its_epochs_a_mask_and_the_ascents(make):
    """300 of D_r in 10 steps of 32 an epoch; 20 of D_f at a time."""
    masks, training, ascents = 20 + 300, 2 * 300, 20 * (2 * 10 // 5)
    expected = masks + training + ascents
    assert counted(make, SFRon(epochs=2, retain_share=1.0)) == (expected, expected)
    assert math.ceil(300 / 32) == 10
