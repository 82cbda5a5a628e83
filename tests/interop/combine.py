# SPDX-License-Identifier: Apache-2.0
"""`combine` against peft's add_weighted_adapter: equal matrices for every type that draws nothing, equal products for svd and …_svd, equal statistics
for DARE, equal vectors for IA3; and the refusals, which `combine.py refusals` runs alone."""
import json
import math
import shutil
import sys
from pathlib import Path

import torch
from peft import IA3Config, LoraConfig, PeftModel, get_peft_model
from safetensors.torch import load_file, save_file

from common import check, engine, finish, gpt2, llama, logits_of, random_rows, score, taken, temporary

WEIGHTS = [0.7, -0.4, 1.3]
MODULES = {"llama": ["q_proj", "down_proj"], "gpt2": ["c_attn", "c_proj"]}


def adapter(make, folder, seed, **settings):
    """A LoRA with random values in both matrices."""
    return randomly(make, LoraConfig(task_type="CAUSAL_LM", **settings), folder, seed)


def randomly(make, config, folder, seed):
    model = get_peft_model(make(), config)
    torch.manual_seed(seed)
    for name, parameter in model.named_parameters():
        if "lora_" in name or "ia3_" in name:
            parameter.data.add_(torch.randn_like(parameter) * 0.05) if "ia3_" in name else parameter.data.normal_(0, 0.05)
    model.save_pretrained(folder)
    return folder


def peft_combined(make, folders, weights, folder, **arguments):
    """add_weighted_adapter's result as a folder, and the model that carries it."""
    model = PeftModel.from_pretrained(make(), folders[0], adapter_name="a0")
    for i, other in enumerate(folders[1:], 1):
        model.load_adapter(other, adapter_name=f"a{i}")
    model.add_weighted_adapter([f"a{i}" for i in range(len(folders))], weights, "mixed", **arguments)
    model.set_adapter("mixed")
    model.save_pretrained(folder, selected_adapters=["mixed"])
    return folder / "mixed", model.eval()


def combined(folders, weights, out, *arguments):
    parts = [value for folder, weight in zip(folders, weights) for value in ("--adapter", f"{folder}:{weight}")]
    return json.loads(engine("combine", *parts, "--out", out, "--json", *arguments))


def tensors_of(folder):
    return load_file(Path(folder) / "adapter_model.safetensors")


def products(tensors):
    return {name.replace("lora_A", ""): tensors[name.replace("lora_A", "lora_B")] @ tensors[name] for name in tensors if "lora_A" in name}


def difference(ours, theirs):
    if ours.keys() != theirs.keys():
        return math.inf
    return max((ours[name] - theirs[name]).abs().max().item() if ours[name].shape == theirs[name].shape else math.inf for name in theirs)


