# SPDX-License-Identifier: Apache-2.0
"""The method contract over every family (decoders, encoder-decoders, encoders, classifiers) × every method: trained three steps, then
  - the base folder is unchanged byte for byte and scores as before;
  - the count reported is the count in the file;
  - saved → loaded → the same loss as at the end of training;
  - merged = unmerged where a merge exists;
  - what PEFT knows loads there with equal logits.
`contract.py FAMILY… --METHOD…` or `--part=1/4` runs a part."""
import hashlib
import json
import sys
from pathlib import Path

import torch
from peft import PeftModel
from safetensors.torch import load_file

from common import check, engine, finish, logits_of, random_rows, score, taken, temporary, train
import encoders
from families import FAMILIES, make

METHODS = {
    "lora": dict(type="lora", r=4, lora_alpha=8, target_modules="all-linear"),
    "dora": dict(type="lora", r=4, lora_alpha=8, target_modules="all-linear", use_dora=True),
    "bitfit": dict(type="bitfit"),
    "ln_tuning": dict(type="ln_tuning"),
    "loha": dict(type="loha", r=4, target_modules="all-linear"),
    "lokr": dict(type="lokr", r=4, target_modules="all-linear"),
    "oft": dict(type="oft", oft_block_size=8, target_modules="all-linear"),
    "pissa": dict(type="lora", r=4, lora_alpha=8, target_modules="all-linear", init_lora_weights="pissa"),
    "adalora": dict(type="adalora", init_r=4, target_r=2, target_modules="all-linear"),
    "vera": dict(type="vera", r=8, target_modules="all-linear"),
    "ia3": dict(type="ia3"),
    "prefix_tuning": dict(type="prefix_tuning", num_virtual_tokens=5),
    "p_tuning_v2": dict(type="p_tuning_v2", num_virtual_tokens=5),
    "p_tuning": dict(type="p_tuning", num_virtual_tokens=5, encoder_reparameterization_type="LSTM"),
    "prefix_projection": dict(type="prefix_tuning", num_virtual_tokens=5, prefix_projection=True),
    "prompt_tuning": dict(type="prompt_tuning", num_virtual_tokens=5),
    "bottleneck": dict(type="bottleneck"),
    "full": dict(type="full"),
    "freeze": dict(type="freeze", trainable_layers=1),
}
MERGEABLE = {"lora", "dora", "bitfit", "ln_tuning", "loha", "lokr", "vera", "ia3", "oft", "pissa", "adalora"}
PREFIXES = {"prefix_tuning", "prefix_projection", "p_tuning_v2"}
VIRTUAL = PREFIXES | {"p_tuning", "prompt_tuning"}
WITH_ENCODER = {"prefix_projection", "p_tuning", "adalora", "pissa"}  # the file does not hold what is trained: a network, cut ranks, twice the rank
NOT_TRAINED = {"bitfit": "lora_", "vera": "base_model.vera_"}  # in the file, but frozen
NO_IA3_DEFAULTS = {"mpt", "mixtral", "qwen2_moe", "qwen3_moe", "phi3", "stablelm", "olmo", "olmo2", "starcoder2", "granite", "smollm3", "cohere", "distilbert", "xlm-roberta", "mbart"}
NO_BIAS = {"llama", "mistral", "mixtral", "qwen3", "qwen3_moe", "gemma", "gemma2", "gemma3_text", "phi3", "olmo", "olmo2", "granite", "smollm3", "cohere", "mpt", "t5", "mt5"}
NOT_APPLICABLE = {  # and why
    "bitfit": dict.fromkeys(NO_BIAS, "the family's usual configuration has no biases"),
    "ln_tuning": dict(olmo="its norms have no weights"),
    "loha": dict(gpt2="peft's LoHa does not take Conv1D"),
    "oft": dict(gpt2="peft's OFT does not take Conv1D"),
    "lokr": dict(gpt2="peft's LoKr does not take Conv1D"),
    **{method: {"deberta-v2": "attention over distances alone has no place for a prefix"} for method in PREFIXES},
}
NO_PEFT_PREFIX = {
    "distilbert": "takes no past keys and values in transformers",
    "mpt": "reads the length of its cache where PEFT hands one over before the first token",
}
NO_PEFT_VIRTUAL = {"t5-classifier", "bart-classifier"}  # transformers refuses them embeddings; no outside program can run virtual tokens on them


