# SPDX-License-Identifier: Apache-2.0
"""Encoder-decoders, encoders and classification heads against transformers: logits, loss and gradients of all parameters, 64 greedy tokens.
Random tiny models, made here; `encoders.py NAME…` runs a part, `--table` prints a Markdown table of the worst figures."""
import json
import sys
from pathlib import Path

import torch
import transformers
from safetensors.torch import load_file

import families
from common import VOCABULARY, check, engine, finish, temporary, write_rows

CLASSES = 3
IDS = dict(vocab_size=VOCABULARY, pad_token_id=0, eos_token_id=1)
T5 = dict(**IDS, d_model=64, d_kv=16, d_ff=112, num_layers=3, num_heads=4, decoder_start_token_id=0, dropout_rate=0.0, initializer_factor=1.0, relative_attention_max_distance=20)
BART = dict(vocab_size=VOCABULARY, pad_token_id=0, eos_token_id=1, bos_token_id=2, decoder_start_token_id=1, forced_eos_token_id=None, d_model=64, encoder_layers=2, decoder_layers=3,
            encoder_attention_heads=4, decoder_attention_heads=4, encoder_ffn_dim=112, decoder_ffn_dim=96, max_position_embeddings=256, init_std=0.2, dropout=0.0)
BERT = dict(vocab_size=VOCABULARY, pad_token_id=0, hidden_size=64, num_hidden_layers=3, num_attention_heads=4, intermediate_size=112, max_position_embeddings=256, initializer_range=0.2,
            hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0, num_labels=CLASSES)
DEBERTA = dict(**BERT, relative_attention=True, max_relative_positions=-1, type_vocab_size=0)
DISTIL = dict(vocab_size=VOCABULARY, pad_token_id=0, dim=64, n_layers=3, n_heads=4, hidden_dim=112, max_position_embeddings=256, initializer_range=0.2, dropout=0.0, attention_dropout=0.0,
              seq_classif_dropout=0.0, num_labels=CLASSES)

SEQ2SEQ = {
    "t5": ("T5", T5, [{}, dict(feed_forward_proj="gated-gelu", tie_word_embeddings=False, scale_decoder_outputs=False), dict(num_decoder_layers=2, relative_attention_num_buckets=8, d_kv=8), dict(feed_forward_proj="gated-silu")]),
    "mt5": ("MT5", T5, [{}, dict(num_heads=8, d_kv=8), dict(tie_word_embeddings=False)]),
    "bart": ("Bart", BART, [{}, dict(scale_embedding=True, activation_function="relu"), dict(encoder_layers=3, decoder_layers=1)]),
    "mbart": ("MBart", BART, [{}, dict(scale_embedding=True), dict(activation_function="relu")]),
}
ENCODERS = {
    "bert": ("Bert", BERT, [{}, dict(type_vocab_size=3, hidden_act="relu"), dict(num_labels=1)]),
    "roberta": ("Roberta", {**BERT, "pad_token_id": 1, "type_vocab_size": 1}, [{}, dict(pad_token_id=0), dict(hidden_act="gelu_new", num_labels=5)]),
    "xlm-roberta": ("XLMRoberta", {**BERT, "pad_token_id": 1, "type_vocab_size": 1}, [{}, dict(num_labels=2), dict(num_attention_heads=8)]),
    "distilbert": ("DistilBert", DISTIL, [{}, dict(activation="relu"), dict(n_heads=8, num_labels=2)]),
    "deberta-v2": ("DebertaV2", DEBERTA, [dict(pos_att_type=["p2c", "c2p"], position_buckets=8, norm_rel_ebd="layer_norm", share_att_key=True, position_biased_input=False),
                                          dict(pos_att_type=["c2p"], position_biased_input=True), dict(pos_att_type=["p2c"], share_att_key=False, position_buckets=6, pooler_hidden_act="tanh"),
                                          dict(relative_attention=False, type_vocab_size=2)]),
}


def shake(model):
    """Norms and biases away from ones and zeros, so that a forgotten one shows."""
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.dim() == 1:
                parameter.add_(0.1 * torch.randn_like(parameter))
        if model.config.model_type in ("t5", "mt5"):  # its scores are not scaled: queries and keys are small in every trained one
            for name, parameter in model.named_parameters():
                if parameter.dim() == 2:
                    parameter.normal_(0, 1.0 if "relative" in name else 0.07 if name.endswith((".q.weight", ".k.weight")) else 0.2)
    return model.eval()


def make(kind, head, settings, changes, seed):
    torch.manual_seed(seed)
    config = getattr(transformers, kind + "Config")(**{**settings, **changes})
    return shake(getattr(transformers, kind + head)(config))


def ids_of(generator, low, high):
    return torch.randint(3, VOCABULARY, (int(torch.randint(low, high, (1,), generator=generator)),), generator=generator).tolist()