def same_as_peft(base, family, make):
    model_folder = base / family
    make().save_pretrained(model_folder)
    rows = random_rows(3)
    equal = [adapter(make, base / f"{family}-{i}", i, r=4, lora_alpha=[8, 3, 16][i], target_modules=MODULES[family]) for i in range(3)]
    ranks = [adapter(make, base / f"{family}-r{i}", 7 + i, r=[2, 8, 4][i], lora_alpha=8, use_rslora=i == 2, target_modules=MODULES[family][: 1 + i % 2]) for i in range(3)]
    ranks.append(adapter(make, base / f"{family}-pattern", 11, r=3, lora_alpha=6, rank_pattern={MODULES[family][0]: 5}, alpha_pattern={MODULES[family][0]: 9},
                         target_modules=MODULES[family]))
    cases = [("cat", "cat", equal, {}), ("linear", "linear", equal, {}), ("svd", "svd", equal, {}), ("cat of unequal ranks", "cat", ranks, {}), ("svd of unequal ranks", "svd", ranks, {}),
             ("svd to rank 6", "svd", equal, dict(svd_rank=6)), ("one adapter", "cat", equal[:1], {})]
    for density in (0.3, 0.8, 1.0):
        cases += [(f"{kind} at {density}", kind, equal, dict(density=density)) for kind in ("ties", "magnitude_prune", "ties_svd", "magnitude_prune_svd")]
    cases += [(f"{kind} by count", kind, equal, dict(density=0.5, majority_sign_method="frequency")) for kind in ("ties", "ties_svd")]
    cases += [(f"{kind} of unequal ranks", kind, ranks, dict(density=0.4, svd_rank=5)) for kind in ("ties_svd", "magnitude_prune_svd")]
    cases += [(f"{kind} that drops nothing", kind, ranks, dict(density=1.0)) for kind in ("dare_linear_svd", "dare_ties_svd")]
    for label, kind, folders, arguments in cases:
        if not taken(f"combine {family} {label}"):
            continue
        weights = (WEIGHTS + [0.5])[: len(folders)]
        folder = base / f"{family}-{label.replace(' ', '-')}"
        theirs, model = peft_combined(make, folders, weights, folder / "peft", combination_type=kind, **arguments)
        flags = {"density": "--density", "svd_rank": "--rank", "majority_sign_method": "--sign"}
        combined(folders, weights, folder / "ours", "--method", kind, *[value for key, given in arguments.items() for value in (flags[key], given)])
        ours, reference = tensors_of(folder / "ours"), tensors_of(theirs)
        figure = difference(products(ours), products(reference)) if kind.endswith("svd") else difference(ours, reference)
        check(f"combine equals peft ({family} {label})", figure < 1e-6, f"max difference {figure:.1e}")
        mine, other = (json.loads((path / "adapter_config.json").read_text()) for path in (folder / "ours", theirs))
        check(f"config equals peft's ({family} {label})", all(mine[key] == other[key] for key in ("r", "lora_alpha", "peft_type", "bias")) and
              set(mine["target_modules"]) == set(other["target_modules"]))
        scores = score(model_folder, rows, folder, folder / "ours")
        figure = max((logits_of(model, row) - one).abs().max().item() for row, one in zip(rows, scores))
        check(f"logits equal the mixed peft model's ({family} {label})", figure < 1e-4, f"max difference {figure:.1e}")
        if kind == "cat":
            together = score(model_folder, rows, folder, *[f"{path}:{weight}" for path, weight in zip(folders, weights)])
            figure = max((a - b).abs().max().item() for a, b in zip(together, scores))
            check(f"is the weighted sum of the adapters ({family} {label})", figure < 1e-4, f"max difference {figure:.1e}")
        loaded = PeftModel.from_pretrained(make(), folder / "ours").eval()
        loaded.save_pretrained(folder / "again")
        check(f"peft reads every tensor back ({family} {label})", difference(tensors_of(folder / "again"), ours) == 0)
    return equal


def rank_stabilised(base, family, make):
    """With rsLoRA in the first adapter PEFT's result keeps it, and so does ours of every type but cat, which is the sum; a weight of 0 has no part."""
    rows = random_rows(3)
    model_folder = base / family
    for which, stabilised in {"all": (True, True), "the first": (True, False), "the second": (False, True)}.items():
        folders = [adapter(make, base / f"{family}-rs-{which[-5:].strip()}-{i}", 30 + i, r=4, lora_alpha=[8, 6][i], use_rslora=stabilised[i], target_modules=MODULES[family]) for i in range(2)]
        cases = [("linear", [0.5, 0.7], {}), ("linear", [0.5, 0.0], {}), ("svd", [0.4, 0.0], {}), ("ties", [0.5, -0.3], dict(density=0.6)), ("magnitude_prune_svd", [0.5, 0.4], dict(density=0.5))]
        for kind, weights, arguments in cases:
            label = f"{family} {kind} {weights}, rsLoRA in {which}"
            folder = base / label.replace(" ", "-").replace(",", "")
            theirs, model = peft_combined(make, folders, weights, folder / "peft", combination_type=kind, **arguments)
            combined(folders, weights, folder / "ours", "--method", kind, *[value for key, given in arguments.items() for value in ("--" + key, given)])
            ours, reference = tensors_of(folder / "ours"), tensors_of(theirs)
            figure = difference(products(ours), products(reference)) if kind.endswith("svd") else difference(ours, reference)
            check(f"combine equals peft ({label})", figure < 1e-6, f"max difference {figure:.1e}")
            loaded = PeftModel.from_pretrained(make(), folder / "ours").eval()
            figure = max((logits_of(model, row) - logits_of(loaded, row)).abs().max().item() for row in rows)
            check(f"in peft it gives the mixed peft model's logits ({label})", figure < 1e-4, f"max difference {figure:.1e}")
            figure = max((logits_of(model, row) - one).abs().max().item() for row, one in zip(rows, score(model_folder, rows, folder, folder / "ours")))
            check(f"and here ({label})", figure < 1e-4, f"max difference {figure:.1e}")
        for flags in ([], ["--method", "cat"]):
            out = base / f"{family}-sum-{which[-5:].strip()}{len(flags)}"
            combined(folders, [0.5, 0.7], out, *flags)
            together = score(model_folder, rows, base, *[f"{path}:{weight}" for path, weight in zip(folders, [0.5, 0.7])])
            figure = max((a - b).abs().max().item() for a, b in zip(together, score(model_folder, rows, base, out)))
            check(f"cat is the weighted sum ({family}, rsLoRA in {which}, {flags})", figure < 1e-4, f"max difference {figure:.1e}")


