"""UNSIR: "Fast Yet Effective Machine Unlearning" (TNNLS 2023, arXiv:2111.08947).

Images of noise are learned that M_o is as wrong about as can be. Learned under the label of the
class to forget, they impair what the weights know of it; samples of D_r then repair the rest.

It is made for whole classes. Where D_f is a part of a class, D_r has images of that class too,
which contradict the noise. The authors' code learns three images of noise by mistake, because it
takes channels for images; here all are learned.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar

import torch
from annotated_types import Ge, Gt, Interval
from torch import Tensor, nn
from torch.nn import functional as F

from mubench import Problem, Samples, Search


@dataclass(frozen=True, kw_only=True)
class UNSIR:
    """Impair with noise that maximises the loss, repair with D_r (arXiv:2111.08947)."""

    requires: ClassVar[frozenset[str]] = frozenset({"forget", "retain"})
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "paper": {"impair_lr": 0.02, "repair_lr": 0.01, "noise_n": 256, "noise_copies": 20}
    }

    impair_lr: Annotated[float, Gt(0), Search(1e-5, 3e-2, log=True)] = 3e-4  # step size of Adam in
    # the first pass; the paper's .02 destroys a network with batch norm
    repair_lr: Annotated[float, Gt(0), Search(1e-5, 3e-2, log=True)] = 1e-4  # in the second pass;
    # the authors' later code has 1e-4 in both
    retain_share: Annotated[float, Interval(gt=0, le=1)] = 0.2  # of D_r in either pass: the paper's
    # 1000 images per class of CIFAR-10
    noise_n: Annotated[int, Ge(1)] = 64  # images of noise per class of D_f; the paper has 256
    noise_copies: Annotated[int, Ge(1)] = 1  # of each in the first pass
    noise_steps: Annotated[int, Ge(1)] = 40  # of Adam on the noise
    noise_lr: Annotated[float, Gt(0)] = 0.1  # step size of Adam on normalised pixels
    noise_decay: Annotated[float, Ge(0)] = 0.1  # lambda: weight of the squared length of an image
    batch_size: Annotated[int, Ge(2)] = 256  # the paper's

    def unlearn(self, problem: Problem) -> nn.Module:
        """Returns M_o, impaired and repaired."""
        model = problem.original
        noise = self.noise(problem, model, problem.forget)
        retain = problem.share(problem.retain, self.retain_share)
        retain = Samples(retain.images.float(), retain.labels)
        copies = noise[torch.arange(len(noise), device=problem.device).repeat(self.noise_copies)]
        for samples, lr in ((copies + retain, self.impair_lr), (retain, self.repair_lr)):
            problem.fine_tune(
                model,
                samples,
                epochs=1,
                lr=lr,
                optimizer="adamw",  # without weight decay: Adam
                batch_size=self.batch_size,
            )
        return model

    def noise(self, problem: Problem, model: nn.Module, forget: Samples) -> Samples:
        """Images of noise under the labels of D_f, as pixels that lie outside of 0..255 too.

        They are argmin over N of -CE(f(N), label) + lambda mean |N|^2, for normalised images N.
        """
        labels_N = torch.unique(forget.labels).repeat(self.noise_n)
        shape = (len(labels_N), *forget.images.shape[1:])
        start = torch.randn(shape, generator=problem.generator("noise")).to(problem.device)
        noise_NCHW = start.requires_grad_()
        optimizer = torch.optim.Adam([noise_NCHW], lr=self.noise_lr)
        for _ in range(self.noise_steps):
            with problem.autocast():
                logits_NK = model(noise_NCHW)
            value = self.noise_decay * noise_NCHW.square().sum((1, 2, 3)).mean()
            value = value - F.cross_entropy(logits_NK.float(), labels_N)
            (noise_NCHW.grad,) = torch.autograd.grad(value, noise_NCHW)
            optimizer.step()
        return Samples(pixels(problem, noise_NCHW.detach()), labels_N)


def pixels(problem: Problem, images_NCHW: Tensor) -> Tensor:
    """Float pixels that the problem normalises to these images."""
    black = problem.normalise(torch.zeros_like(images_NCHW[:1]))
    per_level = problem.normalise(torch.ones_like(images_NCHW[:1])) - black
    return (images_NCHW - black) / per_level
