# SPDX-License-Identifier: Apache-2.0
"""Update rules and schedules against torch, transformers and bitsandbytes' definition, 50 steps each. Usage: optimizers.py PATH_OF_optimizer_probe
Golden values of the libraries themselves are compared too where LUTHIER_GOLDEN names a folder with numerics.json."""
import json
import os
import pathlib
import subprocess
import sys

import torch
from transformers import Adafactor, get_scheduler

from optimizer_rules import Lion, dynamic_map

STEPS = 50
# A float32 update of numbers of order 1 rounds to 6e-8 a step; fifty of them, some through roots, stay below this.
TOLERANCE = 5e-6
failed = passed = 0
probe = subprocess.Popen([sys.argv[1]], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


def ask(**request):
    probe.stdin.write(json.dumps(request) + "\n")
    probe.stdin.flush()
    return json.loads(probe.stdout.readline())


def check(name, good, figure=""):
    global failed, passed
    passed, failed = passed + bool(good), failed + (not good)
    print(f"{'ok  ' if good else 'FAIL'} {name} {figure}", flush=True)


def worst(ours, theirs):
    return max((torch.tensor(a) - torch.as_tensor(b).reshape(-1)).abs().max().item() for a, b in zip(ours, theirs, strict=True))


class AdamW8bit(torch.optim.Optimizer):
    """The block-wise rule of bitsandbytes, written element by element."""

    def __init__(self, parameters, lr, betas, weight_decay, eps=1e-8):
        super().__init__(parameters, dict(lr=lr, betas=betas, weight_decay=weight_decay, eps=eps))
        self.maps = dynamic_map(True), dynamic_map(False)

    def encode(self, values, codes):
        blocks = torch.nn.functional.pad(values, (0, -len(values) % 256)).view(-1, 256)
        largest = blocks.abs().amax(1)
        index = ((blocks / largest.clamp(min=1e-38)[:, None])[..., None] - codes).abs().argmin(-1)
        return index, largest

    def decode(self, state, codes, count):
        return (codes[state[0]] * state[1][:, None]).view(-1)[:count]

    @torch.no_grad()
    def step(self):
        for group in self.param_groups:
            (b1, b2), lr, eps = group["betas"], group["lr"], group["eps"]
            for p in group["params"]:
                state = self.state[p]
                count = p.numel()
                t = state["t"] = state.get("t", 0) + 1
                m = self.decode(state["m"], self.maps[0], count) if "m" in state else torch.zeros(count)
                v = self.decode(state["v"], self.maps[1], count) if "v" in state else torch.zeros(count)
                g = p.grad.reshape(-1)
                m, v = b1 * m + (1 - b1) * g, b2 * v + (1 - b2) * g * g
                p.mul_(1 - lr * group["weight_decay"])
                c1, c2 = 1 - b1**t, (1 - b2**t) ** 0.5
                p.view(-1).add_(-lr * c2 / c1 * m / (v.sqrt() + eps * c2))
                state["m"], state["v"] = self.encode(m, self.maps[0]), self.encode(v, self.maps[1])


def run(make, shape, steps=STEPS):
    generator = torch.Generator().manual_seed(3)
    parameter = torch.nn.Parameter(torch.randn(shape, generator=generator))
    start = parameter.detach().clone()
    optimizer = make([parameter])
    gradients, after = [], []
    for _ in range(steps):
        gradients.append(torch.randn(shape, generator=generator))
        parameter.grad = gradients[-1].clone()
        optimizer.step()
        after.append(parameter.detach().clone())
    return start, gradients, after, optimizer.state[parameter]


def flat(tensor):
    return tensor.reshape(-1).tolist()


RULES = {
    "adamw": ("adamw", dict(weight_decay=0.01, beta1=0.8), lambda p: torch.optim.AdamW(p, lr=0.01, weight_decay=0.01, betas=(0.8, 0.999))),
    "sgd": ("sgd", {}, lambda p: torch.optim.SGD(p, lr=0.01)),
    "sgd momentum": ("sgd", dict(momentum=0.9, weight_decay=0.02), lambda p: torch.optim.SGD(p, lr=0.01, momentum=0.9, weight_decay=0.02)),
    "sgd nesterov": ("sgd", dict(momentum=0.9, nesterov=True), lambda p: torch.optim.SGD(p, lr=0.01, momentum=0.9, nesterov=True)),
    "adafactor t-few": ("adafactor", dict(scale_parameter=True), lambda p: Adafactor(p, lr=0.01, scale_parameter=True, relative_step=False)),
    "adafactor plain": ("adafactor", dict(weight_decay=0.01, adafactor_beta1=0.9),
                        lambda p: Adafactor(p, lr=0.01, scale_parameter=False, relative_step=False, weight_decay=0.01, beta1=0.9)),
    "adafactor relative": ("adafactor", dict(scale_parameter=True, relative_step=True, warmup_init=True),
                           lambda p: Adafactor(p, lr=None, scale_parameter=True, relative_step=True, warmup_init=True)),
    "lion": ("lion", dict(beta1=0.9, beta2=0.99, weight_decay=0.1), lambda p: Lion(p, lr=0.01, betas=(0.9, 0.99), weight_decay=0.1)),
}
for name, (kind, settings, make) in RULES.items():
    for shape in ([37], [6, 9], [2, 3, 5]):
        start, gradients, after, _ = run(make, shape)
        answer = ask(optimizer=kind, settings=settings, rate=0.01, shape=shape, start=flat(start), gradients=[flat(g) for g in gradients])
        figure = worst(answer["after"], after)
        check(f"{name} {shape} over {STEPS} steps", figure < TOLERANCE, f"worst {figure:.1e}")

# A code may fall to the other side of a midpoint when float32 sums in another order: from there the two differ by a code's width.
# So single steps are compared exactly, and the end by how far apart two runs of the same rule may drift.
for shape in ([5000], [80, 64]):
    make = lambda p: AdamW8bit(p, lr=0.01, betas=(0.9, 0.999), weight_decay=0.01)
    for steps in (1, STEPS):
        start, gradients, after, state = run(make, shape, steps)
        answer = ask(optimizer="adamw_8bit", settings=dict(weight_decay=0.01), rate=0.01, shape=shape, start=flat(start), gradients=[flat(g) for g in gradients])
        distance = (torch.tensor(answer["after"][-1]) - after[-1].reshape(-1)).abs()
        count = distance.numel()
        equal = sum(int(a) == b for a, b in zip(answer["state"]["optimizer.p.state1"], flat(state["m"][0]))) / len(answer["state"]["optimizer.p.state1"])
        equal2 = sum(int(a) == b for a, b in zip(answer["state"]["optimizer.p.state2"], flat(state["v"][0]))) / len(answer["state"]["optimizer.p.state2"])
        far = (distance > TOLERANCE).sum().item() / count
        check(f"adamw_8bit {shape} after {steps} steps", far <= (0 if steps == 1 else 0.01) and equal > 0.99 and equal2 > 0.99,
              f"{far:.2%} of values differ, codes equal {equal:.2%} and {equal2:.2%}")
start, gradients, after, _ = run(lambda p: torch.optim.AdamW(p, lr=0.01, weight_decay=0.01), [60, 60])
answer = ask(optimizer="adamw_8bit", settings=dict(weight_decay=0.01), rate=0.01, shape=[60, 60], start=flat(start), gradients=[flat(g) for g in gradients])
check("adamw_8bit keeps small tensors in float32", worst(answer["after"], after) < TOLERANCE)

KINDS = [("linear", {}, {}), ("cosine", {}, {}), ("cosine", dict(num_cycles=1.5), dict(num_cycles=1.5)), ("cosine_with_restarts", dict(num_cycles=3), dict(num_cycles=3)),
         ("polynomial", dict(power=2.0, lr_end=1e-3), dict(power=2.0, lr_end=1e-3)), ("polynomial", {}, {}), ("constant", {}, {}), ("constant_with_warmup", {}, {}),
         ("inverse_sqrt", {}, {}), ("inverse_sqrt", dict(timescale=20), dict(timescale=20)), ("cosine_with_min_lr", dict(min_lr_rate=0.1), dict(min_factor=0.1)),
         ("warmup_stable_decay", dict(num_decay_steps=12, min_lr_ratio=0.1), dict(num_decay_steps=12, min_factor=0.1)),
         ("warmup_stable_decay", dict(num_decay_steps=9, warmup_type="cosine", decay_type="linear"), dict(num_decay_steps=9, warmup_type="cosine", decay_type="linear")),
         ("warmup_stable_decay", dict(num_decay_steps=20, warmup_type="1-sqrt", decay_type="1-sqrt"), dict(num_decay_steps=20, warmup_type="1-sqrt", decay_type="1-sqrt"))]
for kind, theirs, ours in KINDS:
    for warmup in (0, 7):
        optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=0.5)
        scheduler = get_scheduler(kind, optimizer, num_warmup_steps=warmup, num_training_steps=STEPS, scheduler_specific_kwargs=theirs or None)
        expected = []
        for _ in range(STEPS + 2):
            expected.append(scheduler.get_last_lr()[0] / 0.5)
            optimizer.step()
            scheduler.step()
        actual = ask(schedule=dict(kind=kind, warmup_steps=warmup, total_steps=STEPS, rate=0.5, **ours), steps=STEPS + 2)["factors"]
        figure = max(abs(a - b) for a, b in zip(actual, expected))
        check(f"schedule {kind} {theirs} warm-up {warmup}", figure < 1e-12, f"worst {figure:.1e}")