def dare(base, make, folders):
    """Each of 100 draws with a seed of its own: the mean of what is kept is peft's formula, the share that is kept is the density."""
    density, draws = 0.4, 100
    name = "base_model.model.model.layers.0.self_attn.q_proj.lora_A.weight"
    inputs = [tensors_of(folder)[name] for folder in folders]
    scales = [8 / 4, 3 / 4, 16 / 4]
    factors = [math.copysign(math.sqrt(abs(w * s)), w * s) for w, s in zip(WEIGHTS, scales)]
    for kind in ("dare_linear", "dare_ties"):
        if not taken(f"combine {kind}"):
            continue
        ours, theirs = [], []
        from peft.utils.merge_utils import dare_linear, dare_ties
        torch.manual_seed(5)
        for draw in range(draws):
            out = base / f"{kind}-{draw}"
            combined(folders, WEIGHTS, out, "--method", kind, "--density", density, "--seed", draw)
            ours.append(tensors_of(out)[name])
            theirs.append({"dare_linear": dare_linear, "dare_ties": dare_ties}[kind](inputs, torch.tensor(factors), density))
        ours, theirs = torch.stack(ours), torch.stack(theirs)
        spread = ((ours.var(0) + theirs.var(0)) / draws).sqrt().clamp(min=1e-9)
        away = ((ours.mean(0) - theirs.mean(0)) / spread).abs()  # standard errors; 256 values exceed 5 once in some 5000 runs
        check(f"the mean over seeds is peft's ({kind})", away.max() < 5, f"at most {away.max():.1f} standard errors")
        zeros = [(sample == 0).float().mean().item() for sample in (ours, theirs)]
        check(f"as many zeros as peft's ({kind})", abs(zeros[0] - zeros[1]) < 0.01, f"{zeros[0]:.3f} against {zeros[1]:.3f}")
        if kind == "dare_linear":
            expected = sum(f * t for f, t in zip(factors, inputs))
            check("the expected value is the weighted sum", ((ours.mean(0) - expected) / (ours.var(0) / draws).sqrt()).abs().max() < 5)
        again = base / f"{kind}-again"
        combined(folders, WEIGHTS, again, "--method", kind, "--density", density, "--seed", 3)
        check(f"one seed gives one result ({kind})", torch.equal(tensors_of(again)[name], ours[3]))


