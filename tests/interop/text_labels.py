# SPDX-License-Identifier: Apache-2.0
"""Which tokens carry loss, against TRL's rules. Completion only (SFTTrainer, conversational prompt and completion): the tokens of
apply_chat_template(prompt + completion) behind as many as apply_chat_template(prompt, add_generation_prompt) has. Assistant only: the mask of
apply_chat_template(return_assistant_tokens_mask), which TRL uses as it is. Ids are apply_chat_template's."""
import json
import random
import sys
from pathlib import Path

from transformers import AutoTokenizer

from common import check, engine, finish, llama, temporary
from text_tokenizers import byte_level, metaspace

MARKED = {
    "chatml": "{% for message in messages %}{{'<|im_start|>' + message['role'] + '\n'}}{% if message['role'] == 'assistant' %}{% generation %}{{ message['content'] + '<|im_end|>' }}{% endgeneration %}{{ '\n' }}"
              "{% else %}{{ message['content'] + '<|im_end|>' + '\n'}}{% endif %}{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}",
    "tight": "{%- for message in messages %}\n{%- if message.role == 'assistant' %}\n{{- '[A] ' }}\n{%- generation -%}\n   {{ message.content | trim }}{{ eos_token }}\n{%- endgeneration %}\n{%- else %}{{- '[U] ' + message.content }}\n{%- endif %}\n{%- endfor %}"
             "{%- if add_generation_prompt %}{{- '[A] ' }}{%- endif %}",
}
PLAIN = {
    "chatml": "{% for message in messages %}{{'<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>' + '\n'}}{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}",
    "zephyr": "{% for message in messages %}{{ '<|' + message['role'] + '|>\n' + message['content'] + eos_token + '\n' }}{% endfor %}{% if add_generation_prompt %}{{ '<|assistant|>\n' }}{% endif %}",
}
WORDS = ["river", "stone", "“quoted”", "café", "你好", "two\nlines", "3.14", "don't", "🙂", "x"]


def sentence(draw):
    return " ".join(draw.choice(WORDS) for _ in range(draw.randint(1, 6)))


def rows_of(folder, model, rows, loss_on):
    (folder / "rows.jsonl").write_text("\n".join(json.dumps(row) for row in rows) + "\n")
    run = dict(model=dict(path=str(model)), method=dict(type="lora"), data=dict(train=dict(path="rows.jsonl"), eval=dict(split=0), loss_on=loss_on, template="model", max_length=4096))
    (folder / "run.json").write_text(json.dumps(run))
    preview = json.loads(engine("data", folder / "run.json", "--count", len(rows), "--json"))["preview"]
    return [([t["id"] for t in row["tokens"]], [t["state"] == "loss" for t in row["tokens"]]) for row in preview]


with temporary() as base:
    base = Path(base)
    draw = random.Random(11)
    for kind, make in {"byte-level": byte_level, "metaspace": metaspace}.items():
        for name, template in PLAIN.items():
            folder = base / f"{kind}-{name}"
            make(folder)
            llama(vocab_size=2000).config.save_pretrained(folder)
            (folder / "chat_template.jinja").write_text(template)
            tokenizer = AutoTokenizer.from_pretrained(folder)
            rows = [dict(prompt=[dict(role="system", content=sentence(draw))] * (i % 2) + [dict(role="user", content=sentence(draw))],
                         completion=[dict(role="assistant", content=sentence(draw))]) for i in range(20)]
            good = 0
            for row, (ids, mask) in zip(rows, rows_of(folder, folder, rows, "completion"), strict=True):
                before = tokenizer.apply_chat_template(row["prompt"], add_generation_prompt=True, return_dict=True)["input_ids"]
                whole = tokenizer.apply_chat_template(row["prompt"] + row["completion"], return_dict=True)["input_ids"]
                good += ids == whole and mask == [False] * len(before) + [True] * (len(whole) - len(before))
            check(f"completion-only labels equal TRL's ({kind}, {name})", good == len(rows), f"{good} of {len(rows)} rows")
        for name, template in MARKED.items():
            folder = base / f"{kind}-{name}-marked"
            make(folder)
            llama(vocab_size=2000).config.save_pretrained(folder)
            (folder / "chat_template.jinja").write_text(template)
            tokenizer = AutoTokenizer.from_pretrained(folder)
            rows = [dict(messages=[dict(role=role, content=sentence(draw)) for _ in range(1 + i % 3) for role in ("user", "assistant")]) for i in range(20)]
            good = 0
            for row, (ids, mask) in zip(rows, rows_of(folder, folder, rows, "assistant"), strict=True):
                theirs = tokenizer.apply_chat_template(row["messages"], return_dict=True, return_assistant_tokens_mask=True)
                good += ids == theirs["input_ids"] and mask == [bool(x) for x in theirs["assistant_masks"]]
            check(f"assistant-only labels equal TRL's ({kind}, {name})", good == len(rows), f"{good} of {len(rows)} rows")

    # Tools of a row, as a list and as its JSON text, and calls without words, reach the template.
    TOOLS = [{"type": "function", "function": {"name": "weather", "description": "Of a <place>", "parameters": {"type": "object", "properties": {"city": {"type": "string", "enum": ["Köln", None]}}}}}]
    WITH_TOOLS = ("{% if tools %}<|im_start|>system\n{{ tools | tojson }}\n{% for tool in tools %}{{ tool.function.name }};{% endfor %}<|im_end|>\n{% endif %}{% for message in messages %}"
                  "<|im_start|>{{ message.role }}\n{% if message.tool_calls %}{% for call in message.tool_calls %}{{ call.function | tojson }}{% endfor %}{% else %}{{ message.content }}{% endif %}<|im_end|>\n{% endfor %}"
                  "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}")
    CALL = dict(role="assistant", tool_calls=[dict(type="function", function=dict(name="weather", arguments=dict(city="Köln")))])
    folder = base / "tools"
    byte_level(folder)
    llama(vocab_size=2000).config.save_pretrained(folder)
    (folder / "chat_template.jinja").write_text(WITH_TOOLS)
    tokenizer = AutoTokenizer.from_pretrained(folder)
    rows = []
    for i in range(12):
        messages = [dict(role="user", content=sentence(draw))] + [CALL, dict(role="tool", name="weather", content="12 °C")] * (i % 2) + [dict(role="assistant", content=sentence(draw))]
        rows.append(dict(messages=messages, **[{}, dict(tools=TOOLS), dict(tools=json.dumps(TOOLS)), dict(tools=None)][i % 4]))
    good = 0
    for row, (ids, mask) in zip(rows, rows_of(folder, folder, rows, "completion"), strict=True):
        tools = json.loads(row["tools"]) if isinstance(row.get("tools"), str) else row.get("tools")
        good += ids == tokenizer.apply_chat_template(row["messages"], tools=tools, return_dict=True)["input_ids"]
    check("tools of a row reach the chat template", good == len(rows), f"{good} of {len(rows)} rows")
finish()
