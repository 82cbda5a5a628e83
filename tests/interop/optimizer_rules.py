# SPDX-License-Identifier: Apache-2.0
"""Rules of optimisers that no package here has, written as their papers give them: for tests/interop and the generator of tests/golden."""
import torch


class Lion(torch.optim.Optimizer):
    """Chen et al. 2023, algorithm 2."""

    def __init__(self, parameters, lr, betas, weight_decay):
        super().__init__(parameters, dict(lr=lr, betas=betas, weight_decay=weight_decay))

    @torch.no_grad()
    def step(self):
        for group in self.param_groups:
            b1, b2 = group["betas"]
            for p in group["params"]:
                m = self.state[p].setdefault("m", torch.zeros_like(p))
                p.mul_(1 - group["lr"] * group["weight_decay"])
                p.add_(torch.sign(b1 * m + (1 - b1) * p.grad), alpha=-group["lr"])
                m.mul_(b2).add_(p.grad, alpha=1 - b2)


def dynamic_map(is_signed):
    """Codes of 8-bit moments, Dettmers et al. 2022: for i = 0 … 6 the middles of equal parts of [0.1, 1], times 10^(i - 6); with 0 and 1."""
    codes = [0.0, 1.0]
    for i in range(7):
        edges = torch.linspace(0.1, 1, 2 ** (i if is_signed else i + 1) + 1)
        middles = (10 ** (i - 6) * ((edges[:-1] + edges[1:]) / 2)).tolist()
        codes += middles + [-x for x in middles if is_signed]
    return torch.tensor(sorted(codes))