def dare_of_products(base):
    """The same for B A, whose kept values the decomposition keeps when no rank is cut."""
    density, draws, make = 0.4, 100, lambda: llama(num_hidden_layers=1)
    folders = [adapter(make, base / f"product-{i}", 20 + i, r=4, lora_alpha=[8, 3, 16][i], target_modules=["q_proj"]) for i in range(3)]
    (scales, name) = ([8 / 4, 3 / 4, 16 / 4], "base_model.model.model.layers.0.self_attn.q_proj..weight")
    inputs = [products(tensors_of(folder))[name] * scale for folder, scale in zip(folders, scales)]
    from peft.utils.merge_utils import dare_linear, dare_ties
    for kind, rule in {"dare_linear_svd": dare_linear, "dare_ties_svd": dare_ties}.items():
        if not taken(f"combine {kind}"):
            continue
        torch.manual_seed(5)
        ours, theirs = [], []
        for draw in range(draws):
            combined(folders, WEIGHTS, base / f"{kind}-{draw}", "--method", kind, "--density", density, "--seed", draw, "--rank", 64)
            ours.append(products(tensors_of(base / f"{kind}-{draw}"))[name])
            theirs.append(rule(inputs, torch.tensor(WEIGHTS), density))
        ours, theirs = torch.stack(ours), torch.stack(theirs)
        away = ((ours.mean(0) - theirs.mean(0)) / ((ours.var(0) + theirs.var(0)) / draws).sqrt().clamp(min=1e-9)).abs()
        check(f"the mean over seeds is peft's ({kind})", away.max() < 5 and 0.6 < away.mean() < 1.0, f"{away.mean():.2f} standard errors, at most {away.max():.1f}")  # a normal deviate is 0.80 in the mean
        zeros = [(sample.abs() < 1e-6).float().mean().item() for sample in (ours, theirs)]
        check(f"as many zeros as peft's ({kind})", abs(zeros[0] - zeros[1]) < 0.01, f"{zeros[0]:.3f} against {zeros[1]:.3f}")


def ia3(base, family, make):
    """l = sum of w_i l_i over the adapters that have the module."""
    make().save_pretrained(base / f"{family}-ia3")
    rows = random_rows(3)
    key, down = {"llama": ("k_proj", "down_proj"), "gpt2": ("c_attn", "mlp.c_proj")}[family]
    kinds = [dict(target_modules=[key, down], feedforward_modules=[down]), dict(target_modules=[key], feedforward_modules=[]), dict(target_modules=[down], feedforward_modules=[down])]
    folders = [randomly(make, IA3Config(task_type="CAUSAL_LM", **kind), base / f"{family}-ia3-{i}", i) for i, kind in enumerate(kinds)]
    folder, weights = base / f"{family}-ia3-mixed", [0.6, 0.5, -0.3]
    theirs, model = peft_combined(make, folders, weights, folder / "peft")
    for flags in ([], ["--method", "linear"]):
        out = folder / ("ours" + "".join(flags))
        combined(folders, weights, out, *flags)
        figure = difference(tensors_of(out), tensors_of(theirs))
        check(f"combine equals peft ({family} ia3)", figure < 1e-6, f"max difference {figure:.1e}")
    mine, other = (json.loads((path / "adapter_config.json").read_text()) for path in (out, theirs))
    check(f"config equals peft's ({family} ia3)", all(set(mine[key]) == set(other[key]) for key in ("target_modules", "feedforward_modules")) and mine["peft_type"] == other["peft_type"])
    figure = max((logits_of(model, row) - one).abs().max().item() for row, one in zip(rows, score(base / f"{family}-ia3", rows, folder, out)))
    check(f"logits equal the mixed peft model's ({family} ia3)", figure < 1e-4, f"max difference {figure:.1e}")
    PeftModel.from_pretrained(make(), out).save_pretrained(folder / "again")
    check(f"peft reads every tensor back ({family} ia3)", difference(tensors_of(folder / "again"), tensors_of(out)) == 0)


def refused(label, base, code, words, *arguments, exit_code=2):
    out = base / "refused"
    done = engine("combine", *arguments, "--out", out, expect=exit_code)
    failure = json.loads(done.stderr.strip().splitlines()[-1]) if done.stderr.strip() else {}
    passed = done.returncode == exit_code and failure.get("code") == code and all(word in failure["message"] for word in words) and not out.exists()
    check(f"refused: {label}", passed, done.stderr.strip()[-200:])