golden = pathlib.Path(os.environ.get("LUTHIER_SHARED", pathlib.Path(__file__).resolve().parents[3] / "shared")) / "peft-golden/numerics.json"
if golden.exists():
    numbers = json.loads(golden.read_text())
    named = {"adamw_lr0.1_wd0.01": ("adamw", 0.1, dict(weight_decay=0.01)), "sgd_lr0.1_mom0.9": ("sgd", 0.1, dict(momentum=0.9)),
             "sgd_lr0.1_mom0.9_nesterov_wd0.01": ("sgd", 0.1, dict(momentum=0.9, nesterov=True, weight_decay=0.01)),
             "hf_adafactor_lr3e-3_scale_norel": ("adafactor", 3e-3, dict(scale_parameter=True)), "hf_adafactor_vector_lr3e-3": ("adafactor", 3e-3, dict(scale_parameter=True)),
             "hf_adafactor_relative_step": ("adafactor", 0, dict(scale_parameter=True, relative_step=True)),
             "hf_adafactor_lr1e-3_noscale_wd0.01_beta1_0.9": ("adafactor", 1e-3, dict(weight_decay=0.01, adafactor_beta1=0.9)),
             "bnb_lion32_lr0.1_wd0.01": ("lion", 0.1, dict(beta2=0.99, weight_decay=0.01))}
    for name, (kind, rate, settings) in named.items():
        case = numbers["optim"][name]
        answer = ask(optimizer=kind, settings=settings, rate=rate, shape=case["p0"]["shape"], start=case["p0"]["data"], gradients=[g["data"] for g in case["grads"]])
        figure = worst(answer["after"], [torch.tensor(p["data"]) for p in case["p_after"]])
        check(f"golden {name}", figure < 1e-6, f"worst {figure:.1e}")
    # The library quantised 300 elements; here sixteen copies of its first block of 256 pass the limit of 4096, block by block the same.
    # Its CPU version looks codes up in a table of 65536 entries, so a share nearer than one entry to the middle between two codes may
    # fall to either side (its CUDA version searches exactly). Such elements are left out, from the same rule run beside it.
    case = numbers["optim8"]["adamw8bit_lr0.01_wd0.01"]
    block = lambda values: torch.tensor(values["data"][:256])
    answer = ask(optimizer="adamw_8bit", settings=dict(weight_decay=0.01), rate=0.01, shape=[4096], start=flat(block(case["p0"]).repeat(16)),
                 gradients=[flat(block(g).repeat(16)) for g in case["grads"]])
    parameter = torch.nn.Parameter(block(case["p0"]))
    rule = AdamW8bit([parameter], lr=0.01, betas=(0.9, 0.999), weight_decay=0.01)
    doubtful, figure = torch.zeros(256, dtype=torch.bool), 0.0
    encode = rule.encode

    def watched(values, codes):
        global doubtful
        share = values / values.abs().max()
        doubtful |= (share[:, None] - (codes[1:] + codes[:-1]) / 2).abs().min(1).values < 1 / 65536
        return encode(values, codes)

    rule.encode = watched
    for step, gradient in enumerate(case["grads"]):
        before = doubtful.clone()
        parameter.grad = block(gradient)
        rule.step()
        distance = (torch.tensor(answer["after"][step][:256]) - block(case["p_after"][step])).abs()
        figure = max(figure, distance[~before].max().item())
    certain = ~doubtful
    equal = all(torch.equal(torch.tensor(answer["state"][f"optimizer.p.state{i}"][:256])[certain].int(), block(case[f"state{i}_codes"])[certain].int()) for i in (1, 2))
    check("golden bitsandbytes adamw8bit", figure < 1e-6 and equal and certain.sum() > 200, f"worst {figure:.1e} over {int(certain.sum())} of 256 elements")

probe.stdin.close()
print(f"{passed} passed, {failed} failed")
sys.exit(1 if failed or probe.wait() else 0)
