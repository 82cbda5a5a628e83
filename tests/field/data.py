#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Data files as people have them, on the demo's model: JSON as Python writes it, labels, compressed and foreign files, columns beside the
messages, tool calls, masks. Each check is one kind of trouble out of public reports; the right values are written in."""
import gzip
import json
import os
import shutil
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "cli"))
from common import DEMO, call, check, finish  # noqa: E402

MODEL = DEMO / "story-2m"
PAIRS = [{"prompt": f"The cat {n}", "completion": f" sat on mat {n}."} for n in range(4)]
folder = Path(tempfile.mkdtemp(prefix="luthier-field-"))
os.environ.update(LUTHIER_WORKSPACE=str(folder / "workspace"), XDG_CACHE_HOME=str(folder / "cache"), LUTHIER_DEVICE="cpu")


def lines(rows):
    return "".join(json.dumps(row) + "\n" for row in rows)


def write(name, content):
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


class Seen:
    """What `data RUN.json --json` says of a file."""

    def __init__(self, path, model=(), model_path=MODEL, **data):
        config = {"model": {"path": str(model_path), "dtype": "float32", **dict(model)}, "method": {"type": "lora", "r": 2},
                  "data": {"train": {"path": str(path)}, "max_length": 256, "eval": {"split": 0}, **data}, "train": {"max_steps": 1, "batch_size": 2, "save_every": 0, "sample_prompts": []}}
        self.config = write("run.json", json.dumps(config))
        answer = call("data", self.config, "--json")
        self.code = answer.returncode
        self.view = json.loads(answer.stdout) if self.code == 0 else {}
        self.failed = next((json.loads(line) for line in answer.stderr.splitlines() if line.startswith("{")), {})
        self.rows = self.view.get("train_rows")

    def says(self, *words):
        said = " ".join(f"{p['code']} {p['message']} {p['hint']}" for p in self.view.get("problems", [])) + " ".join(str(v) for v in self.failed.values())
        return all(word in said for word in words)

    def text(self, row=0, learned=False):
        return "".join(t["text"] for t in self.view["preview"][row]["tokens"] if not learned or t["state"] == "loss")

    def labels(self):
        return [row.get("label") for row in self.view.get("preview", [])]

    def train(self):
        answer = call("train", self.config, "--events", "-", "--detached")
        events = [json.loads(line) for line in answer.stdout.splitlines() if line.startswith("{")]
        return answer.returncode, events

    def brief(self):
        return f"exit {self.code}, {self.rows} rows, {self.failed or self.view.get('problems')}"


def used(name, seen, rows):
    check(name, seen.code == 0 and seen.rows == rows, seen.brief())


def refused(name, seen, *words):
    check(name, seen.code == 3 and seen.says(*words), seen.brief())


# JSON as Python's json module reads it, whatever the file is called
texts = [json.dumps(row) for row in PAIRS]
for literal in ("NaN", "Infinity", "-Infinity", "1e999"):
    used(f"{literal} in a column that is not used", Seen(write("a.jsonl", "".join(line[:-1] + f', "score": {literal}}}\n' for line in texts))), 4)
for ending in ("jsonl", "json"):
    used(f"a list over lines named .{ending}", Seen(write(f"b.{ending}", "[\n" + ",\n".join(texts) + "\n]\n")), 4)
    used(f"a list on one line named .{ending}", Seen(write(f"c.{ending}", json.dumps(PAIRS))), 4)
    used(f"objects over several lines named .{ending}", Seen(write(f"d.{ending}", "\n".join(json.dumps(row, indent=2) for row in PAIRS))), 4)
    used(f"objects a line named .{ending}", Seen(write(f"e.{ending}", "\r".join(texts))), 4)
seen = Seen(write("list.jsonl", "[\n" + ",\n".join(texts) + "\n]\n"))
code, events = seen.train()
check("training uses every row of a list named .jsonl", [e["train_rows"] for e in events if e["type"] == "data"] == [4], events[-1:])
for bad, words in (("{'prompt': 'a', 'completion': ' x'}", ("single quote", "column 2")), ('{"prompt": "a", "completion": " x",}', ("a comma before the closing brace", "column 36")), ('{"prompt": "a"', ("ends early",))):
    seen = Seen(write("f.jsonl", bad + "\n" + texts[0] + "\n"))
    check(f"{bad} costs its row and says why", seen.rows == 1 and seen.says(*words), seen.brief())
check("every row that was met stands in a counter", seen.view["rows"] + seen.view["unusable_rows"] == 2 and seen.view["left_out"] == {"unusable_rows": 1}, seen.view.get("left_out"))
used("half a surrogate pair becomes a replacement", Seen(write("g.jsonl", '{"prompt": "half \\ud83d", "completion": " x"}\n' + texts[0])), 2)

# Files that hold something else than their name says
pointer = "version https://git-lfs.github.com/spec/v1\noid sha256:" + "0" * 64 + "\nsize 1234\n"
for ending in ("jsonl", "json", "csv", "tsv", "txt", "parquet", "arrow"):
    refused(f"a Git LFS pointer named .{ending}", Seen(write(f"pointer.{ending}", pointer)), "git lfs pull")
refused("a web page", Seen(write("page.jsonl", "<!DOCTYPE html>\n<html></html>")), "web page")
refused("a zip archive", Seen(write("rows.csv", b"PK\3\4" + b"\0" * 26 + b"rows.csv")), "zip")
packed = gzip.compress(lines(PAIRS).encode())
for name in ("h.jsonl", "h.jsonl.gz", "h.json.gz"):
    used(f"gzip named {name}", Seen(write(name, packed)), 4)
used("a compressed table", Seen(write("h.csv.gz", gzip.compress(b"prompt,completion\nx, y\nz, w\n"))), 2)
refused("half a compressed file", Seen(write("half.jsonl.gz", packed[:-9])), "half.jsonl.gz", "ends early")
used("tabs in a .csv", Seen(write("tabs.csv", "prompt\tcompletion\nx\t y\n")), 1)
os.mkfifo(folder / "pipe.jsonl")
refused("a pipe is not opened", Seen(folder / "pipe.jsonl"), "pipe")
write("mixed/a.jsonl", lines(PAIRS * 3))
write("mixed/b.csv", "prompt,completion\nx, y\n")
write("mixed/README.md", "# rows")
write("mixed/.DS_Store", b"\0\1Bud1")
seen = Seen(folder / "mixed")
check("a folder's other files are named", seen.says("files_left_out", "b.csv") and not seen.says("README") and not seen.says("DS_Store"), seen.brief())
check("… and training warns of them", any(e["type"] == "warning" and "b.csv" in e["message"] for e in seen.train()[1]))

# Labels
classifier = {"task": "sequence_classification"}


def labelled(values, **more):
    return Seen(write("labels.jsonl", lines({"text": f"row {n}", "label": value} for n, value in enumerate(values))), {**classifier, **more})


check("whole decimals are classes", labelled([0.0, 1.0, 1.0, 0.0], num_labels=2).labels() == [0, 1, 1, 0])
seen = labelled([-1, 0, 1, 0, -1, 1], num_labels=2)
check("-1 is no class", seen.labels() == [0, 1, 0, 1] and seen.says("unlabelled_rows", "-1"), seen.brief())
code, events = seen.train()
check("… nor in training", code == 0 and any(e.get("train_rows") == 4 for e in events), events[-1:])
refused("spellings of one class", labelled(["Pos", "pos", "neg"], num_labels=2), "Pos", "spellings")
check("… are a warning where they fit", labelled(["Pos", "pos", "neg"], num_labels=3).says("class_spellings"))
for column in ("labels", "target", "targets"):
    seen = Seen(write("column.jsonl", lines({"text": f"row {n}", column: n % 2} for n in range(4))), classifier)
    check(f"a column {column} is used", seen.labels() == [0, 1, 0, 1], seen.brief())
refused("another column is named", Seen(write("column.jsonl", lines({"text": "a", "mood": n} for n in range(2))), classifier), "mood", "data.columns")

# Columns beside what is used
TEMPLATE = ("{% if tools %}TOOLS{% for t in tools %}{{ t | tojson }}{% endfor %}{% endif %}{% for m in messages %}[{{ m.role }}]{% if m.tool_calls %}{% for c in m.tool_calls %}"
            "{% for k, v in c.function.arguments | items %}{{ k }}={{ v }};{% endfor %}{% endfor %}{% else %}{{ m.content }}{% endif %}{{ eos_token }}{% endfor %}{% if add_generation_prompt %}[assistant]{% endif %}")
chat_model = folder / "chat-model"
shutil.copytree(MODEL, chat_model)
(chat_model / "chat_template.jinja").write_text(TEMPLATE)


def chat(row, **data):
    return Seen(write("chat.jsonl", lines([row] * 2)), model_path=chat_model, **data)


def user(text):
    return {"role": "user", "content": text}


def assistant(text, **more):
    return {"role": "assistant", "content": text, **more}


turns = [user("one"), assistant("three")]
for name, row in (("messages", {"messages": turns}), ("instruction", {"instruction": "add", "output": "3"}), ("question", {"question": "1", "answer": "3"}), ("prompt", {"prompt": "1", "completion": "3"})):
    for key in ("system", "system_prompt"):
        check(f"{key} beside {name} is read", "be kind" in chat({**row, key: "be kind"}).text())
    if name != "messages":
        check(f"history beside {name} is read", "be kind" in chat({**row, "history": [["before", "be kind"]]}).text())
    seen = chat({**row, "remark": "be kind"})
    check(f"a column beside {name} that nobody reads is counted and named", seen.view["unused_columns"] == {"remark": 2} and seen.says("unused_columns", "remark"), seen.brief())
check("… and training warns of it, once", [e["message"].count("remark") for e in seen.train()[1] if e["type"] == "warning" and e["code"] == "unused_columns"] == [1])
check("the event counts it", any(e.get("unused_columns") == {"remark": 2} for e in seen.train()[1]))
for key in ("tools", "functions"):
    seen = chat({"messages": turns, key: [{"name": "add"}]})
    check(f"{key} reach the template", '"add"' in seen.text(), seen.brief())
seen = chat({"messages": turns, "tools": json.dumps([{"type": "function", "function": {"name": "add"}}])})
check("tools as JSON text reach the template", '"add"' in seen.text(), seen.brief())
for key, off, on in (("weight", 0, 1), ("train", False, True)):
    seen = chat({"messages": [user("a"), assistant("one", **{key: off}), user("b"), assistant("two", **{key: on})]}, loss_on="assistant")
    check(f"{key} {off} of a message takes its loss away", "two" in seen.text(learned=True) and "one" not in seen.text(learned=True), seen.brief())
plain = chat({"messages": turns})
check("messages as JSON text are read", chat({"messages": json.dumps(turns)}).text() == plain.text())
refused("messages as Python's text are refused as text", chat({"messages": str(turns)}), "text", "json.dumps")


# Tool calls, and one bad row among good ones
def tool_call(arguments):
    return {"role": "assistant", "content": None, "tool_calls": [{"type": "function", "function": {"name": "add", "arguments": arguments}}]}


def among(bad):
    return Seen(write("among.jsonl", lines([{"messages": turns}] * 3 + [{"messages": bad}])), model_path=chat_model)


seen = among([user("x"), tool_call('{"a": 1}')])
check("arguments as JSON text are decoded where the template walks through them", seen.rows == 4 and "a=1;" in seen.text(3), seen.brief())
seen = among([user("x"), tool_call(7)])
check("arguments that are a number cost their row", seen.rows == 3 and seen.says("arguments", "row 4") and any(p["rows"] == [4] for p in seen.view["problems"]), seen.brief())
check("… and nothing else", seen.train()[0] == 0)
messages = write("messages.json", json.dumps([user("x"), tool_call('{"a": 1}')]))
answer = call("tokenize", chat_model, "--chat", messages, "--json")
check("tokenize decodes them, too", answer.returncode == 0 and "a=1;" in json.loads(answer.stdout)["text"], answer.stderr)
check("a tool call is no empty answer", not among([user("x"), tool_call({"a": 1})]).says("empty_answers"))
check("a number as content is no empty answer", not among([user("x"), assistant(5)]).says("empty_answers"))
check("null as content is", among([user("x"), assistant(None)]).says("empty_answers"))

# Masks
whole = {"input_ids": [5, 6, 7, 33], "labels": [-100, 6, 7, 33]}


def padded(left, right):
    return {"input_ids": [0] * left + whole["input_ids"] + [0] * right, "attention_mask": [0] * left + [1] * 4 + [0] * right, "labels": [-100] * left + whole["labels"] + [-100] * right}


def losses(row):
    path = write("ids.jsonl", lines([row] * 2))
    seen = Seen(path)
    evaluated = json.loads(call("eval", MODEL, "--data", path, "--dtype", "float32", "--json").stdout)["metrics"]["loss"]
    code, events = seen.train()
    return [evaluated] + [e["loss"] for e in events if e["type"] == "step"][:1]


right = losses(whole)
for left, behind in ((0, 2), (3, 0), (2, 1)):
    got = losses(padded(left, behind))
    check(f"{left} masked before and {behind} behind change no loss", len(got) == 2 and all(abs(a - b) < 1e-5 for a, b in zip(right, got)), (right, got))

shutil.rmtree(folder)
finish()