def digest(folder):
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in sorted(Path(folder).iterdir())}


def targets(family, method, folder):
    if method == "ia3" and family in NO_IA3_DEFAULTS:
        named = json.loads(engine("inspect", folder, "--json", expect=None).stdout)["map"]["modules"]
        names = {m["name"].rsplit(".", 1)[-1]: m["role"] for m in named}
        wanted = [n for n, role in names.items() if role in ("key", "value", "fused_qkv", "down")]
        return dict(target_modules=wanted, feedforward_modules=[n for n, role in names.items() if role == "down"])
    return {}


class Decoder:
    """A family as a language model."""
    extra = ()

    def __init__(self, family):
        self.family = family
        self.model = make(family, 0)
        self.rows = random_rows(4, seed=5, low=12, high=24)

    def logits(self, model, row):
        return logits_of(model, row)


class Seq2Seq(Decoder):
    extra = ("--set", 'model.task="seq2seq_lm"')

    def __init__(self, family, variant=0):
        self.family = family
        kind, settings, variants = encoders.SEQ2SEQ[family]
        # As many decoder layers as encoder layers: PEFT makes prefixes for the encoder's number, and its decoder fails when it has more.
        layers = {"decoder_layers": settings["encoder_layers"]} if "encoder_layers" in settings else {}
        self.model = encoders.make(kind, "ForConditionalGeneration", settings, {**variants[variant], **layers}, 100)
        generator = torch.Generator().manual_seed(5)
        self.rows = [{"input_ids": encoders.ids_of(generator, 9, 20), "labels": encoders.ids_of(generator, 5, 12)} for _ in range(4)]

    def logits(self, model, row):
        # Without labels, which a loaded AdaLoRA of PEFT 0.21 cannot take.
        ids = torch.tensor([row["input_ids"]])
        plain = model.get_base_model() if isinstance(model, PeftModel) else model
        written = plain.prepare_decoder_input_ids_from_labels(torch.tensor([row["labels"]]))
        with torch.no_grad():
            return model(input_ids=ids, attention_mask=torch.ones_like(ids), decoder_input_ids=written).logits[0].float()


class Classifier(Decoder):
    extra = ("--set", 'model.task="sequence_classification"', "--set", f"model.num_labels={encoders.CLASSES}")

    def __init__(self, name):
        self.family = name.removesuffix("-classifier")
        end = []
        if self.family in encoders.ENCODERS:
            kind, settings, variants = encoders.ENCODERS[self.family]
            self.model = encoders.make(kind, "ForSequenceClassification", settings, variants[0], 100)
        elif self.family in encoders.SEQ2SEQ:
            kind, settings, variants = encoders.SEQ2SEQ[self.family]
            self.model = encoders.make(kind, "ForSequenceClassification", settings, {**variants[0], "num_labels": encoders.CLASSES}, 100)
            end = [1]
        else:
            self.model = encoders.decoder_classifier(self.family, 0)
        generator = torch.Generator().manual_seed(5)
        self.rows = [{"input_ids": encoders.ids_of(generator, 9, 20) + end, "label": i % encoders.CLASSES} for i in range(4)]

    def logits(self, model, row):
        ids = torch.tensor([row["input_ids"]])
        with torch.no_grad():
            return model(input_ids=ids, attention_mask=torch.ones_like(ids)).logits[0].float()


CLASSIFIERS = [*encoders.ENCODERS, "llama-classifier", "gpt2-classifier", "bloom-classifier", "t5-classifier", "bart-classifier"]