def refusals(base):
    small = lambda: llama(num_hidden_layers=1)
    a = adapter(small, base / "a", 1, r=4, target_modules=["q_proj"])
    rank2 = adapter(small, base / "rank2", 2, r=2, target_modules=["q_proj"])
    wide = adapter(lambda: llama(num_hidden_layers=1, hidden_size=128), base / "wide", 3, r=4, target_modules=["q_proj"])
    dora = adapter(small, base / "dora", 4, r=4, target_modules=["q_proj"], use_dora=True)
    refused("unequal ranks where the type cannot", base, "combine_rank", ["rank", "2"], "--adapter", a, "--adapter", rank2, "--method", "ties")
    refused("adapters of different bases", base, "combine_shape", ["64", "128"], "--adapter", a, "--adapter", wide, exit_code=3)
    refused("DoRA", base, "combine_method", ["DoRA"], "--adapter", a, "--adapter", dora, exit_code=3)
    vectors = [randomly(lambda: llama(num_hidden_layers=1, hidden_size=width), IA3Config(task_type="CAUSAL_LM"), base / f"ia3-{width}", 5) for width in (64, 128)]
    refused("a LoRA beside IA3", base, "combine_method", ["lora"], "--adapter", vectors[0], "--adapter", a, exit_code=3)
    refused("IA3 beside a LoRA", base, "combine_method", ["ia3"], "--adapter", a, "--adapter", vectors[0], exit_code=3)
    refused("IA3 of different bases", base, "combine_shape", ["16 x 1", "32 x 1"], "--adapter", vectors[0], "--adapter", vectors[1], exit_code=3)
    refused("IA3 by another type than linear", base, "combine_method", ["ties"], "--adapter", vectors[0], "--adapter", vectors[0], "--method", "ties")
    refused("IA3 that cancels", base, "combination_zero", ["silence"], "--adapter", vectors[0], "--adapter", f"{vectors[0]}:-1")
    refused("nothing but weights of zero", base, "combination_zero", ["zero"], "--adapter", f"{a}:0", "--adapter", f"{a}:0")
    refused("adapters that cancel", base, "combination_zero", ["zero"], "--adapter", f"{a}:1", "--adapter", f"{a}:-1")
    refused("a density outside of its range", base, "combine_density", ["1.5"], "--adapter", a, "--adapter", a, "--method", "ties", "--density", 1.5)
    refused("a folder that is no adapter", base, "adapter_config_missing", ["adapter_config.json"], "--adapter", base, exit_code=3)
    pissa = base / "pissa"
    shutil.copytree(a, pissa)
    config = json.loads((pissa / "adapter_config.json").read_text())
    (pissa / "adapter_config.json").write_text(json.dumps({**config, "init_lora_weights": "pissa_niter_4"}))
    refused("one started by PiSSA", base, "combine_method", ["PiSSA"], "--adapter", a, "--adapter", pissa, exit_code=3)
    named = base / "named"  # PEFT reads files that keep the adapter's name in their keys
    shutil.copytree(a, named)
    save_file({key.replace(".weight", ".default.weight"): value for key, value in tensors_of(a).items()}, named / "adapter_model.safetensors")
    combined([a, named], [0.5, 0.5], base / "with-names")
    combined([a, a], [0.5, 0.5], base / "without-names")
    check("keys with the adapter's name are its keys", difference(tensors_of(base / "with-names"), tensors_of(base / "without-names")) == 0)
    (base / "taken").mkdir()
    done = engine("combine", "--adapter", a, "--out", base / "taken", expect=3)
    check("refused: a folder that exists", done.returncode in (2, 3) and "target_exists" in done.stderr and not any((base / "taken").iterdir()), done.stderr[-150:])


with temporary() as base:
    base = Path(base)
    part = sys.argv[1] if len(sys.argv) > 1 else ""
    equal = same_as_peft(base, "llama", llama) if part != "refusals" else []
    refusals(base)
    if not part:
        same_as_peft(base, "gpt2", gpt2)
        rank_stabilised(base, "llama", llama)
        rank_stabilised(base, "gpt2", gpt2)
        dare(base, llama, equal)
        dare_of_products(base)
        ia3(base, "llama", llama)
        ia3(base, "gpt2", gpt2)
finish()
