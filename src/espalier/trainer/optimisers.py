"""Which parameters learn, how fast, by which optimiser: groups by rate and decay, freezing, optimisers by name."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from espalier.errors import Problem, SpecError
from espalier.layers.model import TrainableModel
from espalier.spec.training import TrainSpec


@dataclass(frozen=True)
class Group:
    """Parameters that share a rate and a decay. `ratio` multiplies the base rate."""

    name: str
    ratio: float
    weight_decay: float
    parameters: tuple[str, ...]


def freeze(model: TrainableModel, prefixes: Iterable[str]) -> list[nn.Module]:
    """Stop parameters whose names start with one of `prefixes` from learning; the modules that must stay in eval mode.

    A frozen BatchNorm keeps its running statistics too. Raises SpecError for a prefix that names nothing, and when
    nothing is left to learn.
    """
    names = [name for name, _ in model.named_parameters()]
    wanted = tuple(prefixes)
    lost = [p for p in wanted if not any(_under(name, p) for name in names)]
    if lost:
        tops = ", ".join(sorted({name.split(".")[0] for name in names}))
        raise SpecError(
            *(Problem("train.freeze", f"no parameter's name starts with '{p}'", f"the model has: {tops}") for p in lost)
        )
    for name, parameter in model.named_parameters():
        if any(_under(name, p) for p in wanted):
            parameter.requires_grad_(False)
    if not any(p.requires_grad for p in model.parameters()):
        raise SpecError(
            Problem(
                "train.freeze", "everything is frozen, so that nothing can be learnt", fix="leave at least the head out"
            )
        )
    return [module for name, module in model.named_modules() if any(_under(name, p) for p in wanted)]


def groups(model: TrainableModel, train: TrainSpec) -> list[Group]:
    """The parameters that learn, by rate (backbone, slow or the rest) and decay (none on norms, biases and 1-D).

    With `train.decay_all` everything decays; what is slow stays with the rest where its rate is theirs.
    """
    ratios = {"backbone": train.backbone_lr_ratio, "slow": train.slow_lr_ratio}
    prefixes = {rate: tuple(model.parameter_groups().get(rate, ())) for rate in ratios}
    if train.slow_lr_ratio == 1:
        prefixes["slow"] = ()
    found: dict[tuple[str, bool], list[str]] = {}
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            rate = next((rate for rate, own in prefixes.items() if own and name.startswith(own)), "head")
            found.setdefault((rate, train.decay_all or decays(name, parameter)), []).append(name)
    return [
        Group(
            f"{rate}{'' if decay else ' (no decay)'}",
            ratios.get(rate, 1.0),
            train.weight_decay if decay else 0.0,
            tuple(names),
        )
        for (rate, decay), names in sorted(found.items())
    ]


def decays(name: str, parameter: Tensor) -> bool:
    """Does weight decay pull on this parameter? Not on norms, biases and anything else of one dimension or none."""
    return parameter.ndim > 1 and not name.endswith(".bias")


def make_optimiser(model: TrainableModel, train: TrainSpec, *, fused: bool) -> Optimizer:
    """The optimiser of `train.optimizer`, its groups carrying `ratio` and `group` beside torch's own keys.

    The rate starts at 0: the loop sets it before each step. `fused` asks for torch's one-kernel step, if it has one.
    """
    by_name = dict(model.named_parameters())
    listed: list[dict[str, Any]] = [
        {
            "params": [by_name[n] for n in g.parameters],
            "weight_decay": g.weight_decay,
            "ratio": g.ratio,
            "group": g.name,
        }
        for g in groups(model, train)
    ]
    return _OPTIMISERS[train.optimizer](listed, train.momentum, fused)


def set_rate(optimiser: Optimizer, rate: float) -> None:
    """Give each group its share of the base rate."""
    for group in optimiser.param_groups:
        group["lr"] = rate * group["ratio"]


class Lion(Optimizer):
    """Sign momentum (Chen et al., "Symbolic Discovery of Optimization Algorithms", 2023, algorithm 2)."""

    def __init__(self, params: Any, lr: float = 1e-4, betas: tuple[float, float] = (0.9, 0.99)) -> None:
        super().__init__(params, {"lr": lr, "betas": betas, "weight_decay": 0.0})

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> float | None:  # type: ignore[override]
        """One step; `closure` is evaluated first, as torch's own optimisers do."""
        loss = closure() if closure is not None else None
        for group in self.param_groups:
            for parameter in group["params"]:
                if parameter.grad is not None:
                    self._move(parameter, parameter.grad, group)
        return loss

    def _move(self, parameter: Tensor, gradient: Tensor, group: dict[str, Any]) -> None:
        state, (beta1, beta2) = self.state[parameter], group["betas"]
        momentum = state.setdefault("exp_avg", torch.zeros_like(parameter))
        direction = torch.lerp(gradient, momentum, beta1).sign_()
        parameter.mul_(1 - group["lr"] * group["weight_decay"]).add_(direction, alpha=-group["lr"])
        momentum.lerp_(gradient, 1 - beta2)


_Maker = Callable[[list[dict[str, Any]], float, bool], Optimizer]
_OPTIMISERS: dict[str, _Maker] = {
    "adamw": lambda listed, beta, fused: torch.optim.AdamW(listed, lr=0.0, betas=(beta, 0.999), fused=fused or None),
    "adam": lambda listed, beta, fused: torch.optim.Adam(listed, lr=0.0, betas=(beta, 0.999), fused=fused or None),
    "sgd": lambda listed, m, fused: torch.optim.SGD(listed, lr=0.0, momentum=m, nesterov=m > 0, fused=fused or None),
    "rmsprop": lambda listed, m, _: torch.optim.RMSprop(listed, lr=0.0, momentum=m),
    "lion": lambda listed, beta, _: Lion(listed, lr=0.0, betas=(beta, 0.99)),
}


def _under(name: str, prefix: str) -> bool:
    return name == prefix or name.startswith(prefix if prefix.endswith(".") else f"{prefix}.")
