# SPDX-License-Identifier: Apache-2.0
"""Transfer learning against a plain torch loop: learning rates per depth are torch's parameter groups, gradual unfreezing is requires_grad
turned on block by block, a new head is what the seed draws. 20 steps each; resumed runs end bit for bit. `transfer.py PART` runs a part."""
import json
import re
import sys
from pathlib import Path

import torch
from safetensors.torch import load_file

from common import check, engine, finish, gpt2, llama, losses, random_rows, reference_losses, temporary, train, worst
from contract import Classifier, Decoder, Seq2Seq
import encoders
from saved_modules import EPSILON, loss_sum, relative, with_rows

STEPS = 20
PART = sys.argv[1] if len(sys.argv) > 1 else ""


def depth_of(name, layers, encoder_layers=0):
    """0 the embeddings, then blocks from below, above them the last norm and the head."""
    if block := re.search(r"(encoder|decoder)\.block\.(\d+)\.", name):
        return 1 + int(block[2]) + (encoder_layers if block[1] == "decoder" else 0)
    if "encoder.final_layer_norm" in name:
        return encoder_layers
    if block := re.search(r"(layers|h|layer)\.(\d+)\.", name):
        return 1 + int(block[2])
    return layers + 1 if re.search(r"norm\.|ln_f|lm_head|final_layer_norm|pooler|classifier", name) and "embeddings" not in name else 0