def case_of(name):
    if name in FAMILIES:
        return Decoder(name)
    return Seq2Seq(name) if name in encoders.SEQ2SEQ else Classifier(name)


def main():
    asked = [name[2:] for name in sys.argv[1:] if name.startswith("--") and not name.startswith("--part=")]
    part, parts = next((map(int, name[7:].split("/")) for name in sys.argv[1:] if name.startswith("--part=")), (1, 1))
    everything = [*FAMILIES, *encoders.SEQ2SEQ, *CLASSIFIERS]
    for family in [name for name in sys.argv[1:] if not name.startswith("-")] or everything[part - 1::parts]:
        with temporary() as base:
            base = Path(base)
            case = case_of(family)
            model, rows = case.model, case.rows
            folder = base / "model"
            model.save_pretrained(folder)
            before = digest(folder)
            plain = score(folder, rows, base)
            for method, settings in METHODS.items():
                if case.family in NOT_APPLICABLE.get(method, {}):
                    continue
                if asked and method not in asked:
                    continue
                label = f"{family} {method}"
                if not asked and not taken(label):
                    continue
                try:
                    losses, run = train(base / method, folder, {**settings, **targets(case.family, method, folder)}, rows, 3, lr=1e-2, extra=case.extra)
                except RuntimeError as error:
                    check(f"trains ({label})", False, str(error)[-250:])
                    continue
                finished = next(json.loads(line) for line in reversed((run / "events.jsonl").read_text().splitlines()) if '"finished"' in line)
                summary = finished["summary"]
                trainsBase = method in ("full", "freeze")
                result = run / ("model" if trainsBase else "adapter")
                check(f"base unchanged ({label})", digest(folder) == before and all(torch.equal(a, b) for a, b in zip(plain, score(folder, rows, base))))
                if trainsBase:
                    trained = score(result, rows, base)
                else:
                    tensors = load_file(next(result.glob("*.safetensors")))
                    count = sum(t.numel() for name, t in tensors.items() if method not in NOT_TRAINED or NOT_TRAINED[method] not in name)
                    if method not in WITH_ENCODER:
                        check(f"count reported is the count in the file ({label})", count == summary["trainable"], f"{count} against {summary['trainable']}")
                    trained = score(folder, rows, base, result)
                moved = max((a - b).abs().max().item() for a, b in zip(plain, trained))
                check(f"training moves the model ({label})", moved > 1e-4, f"{moved:.1e}")
                if method in MERGEABLE:
                    engine("merge", folder, "--adapter", result, "--out", base / f"merged-{method}")
                    figure = max(((a - b).abs().max() / a.std()).item() for a, b in zip(trained, score(base / f"merged-{method}", rows, base)))
                    check(f"merged = unmerged ({label})", figure < 1e-4, f"{figure:.1e}")
                if method in ("full", "freeze"):
                    reference = type(model).from_pretrained(result, attn_implementation=model.config._attn_implementation).eval()
                elif method != "bottleneck" and not (method in PREFIXES and family in NO_PEFT_PREFIX) and not (method in VIRTUAL and family in NO_PEFT_VIRTUAL):
                    again = type(model).from_pretrained(folder, attn_implementation=model.config._attn_implementation)
                    try:
                        reference = PeftModel.from_pretrained(again, str(result)).eval()
                    except Exception as error:
                        check(f"loads in PEFT ({label})", False, f"{type(error).__name__}: {error}"[:250])
                        continue
                else:
                    continue
                try:
                    theirs = [case.logits(reference, row) for row in rows]
                except Exception as error:
                    check(f"runs in PEFT ({label})", False, f"{type(error).__name__}: {error}"[:250])
                    continue
                figure = max(((a - b).abs().max() / a.std()).item() for a, b in zip(theirs, trained))
                check(f"equal logits in {'transformers' if trainsBase else 'PEFT'} ({label})", figure < 1e-4, f"{figure:.1e}")
    finish()


if __name__ == "__main__":
    main()
