# SPDX-License-Identifier: Apache-2.0
"""Label smoothing, NEFTune's noise and grouping by length against transformers' own: LabelSmoother, neftune_post_forward_hook and
get_length_grouped_indices. `loss_options.py PART` runs the cases whose label holds PART."""
import json
import statistics
import sys
from pathlib import Path

import torch
from safetensors.torch import load_file
from transformers.integrations.neftune import neftune_post_forward_hook
from transformers.trainer_pt_utils import LabelSmoother, get_length_grouped_indices

import encoders
from common import check, engine, finish, llama, random_rows, temporary, train, worst, write_rows
from contract import Classifier, Seq2Seq

PART = sys.argv[1] if len(sys.argv) > 1 else ""
EPSILON = 0.15
ALPHA = 15.0
DRAWS = 250
MAKE = {"llama": llama, "t5": lambda: Seq2Seq("t5", 1).model, "bert": lambda: Classifier("bert").model}
EXTRA = {"llama": (), "t5": Seq2Seq.extra, "bert": Classifier.extra}


def rows_of(family):
    generator = torch.Generator().manual_seed(9)
    if family == "llama":
        return random_rows(6)
    if family == "t5":
        return [{"input_ids": encoders.ids_of(generator, 6, 18), "labels": encoders.ids_of(generator, 4, 10)} for _ in range(6)]
    return [{"input_ids": encoders.ids_of(generator, 6, 18), "label": i % encoders.CLASSES} for i in range(6)]


def padded(lists, value):
    return torch.nn.utils.rnn.pad_sequence([torch.tensor(ids) for ids in lists], batch_first=True, padding_value=value)


def outputs_of(model, rows):
    """transformers' outputs for a padded batch, and its labels."""
    ids, mask = padded([row["input_ids"] for row in rows], 0), padded([[1] * len(row["input_ids"]) for row in rows], 0)
    if "label" in rows[0]:
        return model(input_ids=ids, attention_mask=mask), torch.tensor([row["label"] for row in rows])
    labels = padded([row["labels"] for row in rows], -100)
    return (model(input_ids=ids, attention_mask=mask, labels=labels) if model.config.is_encoder_decoder else model(input_ids=ids, attention_mask=mask)), labels


def smoothed(family, model, rows, epsilon=EPSILON):
    outputs, labels = outputs_of(model, rows)
    return LabelSmoother(epsilon=epsilon)(dict(logits=outputs.logits), labels, shift_labels=family == "llama")


def events(run, kind):
    return [event for line in (Path(run) / "events.jsonl").read_text().splitlines() if (event := json.loads(line))["type"] == kind]


def smoothing(family, folder, rows):
    model = MAKE[family]().eval()
    loss = smoothed(family, model, rows)
    loss.backward()
    write_rows(folder / "rows.jsonl", rows)
    engine("score", folder / "model", "--data", folder / "rows.jsonl", "--out", folder / "out.safetensors", "--what", "gradients", "--label-smoothing", EPSILON)
    ours = load_file(folder / "out.safetensors")
    check(f"label smoothing: loss ({family})", abs(ours["loss"] - loss.item()) < 1e-5, f"{ours['loss'] - loss.item():.1e}")
    theirs = {name: p.grad for name, p in model.named_parameters() if p.grad is not None and name in ours}
    # A softmax does not see its keys' bias: that gradient is 0, and rounding on either side.
    none = [name for name in theirs if name.endswith("key.bias")]
    figure = max(((ours[name] - gradient).abs().max() / gradient.abs().max().clamp(min=1e-6)).item() for name, gradient in theirs.items() if name not in none)
    check(f"label smoothing: no gradient of keys' biases ({family})", all(ours[name].abs().max() < 1e-6 for name in none))
    check(f"label smoothing: gradients ({family})", len(theirs) > 10 and figure < 1e-4, f"relative {figure:.1e} over {len(theirs)} tensors")
    _, run = train(folder / "smooth", folder / "model", dict(type="full"), rows, 1, batch=6, lr=0, label_smoothing_factor=EPSILON, eval_every=1,
                   extra=(*EXTRA[family], "--set", f'data.eval.path="{folder}/rows.jsonl"'))
    check(f"label smoothing: in training ({family})", abs(events(run, "step")[0]["loss"] - loss.item()) < 1e-5, f"{events(run, 'step')[0]['loss']}")
    plain = smoothed(family, model, rows, 0).item()
    check(f"label smoothing: not in evaluation ({family})", abs(events(run, "eval")[0]["loss"] - plain) < 1e-5 and abs(plain - loss.item()) > 1e-3, f"{events(run, 'eval')[0]['loss']} against {plain}")