def scored(folder, rows, base, what="logits"):
    write_rows(base / "rows.jsonl", rows)
    engine("score", folder, "--data", base / "rows.jsonl", "--out", base / "out.safetensors", "--what", what, "--dtype", "float32")
    return load_file(base / "out.safetensors")


def compare_gradients(worst, label, loss, model, folder, rows, base):
    loss.backward()
    expected = {name: p.grad for name, p in model.named_parameters() if p.grad is not None}
    found = scored(folder, rows, base, "gradients")
    worst["loss"] = max(worst["loss"], abs(found.pop("loss").item() - loss.item()) / abs(loss.item()))
    floor = 1e-3 * max(g.norm() for g in expected.values())
    missing = [name for name in expected if name not in found]
    figure = max((((found[n] - g).norm() / max(g.norm(), floor)).item(), n) for n, g in expected.items() if n in found)
    worst["gradient"] = max(worst["gradient"], figure[0])
    check(f"loss ({label})", worst["loss"] < 1e-4, f"relative {worst['loss']:.1e}")
    check(f"gradients of all parameters ({label})", not missing and figure[0] < 1e-4, f"worst relative {figure[0]:.1e} ({figure[1]}) of {len(expected)}" + (f", missing {missing}" if missing else ""))


def difference(theirs, ours, reference):
    return max(((a - b).abs().max() / reference).item() for a, b in zip(theirs, ours, strict=True))


def run_seq2seq(family, worst):
    kind, settings, variants = SEQ2SEQ[family]
    for index, changes in enumerate(variants):
        label = f"{family} {json.dumps(changes)[:80]}"
        model = make(kind, "ForConditionalGeneration", settings, changes, 100 + index)
        generator = torch.Generator().manual_seed(index + 1)
        rows = [{"input_ids": ids_of(generator, 9, 30), "labels": ids_of(generator, 5, 20)} for _ in range(3)]
        rows[0]["labels"][2] = -100
        with temporary() as base:
            base = Path(base)
            model.save_pretrained(base / "model")
            ours = scored(base / "model", rows, base)
            with torch.no_grad():
                theirs = [model(input_ids=torch.tensor([r["input_ids"]]), labels=torch.tensor([r["labels"]])).logits[0] for r in rows]
            figure = difference(theirs, [ours[f"logits.{i}"] for i in range(3)], theirs[0].std())
            worst["logits"] = max(worst["logits"], figure)
            worst["configurations"] += 1
            check(f"logits ({label})", figure < 1e-4, f"max difference / std {figure:.1e}")
            padded = [pad(row, 7, generator) for row in rows]
            again = scored(base / "model", padded, base)
            check(f"padded rows give the same logits ({label})", all(torch.equal(again[k], ours[k]) for k in ours))
            prompt = rows[1]["input_ids"]
            reply = json.loads(engine("generate", base / "model", "--ids", ",".join(map(str, prompt)), "--max-new-tokens", 64, "--temperature", 0, "--ignore-eos", "--dtype", "float32", "--json"))
            expected = greedy(model, prompt, 64)
            same = sum(a == b for a, b in zip(reply["ids"], expected))
            worst["tokens"] = min(worst["tokens"], same)
            check(f"64 greedy tokens ({label})", reply["ids"] == expected or gap(model, prompt, expected, reply["ids"]) < 1e-4, f"{same} of 64")
            if index == 0:
                count = sum(label != -100 for r in rows for label in r["labels"])
                loss = sum(torch.nn.functional.cross_entropy(model(input_ids=torch.tensor([r["input_ids"]]), labels=torch.tensor([r["labels"]])).logits[0], torch.tensor(r["labels"]),
                                                             ignore_index=-100, reduction="sum") for r in rows) / count
                compare_gradients(worst, label, loss, model, base / "model", rows, base)


def pad(row, count, generator):
    """Padding on the right of the first row, on the left of the others."""
    filler = torch.randint(3, VOCABULARY, (count,), generator=generator).tolist()
    ids, mask = row["input_ids"], [1] * len(row["input_ids"])
    left = len(ids) % 2 == 0
    return {**row, "input_ids": filler + ids if left else ids + filler, "attention_mask": [0] * count + mask if left else mask + [0] * count,
            **({"token_type_ids": [0] * count + row["token_type_ids"] if left else row["token_type_ids"] + [0] * count} if "token_type_ids" in row else {})}


def greedy(model, prompt, count):
    """Most probable tokens without a cache."""
    ids = [model.config.decoder_start_token_id]
    with torch.no_grad():
        encoded = model.get_encoder()(input_ids=torch.tensor([prompt]))
        for _ in range(count):
            ids.append(int(model(encoder_outputs=encoded, decoder_input_ids=torch.tensor([ids])).logits[0, -1].argmax()))
    return ids[1:]


