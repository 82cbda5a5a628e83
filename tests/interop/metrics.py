# SPDX-License-Identifier: Apache-2.0
"""Metrics of eval and of training's evaluations against plain formulas over transformers' own logits and greedy texts. tests/task compares the
formulas with scikit-learn, SciPy and rouge-score."""
import json
import math
import re
import string
from pathlib import Path

import numpy
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

import encoders
from common import check, engine, finish, llama, random_rows, temporary, train, write_rows
from contract import Seq2Seq

DEMO = Path(__file__).resolve().parents[2] / "resources" / "demo"
QUESTIONS = 24


def logits_of(model, rows):
    with torch.no_grad():
        return torch.cat([model(input_ids=torch.tensor([row["input_ids"]])).logits for row in rows]).double().numpy()


def rank(values):
    """1 and up; equal values share the mean of their ranks."""
    return numpy.array([(values < value).sum() + ((values == value).sum() + 1) / 2 for value in values])


def classes(logits, labels):
    predicted, truth = logits.argmax(1), numpy.array(labels)
    number = logits.shape[1]
    table = numpy.array([[((truth == t) & (predicted == p)).sum() for p in range(number)] for t in range(number)], dtype=float)
    f1 = [2 * table[k, k] / (table[k].sum() + table[:, k].sum()) for k in range(number) if table[k].sum() + table[:, k].sum() > 0]
    # Matthews as the correlation of the indicator matrices.
    x, y = numpy.eye(number)[predicted], numpy.eye(number)[truth]
    x, y = x - x.mean(0), y - y.mean(0)
    matthews = (x * y).sum() / math.sqrt((x * x).sum() * (y * y).sum())
    return dict(accuracy=(predicted == truth).mean(), f1_macro=numpy.mean(f1), f1=f1[1] if number == 2 else numpy.mean(f1), matthews=matthews)


def sets(logits, labels):
    predicted, truth = logits > 0, numpy.array(labels) > 0.5
    return dict(accuracy=(predicted == truth).all(1).mean(), label_accuracy=(predicted == truth).mean(), f1=2 * (predicted & truth).sum() / (predicted.sum() + truth.sum()))


def values(logits, labels):
    predicted, truth = logits[:, 0], numpy.array(labels, dtype=float)
    return dict(mse=((predicted - truth) ** 2).mean(), pearson=numpy.corrcoef(predicted, truth)[0, 1], spearman=numpy.corrcoef(rank(predicted), rank(truth))[0, 1])


def compare(label, found, expected, tolerance=1e-5):
    figure = max(abs(found[name] - value) for name, value in expected.items())
    check(label, figure < tolerance, f"worst {figure:.1e} of {', '.join(f'{name} {found[name]:.3f}' for name in expected)}")


def classifiers(base):
    generator = torch.Generator().manual_seed(4)
    ids = [encoders.ids_of(generator, 6, 18) for _ in range(48)]
    drawn = torch.rand(48, 4, generator=generator)
    cases = {
        "two classes": (dict(num_labels=2), [int(d[0] > 0.5) for d in drawn], classes),
        "four classes": (dict(num_labels=4), [int(d[0] * 4) for d in drawn], classes),
        "several at once": (dict(num_labels=3, problem_type="multi_label_classification"), [[float(v > 0.5) for v in d[:3]] for d in drawn], sets),
        "a value": (dict(num_labels=1), [round(float(d[0] * 5)) + 0.25 for d in drawn], values),
    }
    for name, (changes, labels, formula) in cases.items():
        model = encoders.make("Bert", "ForSequenceClassification", encoders.BERT, changes, 3)
        folder = base / name.replace(" ", "-")
        model.save_pretrained(folder)
        rows = [{"input_ids": i, "label": label} for i, label in zip(ids, labels)]
        write_rows(folder / "rows.jsonl", rows)
        expected = formula(logits_of(model, rows), labels)
        found = json.loads(engine("eval", folder, "--data", folder / "rows.jsonl", "--dtype", "float32", "--json"))["metrics"]
        compare(f"eval of {name}", found, expected)
        _, run = train(base / f"{folder.name}-run", folder, dict(type="bitfit"), rows, 1, lr=0, eval_every=1,
                       extra=("--set", 'model.task="sequence_classification"', "--set", f"model.num_labels={changes['num_labels']}", "--set", f'data.eval.path="{folder}/rows.jsonl"'))
        event = next(event for line in (run / "events.jsonl").read_text().splitlines() if (event := json.loads(line))["type"] == "eval")
        compare(f"training's evaluation of {name}", event["metrics"], expected)