def noise(family, folder, rows):
    """The same row again and again: the losses under noise have the mean and spread of transformers' losses under its own."""
    row = rows[0]
    model = MAKE[family]().eval()
    plain = smoothed(family, model, [row], 0).item()
    embeddings = model.get_encoder().embed_tokens if family == "t5" else model.get_input_embeddings()
    embeddings.neftune_noise_alpha = ALPHA
    embeddings.register_forward_hook(neftune_post_forward_hook)
    embeddings.train()
    torch.manual_seed(3)
    with torch.no_grad():
        theirs = [smoothed(family, model, [row], 0).item() for _ in range(DRAWS)]
    ours, run = train(folder / "noise", folder / "model", dict(type="bitfit" if family == "bert" else "lora"), [row], DRAWS, batch=1, lr=0, neftune_noise_alpha=ALPHA, eval_every=100,
                      extra=(*EXTRA[family], "--set", f'data.eval.path="{folder}/rows.jsonl"'))
    spread = statistics.stdev(theirs)
    error = spread * (2 / DRAWS) ** 0.5
    difference = abs(statistics.fmean(ours) - statistics.fmean(theirs))
    check(f"noise: the mean loss is transformers' ({family})", difference < 4 * error, f"{difference / error:.1f} standard errors")
    check(f"noise: so is its spread ({family})", 0.75 < statistics.stdev(ours) / spread < 1.33 and spread > 1e-3, f"{statistics.stdev(ours):.3f} against {spread:.3f}, without noise {plain:.3f}")
    check(f"noise: none in evaluations ({family})", len({event["loss"] for event in events(run, "eval")}) == 1)
    again, _ = train(folder / "again", folder / "model", dict(type="bitfit" if family == "bert" else "lora"), [row], 5, batch=1, lr=0, neftune_noise_alpha=ALPHA, extra=EXTRA[family])
    check(f"noise: the same for the same seed, another at every step ({family})", again == ours[:5] and len(set(ours)) > DRAWS * 0.9)


def grouping(folder):
    rows = random_rows(50, low=4, high=60)
    lengths = [len(row["input_ids"]) for row in rows]
    randperm, torch.randperm = torch.randperm, lambda count, generator=None: torch.arange(count)
    order = get_length_grouped_indices(lengths, 4)
    torch.randperm = randperm
    _, run = train(folder / "grouped", folder / "model", dict(type="lora"), rows, 12, batch=2, accumulation=2, lr=0, group_by_length=True)
    expected = [sum(lengths[i] for i in order[step * 4:step * 4 + 4]) for step in range(12)]
    found = [event["tokens"] for event in events(run, "step")]
    check("rows grouped by length are transformers' steps", found == expected, f"{found[:5]} against {expected[:5]}")


def refusals(folder):
    for label, settings, data in (("label smoothing with L_UL", dict(label_smoothing_factor=0.1, loss=dict(unlikelihood=1)), {}), ("grouping with packing", dict(group_by_length=True), dict(packing=True))):
        document = dict(model=dict(path="model"), method=dict(type="lora"), data=dict(train=dict(path="rows.jsonl"), **data), train=settings)
        (folder / "bad.json").write_text(json.dumps(document))
        failed = json.loads(engine("train", folder / "bad.json", "--workspace", folder / "workspace", expect=2).stderr.splitlines()[-1])
        check(f"{label} is refused before anything is read", failed["code"] == "settings_exclude", failed["message"])


with temporary() as base:
    base = Path(base)
    for family, make in MAKE.items():
        if PART not in family:
            continue
        folder = base / family
        make().save_pretrained(folder / "model")
        smoothing(family, folder, rows_of(family))
        noise(family, folder, rows_of(family))
    if PART in "grouping":
        (base / "plain").mkdir()
        llama().save_pretrained(base / "plain" / "model")
        grouping(base / "plain")
        refusals(base / "plain")
finish()