def gap(model, prompt, expected, ours):
    place = next(i for i, (a, b) in enumerate(zip(expected, ours)) if a != b)
    with torch.no_grad():
        logits = model(input_ids=torch.tensor([prompt]), decoder_input_ids=torch.tensor([[model.config.decoder_start_token_id] + expected[:place]])).logits[0, -1]
    return ((logits[expected[place]] - logits[ours[place]]) / logits.std()).item()


def class_loss(logits, rows, classes):
    if classes == 1:
        return torch.nn.functional.mse_loss(logits.squeeze(1), torch.tensor([r["label"] for r in rows]))
    return torch.nn.functional.cross_entropy(logits, torch.tensor([r["label"] for r in rows]))


def run_classifier(label, model, worst, with_gradients, rows_end=None, types=0):
    classes = model.config.num_labels
    generator = torch.Generator().manual_seed(5)
    rows = []
    for i in range(4):
        ids = ids_of(generator, 9, 30) + ([rows_end] if rows_end is not None else [])
        rows.append({"input_ids": ids, "label": 0.5 * i - 1 if classes == 1 else i % classes})
        if types:
            rows[-1]["token_type_ids"] = torch.randint(0, types, (len(ids),), generator=generator).tolist()

    def logits(row):
        extra = {"token_type_ids": torch.tensor([row["token_type_ids"]])} if types else {}
        return model(input_ids=torch.tensor([row["input_ids"]]), attention_mask=torch.ones(1, len(row["input_ids"]), dtype=torch.long), **extra).logits[0]

    with temporary() as base:
        base = Path(base)
        model.save_pretrained(base / "model")
        ours = scored(base / "model", rows, base)
        theirs = torch.stack([logits(row) for row in rows])
        figure = difference(theirs.detach(), [ours[f"logits.{i}"] for i in range(4)], theirs.detach().std())
        worst["logits"] = max(worst["logits"], figure)
        worst["configurations"] += 1
        check(f"class logits ({label})", figure < 1e-4, f"max difference / std {figure:.1e}")
        again = scored(base / "model", [pad(row, 6, generator) for row in rows], base)
        check(f"padded rows give the same class logits ({label})", all(torch.equal(again[k], ours[k]) for k in ours))
        if with_gradients:
            compare_gradients(worst, label, class_loss(theirs, rows, classes), model, base / "model", rows, base)


def decoder_classifier(family, index):
    kind, settings, variants = families.FAMILIES[family]
    torch.manual_seed(300 + index)
    config = getattr(transformers, kind)(**{**families.IDS, **settings, **variants[index], "num_labels": CLASSES})
    return shake(transformers.AutoModelForSequenceClassification.from_config(config, attn_implementation="eager" if family in ("gemma2", "gemma3_text") else None))


def main():
    wanted = [name for name in sys.argv[1:] if not name.startswith("-")]
    figures = {}

    def worst(name):
        return figures.setdefault(name, dict(logits=0.0, loss=0.0, gradient=0.0, tokens=64, configurations=0))

    for family, (kind, settings, variants) in SEQ2SEQ.items():
        if wanted and family not in wanted:
            continue
        run_seq2seq(family, worst(family))
        for index in range(2):
            model = make(kind, "ForSequenceClassification", settings, {**variants[index], "num_labels": CLASSES}, 200 + index)
            run_classifier(f"{family} classifier {index}", model, worst(family + " classifier"), index == 0, rows_end=1)
        if family == "mbart":  # its decoder begins with the text's own last token, whatever the configuration calls the start
            model = make(kind, "ForSequenceClassification", settings, dict(decoder_start_token_id=7, num_labels=CLASSES), 202)
            run_classifier("mbart classifier with another start", model, worst(family + " classifier"), False, rows_end=1)
    for family, (kind, settings, variants) in ENCODERS.items():
        if wanted and family not in wanted:
            continue
        for index, changes in enumerate(variants):
            model = make(kind, "ForSequenceClassification", settings, changes, 100 + index)
            types = model.config.type_vocab_size if family == "bert" or changes.get("type_vocab_size") else 0
            run_classifier(f"{family} {json.dumps(changes)[:80]}", model, worst(family), True, types=types)
    for family in families.FAMILIES:
        if (wanted and "decoders" not in wanted and family + "-classifier" not in wanted) or family in ("granite", "cohere"):
            continue
        run_classifier(f"{family} classifier", decoder_classifier(family, 0), worst(family + " classifier"), family in ("llama", "gpt2", "bloom", "opt"))
    if "--table" in sys.argv:
        print("| family | configurations | logits, max difference / std | loss, relative | gradients, worst relative | greedy tokens equal |\n| --- | --- | --- | --- | --- | --- |")
        for family, f in figures.items():
            tokens = f"{f['tokens']} of 64" if family in SEQ2SEQ else "-"
            print(f"| {family} | {f['configurations']} | {f['logits']:.1e} | {f['loss']:.1e} | {f['gradient']:.1e} | {tokens} |")
    finish()


if __name__ == "__main__":
    main()