def language(base):
    for family, model in (("llama", llama()), ("t5", Seq2Seq("t5", 1).model.eval())):
        model.save_pretrained(base / family)
        generator = torch.Generator().manual_seed(4)
        rows = random_rows(20) if family == "llama" else [{"input_ids": encoders.ids_of(generator, 6, 18), "labels": encoders.ids_of(generator, 4, 10)} for _ in range(20)]
        for row in rows[:12]:  # labels that the model would give itself, so that some tokens are right
            with torch.no_grad():
                ids = torch.tensor([row["input_ids"]])
                best = model(input_ids=ids).logits[0].argmax(-1).tolist() if family == "llama" else model(input_ids=ids, labels=torch.tensor([row["labels"]])).logits[0].argmax(-1).tolist()
            if family == "llama":
                row["labels"] = [-100, *best[:-1]]
            else:
                row["labels"] = [row["labels"][0], *best[1:2], *row["labels"][2:]]
        total, right, count = 0.0, 0, 0
        for row in rows:
            ids, labels = torch.tensor([row["input_ids"]]), torch.tensor(row["labels"])
            with torch.no_grad():
                logits = model(input_ids=ids).logits[0][:-1] if family == "llama" else model(input_ids=ids, labels=labels[None]).logits[0]
            labels = labels[1:] if family == "llama" else labels
            total += torch.nn.functional.cross_entropy(logits, labels, ignore_index=-100, reduction="sum").item()
            right += int(((logits.argmax(-1) == labels) & (labels != -100)).sum())
            count += int((labels != -100).sum())
        write_rows(base / f"{family}.jsonl", rows)
        found = json.loads(engine("eval", base / family, "--data", base / f"{family}.jsonl", "--dtype", "float32", "--json"))["metrics"]
        check(f"some tokens are right and some wrong ({family})", 0.02 < right / count < 0.98, f"{right} of {count}")
        compare(f"eval of {family}", found, dict(loss=total / count, accuracy=right / count), 1e-5)
        check(f"perplexity is exp(loss) ({family})", abs(found["perplexity"] / math.exp(total / count) - 1) < 1e-5, f"{found['perplexity']}")


def squad(text):
    text = "".join(c for c in text.lower() if c not in string.punctuation)
    return " ".join(re.sub(r"\b(a|an|the)\b", " ", text).split())


def rouge(written, right):
    a, b = (re.sub(r"[^a-z0-9]+", " ", text.lower()).split() for text in (right, written))
    table = numpy.zeros((len(a) + 1, len(b) + 1), dtype=int)
    for i, x in enumerate(a):
        for j, y in enumerate(b):
            table[i + 1, j + 1] = table[i, j] + 1 if x == y else max(table[i, j + 1], table[i + 1, j])
    common = table[-1, -1]
    return 0.0 if common == 0 else 2 * common / (len(a) + len(b))


def written(base):
    """The demo model answers the demo's questions; transformers writes the same answers greedily."""
    model, tokenizer = AutoModelForCausalLM.from_pretrained(DEMO / "story-2m").eval(), AutoTokenizer.from_pretrained(DEMO / "story-2m")
    rows = [json.loads(line) for line in (DEMO / "questions.jsonl").read_text().splitlines()[:QUESTIONS]]
    prompts = [f"Question: {row['question']}\nAnswer:" for row in rows]
    answers = []
    for prompt in prompts:
        ids = tokenizer(prompt, return_tensors="pt")
        with torch.no_grad():
            out = model.generate(ids["input_ids"], attention_mask=ids["attention_mask"], max_new_tokens=20, do_sample=False)
        answers.append(tokenizer.decode(out[0][ids["input_ids"].shape[1]:], skip_special_tokens=True))
    for i in range(0, QUESTIONS, 3):  # every third question gets the model's own answer
        rows[i]["answer"] = answers[i].strip()
    write_rows(base / "asked.jsonl", rows)
    found = json.loads(engine("eval", DEMO / "story-2m", "--data", base / "asked.jsonl", "--metric", "exact_match", "--metric", "rouge", "--max-new-tokens", 20, "--dtype", "float32", "--json"))["metrics"]
    expected = dict(exact_match=numpy.mean([squad(a) == squad(row["answer"]) for a, row in zip(answers, rows)]), rouge=numpy.mean([rouge(a, row["answer"]) for a, row in zip(answers, rows)]))
    check("some answers match", 0 < expected["exact_match"] < 1, f"{expected['exact_match']:.3f}")
    compare("exact match and ROUGE-L of written answers", found, expected, 1e-9)


with temporary() as base:
    base = Path(base)
    classifiers(base)
    language(base)
    written(base)
    done = engine("eval", base / "two-classes", "--data", base / "two-classes" / "rows.jsonl", "--metric", "spearman", expect=2)
    check("a metric that a model has not is refused with those it has", "spearman" in done.stderr and "matthews" in done.stderr, done.stderr[-200:].strip())
finish()
