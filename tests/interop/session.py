# SPDX-License-Identifier: Apache-2.0
"""The window's session (`luthier-cli serve`) against transformers and peft on the demo model: probabilities, perplexity, KL to the base,
repetition penalty, several columns at once, cancelling, paging through data."""
import json
import shutil
import subprocess
import tempfile
from pathlib import Path

import torch
from common import CLI, check, finish
from peft import LoraConfig, get_peft_model
from transformers import AutoModelForCausalLM, AutoTokenizer

DEMO = Path(__file__).resolve().parents[2] / "resources/demo"
MODEL = str(DEMO / "story-2m")
PROMPT = "Once there was a brave girl named Ruby. She had a kite and played with it every day."
TEXT = "Ruby went out to greet the day, and took the kite along to play."


class Session:
    """One `serve` process; ask() returns the final answer and the events before it."""

    def __init__(self, workspace):
        self.process = subprocess.Popen([CLI, "serve", "--workspace", workspace], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.number = 0

    def send(self, command, **parameters):
        self.number += 1
        self.process.stdin.write(json.dumps({"id": self.number, "command": command, **parameters}) + "\n")
        self.process.stdin.flush()
        return self.number

    def ask(self, command, on_event=None, **parameters):
        number, events = self.send(command, **parameters), []
        for line in self.process.stdout:
            answer = json.loads(line)
            if answer["id"] != number:
                continue
            if answer["type"] in ("result", "failed"):
                return answer, events
            events.append(answer)
            if on_event:
                on_event(number, answer)
        raise RuntimeError("the session ended")

    def close(self):
        self.process.stdin.close()
        return self.process.wait(30)


def log_probabilities(model, ids):
    with torch.no_grad():
        return torch.log_softmax(model(torch.tensor([ids])).logits[0].float(), -1)


folder = Path(tempfile.mkdtemp())
tokenizer = AutoTokenizer.from_pretrained(MODEL)
base = AutoModelForCausalLM.from_pretrained(MODEL, dtype=torch.float32).eval()
torch.manual_seed(3)
tuned = get_peft_model(AutoModelForCausalLM.from_pretrained(MODEL, dtype=torch.float32),
                       LoraConfig(r=4, lora_alpha=8, target_modules=["q_proj", "v_proj", "down_proj"], init_lora_weights=False)).eval()
for name, parameter in tuned.named_parameters():
    if "lora_" in name:
        parameter.data.mul_(4)
tuned.save_pretrained(folder / "adapter")
ADAPTER = {"adapters": [{"path": str(folder / "adapter"), "weight": 1.0}]}
BASE = {"adapters": []}
session = Session(str(folder / "workspace"))

# Tokens and perplexity
answer, _ = session.ask("tokenize", model=MODEL, text=TEXT)
check("tokenize gives transformers' ids", answer["value"]["ids"] == tokenizer(TEXT)["input_ids"])
ids = answer["value"]["ids"]
answer, _ = session.ask("perplexity", model=MODEL, columns=[BASE, ADAPTER], text=TEXT, dtype="float32")
value = answer["value"]
check("the tokens of a text spell it", "".join(token["text"] for token in value["tokens"]) == TEXT)
for index, reference in enumerate((base, tuned)):
    logs = log_probabilities(reference, [token["id"] for token in value["tokens"]])
    wanted = torch.stack([logs[i, token["id"]] for i, token in enumerate(value["tokens"][1:])])
    got = torch.tensor(value["columns"][index]["probabilities"][1:]).log()
    worst = (wanted - got).abs().max().item()
    check(f"probabilities of column {index} are transformers'", worst < 1e-3, f"{worst:.1e}")
    perplexity = torch.exp(-wanted.mean()).item()
    check(f"perplexity of column {index}", abs(value["columns"][index]["perplexity"] / perplexity - 1) < 1e-3, f"{perplexity:.4f}")
check("the first token has no probability", value["columns"][0]["probabilities"][0] is None)
again, _ = session.ask("perplexity", model=MODEL, columns=[BASE], ids=[token["id"] for token in value["tokens"]], dtype="float32")
check("ids give what their text gives", again["value"]["columns"][0]["probabilities"] == value["columns"][0]["probabilities"])

# Generation
prompt = tokenizer(PROMPT)["input_ids"]
settings = dict(model=MODEL, prompt=PROMPT, max_new_tokens=24, temperature=0, alternatives=5, compare_base=True, dtype="float32")
answer, events = session.ask("generate", columns=[BASE, ADAPTER], **settings)
value = answer["value"]
tokens = [event for event in events if event["type"] == "token"]
shared = 2 * min(len(column["ids"]) for column in value["columns"])
check("columns are written in turn", [event["column"] for event in tokens[:shared]] == [0, 1] * (shared // 2))
first = log_probabilities(base, prompt)[-1].exp().topk(5)
check("alternatives are the most probable tokens", [other["id"] for other in tokens[0]["alternatives"]] == first.indices.tolist())
worst = max(abs(other["probability"] - p) for other, p in zip(tokens[0]["alternatives"], first.values.tolist()))
check("with their probabilities", worst < 1e-4, f"{worst:.1e}")
for index, reference in enumerate((base, tuned)):
    with torch.no_grad():
        wanted = reference.generate(input_ids=torch.tensor([prompt]), attention_mask=torch.ones(1, len(prompt), dtype=torch.long), do_sample=False, max_new_tokens=24)[0, len(prompt):].tolist()
    wanted = wanted[:wanted.index(tokenizer.eos_token_id)] if tokenizer.eos_token_id in wanted else wanted
    check(f"greedy text of column {index} is transformers'", value["columns"][index]["ids"] == wanted)
column = value["columns"][1]
p, q = (log_probabilities(model, prompt + column["ids"])[len(prompt) - 1:-1] for model in (tuned, base))
divergence = (p.exp() * (p - q)).sum(-1).mean().item()
check("KL to the base", abs(column["kl_to_base"] - divergence) < 1e-3 * max(1, divergence), f"{divergence:.4f}")
wanted = [q[i, token].exp().item() for i, token in enumerate(column["ids"])]
worst = max(abs(a - b) for a, b in zip(column["base_probabilities"], wanted))
check("the base's probability of each token", worst < 1e-4, f"{worst:.1e}")
mean = sum(p[i, token].item() for i, token in enumerate(column["ids"])) / len(column["ids"])
check("mean log-probability", abs(column["mean_logprob"] - mean) < 1e-4, f"{mean:.4f}")
answer, _ = session.ask("generate", columns=[BASE], repetition_penalty=1.6, **settings)
with torch.no_grad():
    wanted = base.generate(input_ids=torch.tensor([prompt]), attention_mask=torch.ones(1, len(prompt), dtype=torch.long), do_sample=False, repetition_penalty=1.6, max_new_tokens=24)[0, len(prompt):].tolist()
wanted = wanted[:wanted.index(tokenizer.eos_token_id)] if tokenizer.eos_token_id in wanted else wanted
check("repetition penalty is transformers'", answer["value"]["columns"][0]["ids"] == wanted)
text = value["columns"][0]["text"]
answer, _ = session.ask("generate", columns=[BASE], stop=[text[10:14]], **settings)
column = answer["value"]["columns"][0]
check("a stop text ends the text before it", column["finish_reason"] == "stop_text" and column["text"] == text[:text.index(text[10:14])])
half = {"adapters": [{"path": str(folder / "adapter"), "weight": 0.0}]}
answer, _ = session.ask("generate", columns=[BASE, half], **settings)
check("an adapter of weight 0 leaves the base as it is", answer["value"]["columns"][0]["ids"] == answer["value"]["columns"][1]["ids"] and answer["value"]["columns"][1]["kl_to_base"] < 1e-6)
answer, events = session.ask("generate", columns=[{"adapters": [{"path": str(folder / "nothing")}]}, BASE], **settings)
check("a column that cannot start lets the others go on", "problem" in answer["value"]["columns"][0] and len(answer["value"]["columns"][1]["ids"]) > 0)
check("and says so at once", any(event["type"] == "column_failed" and event["column"] == 0 for event in events))
lines = []


def cancel_once(number, event):
    if event["type"] == "token" and not lines:
        lines.append(event)
        session.send("cancel", target=number)


answer, events = session.ask("generate", cancel_once, model=MODEL, prompt=PROMPT, columns=[BASE], max_new_tokens=20000, temperature=1.0, top_k=1138, repetition_penalty=1.0, seed=1, dtype="float32", stop=["\u0000"])
reason = answer["value"]["columns"][0]["finish_reason"]
check("cancel ends a text at a token", reason in ("cancelled", "stop"), reason)

# Bad input is one sentence
for name, request in {"a text of one token": dict(command="perplexity", model=MODEL, columns=[BASE], ids=[5]),
                      "an id outside the vocabulary": dict(command="perplexity", model=MODEL, columns=[BASE], ids=[5, 1 << 20]),
                      "no new tokens": dict(command="generate", model=MODEL, prompt="a", columns=[BASE], max_new_tokens=0),
                      "a chat without a template": dict(command="tokenize", model=MODEL, messages=[{"role": "user", "content": "a"}]),
                      "a request that is none": dict(command="frobnicate")}.items():
    answer, _ = session.ask(**request)
    check(name, answer["type"] == "failed" and answer["message"].endswith(".") and "\n" not in answer["message"], answer.get("message", ""))

# Paging through data
rows = folder / "rows.jsonl"
rows.write_text("".join(json.dumps({"prompt": f"Row {i}", "completion": " and the kite" * (i % 7 + 1)}) + "\n" for i in range(50)))
config = {"model": {"path": MODEL}, "method": {"type": "full"}, "data": {"train": {"path": str(rows)}, "eval": {"split": 0}, "max_length": 16}}
answer, _ = session.ask("preview", config=config, directory=str(folder), first=0, count=8, filter="cut")
value = answer["value"]
check("the filter shows cut rows only", len(value["preview"]) == 8 and all(row["truncated"] and row["cut_tokens"] > 0 for row in value["preview"]))
check("as many as are counted", value["filtered_rows"] == value["truncated_rows"])
check("every length is counted", sum(count for _, count in value["lengths"]["by_length"]) == 50
      and sum(count for length, count in value["lengths"]["by_length"] if length > 16) == value["truncated_rows"])
answer, events = session.ask("preview", config=config, directory=str(folder), first=0, count=50, filter="longest")
lengths = [len([token for token in row["tokens"] if token["state"] != "cut"]) + row["cut_tokens"] for row in answer["value"]["preview"]]
check("longest rows come first", lengths == sorted(lengths, reverse=True) and len(lengths) == 50)
check("a page turned reads nothing again", not any(event["type"] == "phase" for event in events))
rows.write_text(rows.read_text() + json.dumps({"prompt": "new", "completion": " row"}) + "\n")
answer, _ = session.ask("preview", config=config, directory=str(folder), first=0, count=1, filter="all")
check("a changed file is read again", answer["value"]["rows"] == 51)

answer, _ = session.ask("formats")
check("formats names what export writes", {"peft", "merged"} <= {each["format"] for each in answer["value"]["formats"]})
for form in ("peft", "merged"):
    answer, _ = session.ask("export", source=str(folder / "adapter"), model=MODEL, format=form, out=str(folder / form))
    certificate = answer["value"]["certificate"]
    check(f"{form} export is certified", certificate["passed"] and certificate["files"] == answer["value"]["files"] and len(certificate["files"][0]["sha256"]) == 64,
          f"{certificate['max_abs_difference']:.1e}")
check("the session ends when its input does", session.close() == 0)
shutil.rmtree(folder)
finish()