def reference(model, rows, depths, lr, decay=1.0, every=0, only=None):
    """AdamW with a group of its own for every parameter; a frozen one has no gradient, and the optimiser passes it by."""
    top = max(depths.values())
    named = dict(model.named_parameters())
    trained = [name for name in depths if only is None or only(name)]
    optimizer = torch.optim.AdamW([dict(params=[named[name]], lr=0.0, factor=decay ** (top - depths[name])) for name in trained], eps=EPSILON, weight_decay=0.0)
    for name, parameter in named.items():
        parameter.requires_grad_(name in trained)
    stages = sorted({min(depths[name], top - 1) for name in trained}, reverse=True)
    values, counts = [], []
    for step in range(STEPS):
        if every:
            lowest = stages[min(step // every, len(stages) - 1)]
            for name in trained:
                named[name].requires_grad_(depths[name] >= lowest)
            counts.append(sum(named[name].numel() for name in trained if depths[name] >= lowest))
        for group in optimizer.param_groups:
            group["lr"] = lr * group["factor"] * (STEPS - step) / STEPS
        parts = [loss_sum(model, rows[(step * 4 + i) % len(rows)]) for i in range(4)]
        loss = sum(part for part, _ in parts) / sum(count for _, count in parts)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_([p for p in named.values() if p.grad is not None], 1.0)
        optimizer.step()
        values.append(loss.item())
    return values, counts


def compare(label, folder, model_folder, model, method, rows, depths, extra=(), only=None):
    lr = 1e-3
    expected, counts = reference(model, rows, depths, lr, method.get("layer_lr_decay", 1.0), method.get("unfreeze_every", 0), only)
    actual, run = train(folder, model_folder, method, rows, STEPS, lr=lr, extra=extra, adam_epsilon=EPSILON, save_every=7)
    check(f"loss curve follows torch ({label})", worst(actual, expected) < 1e-4, f"worst {worst(actual, expected):.1e}")
    ours = load_file(run / "model" / "model.safetensors")
    theirs = {name: value for name, value in model.state_dict().items() if name in ours}
    moved = relative(ours, theirs)
    check(f"ends in torch's weights ({label})", len(theirs) > 10 and moved < 2e-3, f"relative {moved:.1e}")
    if counts:
        events = [json.loads(line) for line in (run / "events.jsonl").read_text().splitlines()]
        told = {event["step"]: event["trainable"] for event in events if event["type"] == "unfrozen"}
        wanted = {step + 1: count for step, count in enumerate(counts) if step == 0 or counts[step - 1] != count}
        check(f"each stage is told with its count ({label})", told == wanted and len(told) > 1, str(told))
    # Resumed from the checkpoint of step 14: what came after is done again.
    for line in ("summary.json",):
        (run / line).unlink()
    kept = [line for line in (run / "events.jsonl").read_text().splitlines() if '"finished"' not in line and not ('"step":' in line and json.loads(line).get("step", 0) > 14)]
    (run / "events.jsonl").write_text("\n".join(kept) + "\n")
    for step in (run / "checkpoints").iterdir():
        if step.name > "step-000014":
            for file in step.iterdir():
                file.unlink()
            step.rmdir()
    engine("train", "--resume", run.name, "--workspace", run.parent.parent)
    again = load_file(run / "model" / "model.safetensors")
    check(f"resumed at step 14: equal bit for bit ({label})", all(torch.equal(again[name], ours[name]) for name in ours))


def rates(base):
    rows = random_rows(24)
    for label, make, changes in (("llama", llama, {}), ("tied gpt2", gpt2, {}), ("llama in stages", llama, dict(unfreeze_every=4)), ("gpt2 in stages with rates", gpt2, dict(unfreeze_every=3, layer_lr_decay=0.6))):
        model = make()
        folder = base / label.replace(" ", "-")
        model.save_pretrained(folder / "model")
        names = [name for name, _ in model.named_parameters()]
        method = dict(type="full", **(changes or dict(layer_lr_decay=0.6)))
        compare(f"full {label}", folder, folder / "model", model, method, rows, {name: depth_of(name, 3) for name in names})
    case = with_rows(Seq2Seq("t5", 1))
    case.model.save_pretrained(base / "t5")
    config = case.model.config
    depths = {name: depth_of(name, config.num_layers + config.num_decoder_layers, config.num_layers) for name, _ in case.model.named_parameters()}
    compare("full t5 in stages with rates", base / "t5-run", base / "t5", case.model, dict(type="full", unfreeze_every=3, layer_lr_decay=0.7), case.rows, depths, case.extra)
    for label, case in (("bloom", Decoder("bloom")), ("bert", Classifier("bert"))):
        case = with_rows(case)
        case.model.save_pretrained(base / label)
        depths = {name: depth_of(name, case.model.config.num_hidden_layers) for name, _ in case.model.named_parameters()}
        compare(f"full {label} in stages with rates", base / f"{label}-run", base / label, case.model, dict(type="full", unfreeze_every=4, layer_lr_decay=0.6), case.rows, depths, case.extra)
    model = llama()
    model.save_pretrained(base / "freeze")
    depths = {name: depth_of(name, 3) for name, _ in model.named_parameters()}
    compare("freeze two blocks in stages", base / "freeze-run", base / "freeze", model, dict(type="freeze", trainable_layers=2, train_head=True, unfreeze_every=4, layer_lr_decay=0.5), rows, depths,
            only=lambda name: depths[name] >= 2)


def drawn(folder, model_folder, method, rows, extra=(), seed=42):
    """The head that a run starts with: one step at a rate that changes nothing."""
    _, run = train(folder, model_folder, method, rows, 1, lr=0.0, extra=extra, seed=seed)
    return run


def new_heads(base):
    rows = random_rows(24)
    method = dict(type="freeze", trainable_layers=1, new_head=True)
    for label, make, head in (("llama", llama, "lm_head.weight"), ("tied llama", lambda: llama(tie_word_embeddings=True), "lm_head.weight"), ("tied gpt2", gpt2, "lm_head.weight")):
        model = make()
        folder = base / ("head-" + label.replace(" ", "-"))
        model.save_pretrained(folder / "model")
        start = load_file(drawn(folder / "start", folder / "model", method, rows) / "model" / "model.safetensors")
        again = load_file(drawn(folder / "again", folder / "model", method, rows) / "model" / "model.safetensors")
        other = load_file(drawn(folder / "other", folder / "model", method, rows, seed=7) / "model" / "model.safetensors")
        old = model.get_output_embeddings().weight
        spread = start[head].std().item() / model.config.initializer_range
        check(f"a new head is drawn from the seed ({label})", torch.equal(start[head], again[head]) and not torch.equal(start[head], other[head]) and not torch.equal(start[head], old) and abs(spread - 1) < 0.05,
              f"deviation over initializer_range {spread:.3f}")
        kept = [name for name in start if name != head]
        check(f"nothing else is drawn ({label})", all(torch.equal(start[name], model.state_dict()[name]) for name in kept))
        fresh = type(model).from_pretrained(drawn(folder / "loaded", folder / "model", method, rows) / "model").eval()
        check(f"transformers loads it untied ({label})", torch.equal(fresh.get_output_embeddings().weight, start[head]) and torch.equal(fresh.get_input_embeddings().weight, model.get_input_embeddings().weight))
        for name, parameter in fresh.named_parameters():
            parameter.requires_grad = depth_of(name, 3) >= 3
        count = sum(p.numel() for p in fresh.parameters() if p.requires_grad)
        expected = reference_losses(fresh, rows, STEPS, lr=1e-3)
        actual, run = train(folder / "run", folder / "model", method, rows, STEPS, lr=1e-3)
        check(f"loss curve follows transformers ({label})", worst(actual, expected) < 1e-4, f"worst {worst(actual, expected):.1e}")
        estimated = json.loads(engine("estimate", folder / "run" / "run.json", "--json"))
        trained = json.loads((run / "summary.json").read_text())["trainable"]
        check(f"count before = after = transformers' ({label})", estimated["trainable"] == trained == count, f"{estimated['trainable']}, {trained}, {count}")

    # A classifier's trained head gives way to one with other classes; BERT's pooler stays.
    case = with_rows(Classifier("bert"))
    case.model.save_pretrained(base / "bert")
    rows = [{**row, "label": i % 5} for i, row in enumerate(case.rows)]
    extra = ("--set", 'model.task="sequence_classification"', "--set", "model.num_labels=5")
    start = load_file(drawn(base / "bert-start", base / "bert", method, rows, extra) / "model" / "model.safetensors")
    check("a classifier's new head has num_labels rows", list(start["classifier.weight"].shape) == [5, case.model.config.hidden_size] and not start["classifier.bias"].any())
    check("a classifier's pooler stays", torch.equal(start["bert.pooler.dense.weight"], case.model.state_dict()["bert.pooler.dense.weight"]))
    same = load_file(drawn(base / "bert-same", base / "bert", method, case.rows, case.extra) / "model" / "model.safetensors")
    check("a trained head of the same size gives way too", not torch.equal(same["classifier.weight"], case.model.state_dict()["classifier.weight"]))
    done = engine("train", base / "bert-start" / "run.json", "--workspace", base / "refused", *extra, "--set", "method.new_head=false", expect=3)
    check("without new_head another number of classes is refused", done.returncode != 0 and "classifier.weight" in done.stderr + done.stdout, (done.stderr + done.stdout)[-200:])


def chosen_parts(base):
    """What freezing trains: the final norm goes with the last block, parts are taken as they are named."""
    rows = random_rows(8)
    untied = lambda: gpt2(tie_word_embeddings=False)
    for label, make, block, norm in (("llama", llama, "model.layers.", "model.norm."), ("gpt2", untied, "transformer.h.", "transformer.ln_f.")):
        make().save_pretrained(base / label)
        before = load_file(base / label / "model.safetensors")
        cases = {"one block": (dict(trainable_layers=1), (block + "2.", norm)),
                 "two blocks": (dict(trainable_layers=2), (block + "1.", block + "2.", norm)),
                 "the head alone": (dict(trainable_layers=0, train_head=True), ("lm_head.",)),
                 "a block by name": (dict(parts=[block + "1"]), (block + "1.",)),
                 "the last two blocks by name, without the norm": (dict(trainable_layers=0, parts=[block + "1", block + "2"]), (block + "1.", block + "2.")),
                 "the final norm by name": (dict(parts=[norm[:-1]]), (norm,)),
                 "one block and a part": (dict(trainable_layers=1, parts=[block + "0"]), (block + "0.", block + "2.", norm))}
        for name, (settings, wanted) in cases.items():
            _, run = train(base / f"{label}-{name}".replace(" ", "-").replace(",", ""), base / label, dict(type="freeze", **settings), rows, 1, lr=1e-2)
            after = load_file(run / "model" / "model.safetensors")
            moved = {tensor for tensor in before if not torch.equal(before[tensor], after[tensor])}
            right = {tensor for tensor in before if tensor.startswith(wanted)}
            check(f"freeze trains {name} ({label})", moved == right and moved, f"besides {sorted(moved - right)[:3]}, not {sorted(right - moved)[:3]}")
    (base / "none.json").write_text(json.dumps(dict(model=dict(path=str(base / "llama")), method=dict(type="freeze", trainable_layers=0),
                                                    data=dict(train=dict(path="llama-one-block/rows.jsonl", format="tokenized"), eval=dict(split=0)), train=dict(max_steps=1))))
    done = engine("train", base / "none.json", "--workspace", base / "workspace", expect=2)
    check("nothing to train is refused by key", done.returncode == 2 and "trainable_layers" in done.stderr + done.stdout, (done.stderr + done.stdout)[-200:])
    case = with_rows(Seq2Seq("t5", 1))
    case.model.save_pretrained(base / "t5")
    _, run = train(base / "encoder", base / "t5", dict(type="freeze", parts=["encoder"]), case.rows, 1, lr=1e-2, extra=case.extra)
    before, after = load_file(base / "t5" / "model.safetensors"), load_file(run / "model" / "model.safetensors")
    moved = {name.split(".")[0] for name in before if not torch.equal(before[name], after[name])}
    check("the encoder alone (t5)", moved == {"encoder"}, str(moved))


def main():
    with temporary() as base:
        base = Path(base)
        for name, part in {"rates": rates, "heads": new_heads, "parts": chosen_parts}.items():
            if PART in name:
                part(base)
    finish()


if __name__ == "__main__":
    main()
