# SPDX-License-Identifier: Apache-2.0
"""Tokenizers and chat templates against transformers. Usage: text_tokenizers.py PATH_OF_text_probe"""
import json
import pathlib
import random
import re
import shutil
import subprocess
import sys
import tempfile

import sentencepiece
from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers
from transformers import AutoTokenizer, LlamaTokenizer, PreTrainedTokenizerFast

TEXTS = [
    "", " ", "Hello world", "  leading and trailing  ", "line one\nline two\n\n\ttabbed", "naïve café — “quotes” 你好 🙂👩‍👩‍👧",
    "numbers 1234567890 and 3.14", "don't can't I'll", "<s> inside </s> text", "<|im_start|>user\nhi<|im_end|>", "a" * 300,
    "mixed CASE Words_with_underscores-and-dashes", "\u200bzero width", "e\u0301 combining", "x<|im_end|> y",
]
MULTILINGUAL = [
    "Der schnelle braune Fuchs springt über den faulen Hund – „wirklich“, sagte Änne.", "L’été dernier, nous avons mangé des crêpes à Saint-Malo.",
    "Быстрая лиса прыгает через ленивую собаку; ёлка и съезд.", "Η γρήγορη αλεπού πηδά πάνω από το τεμπέλικο σκυλί.",
    "الثعلب البني السريع يقفز فوق الكلب الكسول.", "השועל המהיר קופץ מעל הכלב העצלן.", "तेज़ भूरी लोमड़ी आलसी कुत्ते के ऊपर कूदती है।",
    "敏捷的棕色狐狸跳过了懒狗。", "素早い茶色の狐がのろまな犬を飛び越える。カタカナとＡＢＣ１２３", "빠른 갈색 여우가 게으른 개를 뛰어넘는다.",
    "สุนัขจิ้งจอกสีน้ำตาลกระโดดข้ามสุนัขขี้เกียจ", "Con cáo nâu nhanh nhẹn nhảy qua con chó lười biếng.", "İstanbul'da ığdır çalışıyor; ﬁne ½ ㎏ ①",
    "def f(x):\n\treturn {'a': x ** 2, \"b\": [i for i in range(10)]}  # 100%\r\n", "🇩🇪 👍🏽 👨‍👩‍👧‍👦 🏳️‍🌈 ☕️",
]
CORPUS = [f"the quick brown fox number {i} jumps over the lazy dog, don't you see? Café {i * 7} 你好" for i in range(400)]
SPECIAL = ["<unk>", "<s>", "</s>", "<pad>", "<|im_start|>", "<|im_end|>"]
CORPUS += MULTILINGUAL * 20
TEXTS += MULTILINGUAL
CHAT = [
    {"role": "system", "content": "Be brief."},
    {"role": "user", "content": " What is 2+2? "},
    {"role": "assistant", "content": "4", "reasoning": "two and two"},
    {"role": "user", "content": "Thanks “friend”\n"},
]
TOOLS = [{"type": "function", "function": {"name": "add", "description": "Adds <numbers>", "parameters": {
    "type": "object", "properties": {"a": {"type": "number", "minimum": 0.5, "maximum": 1e20}, "é": {"enum": ["x", None, True]}}}}}]
TEMPLATES = {
    "chatml": "{% for message in messages %}{{'<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>' + '\n'}}{% endfor %}"
              "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}",
    "llama2": "{% if messages[0]['role'] == 'system' %}{% set loop_messages = messages[1:] %}{% set system_message = messages[0]['content'] %}"
              "{% else %}{% set loop_messages = messages %}{% set system_message = false %}{% endif %}"
              "{% for message in loop_messages %}{% if (message['role'] == 'user') != (loop.index0 % 2 == 0) %}"
              "{{ raise_exception('Conversation roles must alternate user/assistant/user/assistant/...') }}{% endif %}"
              "{% if loop.index0 == 0 and system_message != false %}{% set content = '<<SYS>>\\n' + system_message + '\\n<</SYS>>\\n\\n' + message['content'] %}"
              "{% else %}{% set content = message['content'] %}{% endif %}"
              "{% if message['role'] == 'user' %}{{ bos_token + '[INST] ' + content.strip() + ' [/INST]' }}"
              "{% elif message['role'] == 'assistant' %}{{ ' '  + content.strip() + ' ' + eos_token }}{% endif %}{% endfor %}",
    "tools": """{%- if tools %}
    {{- '<|im_start|>system\\n# Tools\\n' }}
    {%- for tool in tools %}
        {{- "\\n" }}
        {{- tool | tojson }}
    {%- endfor %}
    {{- tools | tojson(indent=2) }}
    {{- tools }}
{%- endif %}
{% set ns = namespace(last=0, found=false) %}
{%- for message in messages[::-1] %}
    {%- set index = (messages|length - 1) - loop.index0 %}
    {%- if not ns.found and message.role == "user" %}
        {%- set ns.found = true %}{% set ns.last = index %}
    {%- endif %}
{%- endfor %}
last={{ ns.last }} {{ ns.found }} {{ none }} {{ 1.0 }} {{ 7 / 2 }} {{ messages[0].missing }}
    {% for message in messages %}
    {%- generation -%}
  {{ loop.index }}: {{ message.content | trim }} {{ message.reasoning_content if message.reasoning_content is defined else '-' }}
    {%- endgeneration %}
    {% if loop.last %}{% break %}{% endif %}
    {% endfor %}
{{ messages | map(attribute='role') | join(',') }} {{ 'a,b'.split(',') }} {{ 'Title'.upper().startswith('TI') }} {{ "x" in "xyz" }}
{{ messages[-1].content.rstrip('\\n').lower() }} {{ {'k': [1, "it's", none]} }}{# gone #}
{% if messages[0].content is string and tools is not none %}text{% endif %}
""",
    "llama3": "{% set loop_messages = messages %}{% for message in loop_messages %}{% set content = '<|start_header_id|>' + message['role'] + '<|end_header_id|>\n\n'+ message['content'] | trim + '<|eot_id|>' %}"
              "{% if loop.index0 == 0 %}{% set content = bos_token + content %}{% endif %}{{ content }}{% endfor %}"
              "{% if add_generation_prompt %}{{ '<|start_header_id|>assistant<|end_header_id|>\n\n' }}{% endif %}",
    "mistral": "{%- if messages[0]['role'] == 'system' %}{%- set system_message = messages[0]['content'] %}{%- set loop_messages = messages[1:] %}{%- else %}{%- set loop_messages = messages %}{%- endif %}"
               "{{- bos_token }}{%- for message in loop_messages %}{%- if (message['role'] == 'user') != (loop.index0 % 2 == 0) %}"
               "{{- raise_exception('After the optional system message, conversation roles must alternate user/assistant/user/assistant/...') }}{%- endif %}"
               "{%- if message['role'] == 'user' %}{%- if loop.last and system_message is defined %}{{- '[INST] ' + system_message + '\n\n' + message['content'] + '[/INST]' }}"
               "{%- else %}{{- '[INST] ' + message['content'] + '[/INST]' }}{%- endif %}{%- elif message['role'] == 'assistant' %}{{- ' ' + message['content'] + eos_token }}"
               "{%- else %}{{- raise_exception('Only user and assistant roles are supported, with the exception of an initial optional system message!') }}{%- endif %}{%- endfor %}",
    "gemma": "{{ bos_token }}{% if messages[0]['role'] == 'system' %}{{ raise_exception('System role not supported') }}{% endif %}"
             "{% for message in messages %}{% if (message['role'] == 'user') != (loop.index0 % 2 == 0) %}{{ raise_exception('Conversation roles must alternate user/assistant/user/assistant/...') }}{% endif %}"
             "{% if (message['role'] == 'assistant') %}{% set role = 'model' %}{% else %}{% set role = message['role'] %}{% endif %}"
             "{{ '<start_of_turn>' + role + '\n' + message['content'] | trim + '<end_of_turn>\n' }}{% endfor %}{% if add_generation_prompt %}{{'<start_of_turn>model\n'}}{% endif %}",
    "zephyr": "{% for message in messages %}\n{% if message['role'] == 'user' %}\n{{ '<|user|>\n' + message['content'] + eos_token }}\n{% elif message['role'] == 'system' %}\n{{ '<|system|>\n' + message['content'] + eos_token }}\n"
              "{% elif message['role'] == 'assistant' %}\n{{ '<|assistant|>\n'  + message['content'] + eos_token }}\n{% endif %}\n{% if loop.last and add_generation_prompt %}\n{{ '<|assistant|>' }}\n{% endif %}\n{% endfor %}",
    "phi3": "{% for message in messages %}{% if message['role'] == 'system' and message['content'] %}{{'<|system|>\n' + message['content'] + '<|end|>\n'}}{% elif message['role'] == 'user' %}{{'<|user|>\n' + message['content'] + '<|end|>\n'}}"
            "{% elif message['role'] == 'assistant' %}{{'<|assistant|>\n' + message['content'] + '<|end|>\n'}}{% endif %}{% endfor %}{% if add_generation_prompt %}{{ '<|assistant|>\n' }}{% else %}{{ eos_token }}{% endif %}",
    "macro": """{%- macro show(value, depth=1) -%}
[{{ value }}|{{ depth }}]
{%- endmacro -%}
{%- for m in messages if m.role != 'system' %}{{ show(m.content, loop.index) }}{% endfor %}
{{- messages | selectattr('role', 'equalto', 'user') | list | length }}
{%- for key, value in messages[0].items() %}{{ key }}={{ value }};{% endfor %}
{%- set x = messages[0]['content'] %}{{ x[:2] ~ x[-1] }}{{ '%s-%d' | format('a', 3) }}{{ dict(a=1) | tojson }}
""",
}


def byte_level(folder, add_prefix_space=False, bos=False):
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=add_prefix_space)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.post_processor = processors.ByteLevel(trim_offsets=False)
    tokenizer.train_from_iterator(CORPUS, trainers.BpeTrainer(vocab_size=600, special_tokens=SPECIAL, initial_alphabet=pre_tokenizers.ByteLevel.alphabet()))
    extra = {"add_bos_token": True, "add_eos_token": True} if bos else {}
    PreTrainedTokenizerFast(tokenizer_object=tokenizer, bos_token="<s>", eos_token="</s>", pad_token="<pad>", unk_token="<unk>", **extra).save_pretrained(folder)


def metaspace(folder):
    tokenizer = Tokenizer(models.BPE(byte_fallback=True, unk_token="<unk>", fuse_unk=True))
    tokenizer.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    tokenizer.decoder = decoders.Sequence([decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)])
    alphabet = [f"<0x{i:02X}>" for i in range(256)]
    tokenizer.train_from_iterator(CORPUS, trainers.BpeTrainer(vocab_size=800, special_tokens=SPECIAL + alphabet))
    tokenizer.post_processor = processors.TemplateProcessing(single="<s> $A", pair="<s> $A <s> $B", special_tokens=[("<s>", 1)])
    PreTrainedTokenizerFast(tokenizer_object=tokenizer, bos_token="<s>", eos_token="</s>", unk_token="<unk>").save_pretrained(folder)


def word_piece(folder):
    tokenizer = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=True)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.decoder = decoders.WordPiece()
    tokenizer.train_from_iterator(CORPUS, trainers.WordPieceTrainer(vocab_size=400, special_tokens=["[PAD]", "[UNK]", "[CLS]", "[SEP]"]))
    tokenizer.post_processor = processors.TemplateProcessing(single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)])
    PreTrainedTokenizerFast(tokenizer_object=tokenizer, cls_token="[CLS]", sep_token="[SEP]", unk_token="[UNK]", pad_token="[PAD]").save_pretrained(folder)


def unigram(folder):
    """As T5 and XLM-R: NFKC, a metaspace in front, an end token."""
    tokenizer = Tokenizer(models.Unigram())
    tokenizer.normalizer = normalizers.Sequence([normalizers.NFKC(), normalizers.Replace(Regex(" {2,}"), " ")])
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    tokenizer.decoder = decoders.Metaspace()
    tokenizer.train_from_iterator(CORPUS, trainers.UnigramTrainer(vocab_size=500, special_tokens=["<pad>", "</s>", "<unk>"], unk_token="<unk>"))
    tokenizer.post_processor = processors.TemplateProcessing(single="$A </s>", pair="$A </s> $B </s>", special_tokens=[("</s>", 1)])
    PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token="</s>", unk_token="<unk>", pad_token="<pad>").save_pretrained(folder)


def sentence_piece(folder, **config):
    folder.mkdir(parents=True)
    corpus = folder / "corpus.txt"
    corpus.write_text("\n".join(CORPUS))
    sentencepiece.SentencePieceTrainer.train(input=str(corpus), model_prefix=str(folder / "tokenizer"), vocab_size=900, model_type="bpe",
                                             byte_fallback=True, normalization_rule_name="identity", remove_extra_whitespaces=False, minloglevel=2)
    corpus.unlink()
    (folder / "tokenizer_config.json").write_text(json.dumps({"tokenizer_class": "LlamaTokenizer", "bos_token": "<s>", "eos_token": "</s>", "unk_token": "<unk>", **config}))


def sentence_piece_ids(model, text, ends):
    """transformers 4's LlamaTokenizer(legacy=True)"""
    ids = [1]
    for part in re.split("(<s>|</s>)", text):
        ids += [{"<s>": 1, "</s>": 2}[part]] if part in ("<s>", "</s>") else model.encode(part)
    return ids + [2] * ends


def main():
    probe = subprocess.Popen([sys.argv[1]], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    passed = failed = 0

    def ask(**request):
        probe.stdin.write(json.dumps(request) + "\n")
        probe.stdin.flush()
        return json.loads(probe.stdout.readline())

    def check(name, mine, theirs):
        nonlocal passed, failed
        if mine == theirs:
            passed += 1
        else:
            failed += 1
            print(f"FAIL {name}\n  luthier      {mine!r}\n  transformers {theirs!r}")

    with tempfile.TemporaryDirectory() as root:
        root = pathlib.Path(root)
        byte_level(root / "byte_level")
        byte_level(root / "byte_level_prefix", add_prefix_space=True)
        byte_level(root / "byte_level_ends", bos=True)
        metaspace(root / "metaspace")
        word_piece(root / "word_piece")
        unigram(root / "unigram")
        for name in ["byte_level", "byte_level_prefix", "byte_level_ends", "metaspace", "word_piece", "unigram"]:
            folder = root / name
            reference = AutoTokenizer.from_pretrained(folder)
            generator = random.Random(7)
            noise = ["".join(generator.choice("ab é你🙂<s>|\n\t 01'") for _ in range(40)) for _ in range(20)]
            for text in TEXTS + noise:
                for special in (True, False):
                    answer = ask(model=str(folder), text=text, special=special, plain=False)
                    theirs = reference(text, add_special_tokens=special)["input_ids"]
                    ids = [span[0] for span in answer["spans"]]
                    check(f"{name} ids of {text!r} special={special}", ids, theirs)
                    check(f"{name} spans of {text!r}", all(b <= e <= len(text.encode()) for _, b, e in answer["spans"]), True)
                plain = [span[0] for span in ask(model=str(folder), text=text, special=False, plain=True)["spans"]]
                check(f"{name} plain ids of {text!r}", plain, reference(text, add_special_tokens=False, split_special_tokens=True)["input_ids"])
                for skip in (True, False):
                    answer = ask(model=str(folder), ids=theirs, skip=skip)
                    check(f"{name} text of {theirs} skip={skip}", answer["text"], reference.decode(theirs, skip_special_tokens=skip))
                    if name != "word_piece":
                        check(f"{name} streamed text of {theirs} skip={skip}", answer["streamed"], answer["text"])
            check(f"{name} ends", [answer_id(reference.bos_token_id), answer_id(reference.eos_token_id), answer_id(reference.pad_token_id)],
                  [ask(model=str(folder), text="", special=False, plain=True)[key] for key in ("bos", "eos", "pad")])

        for name, config in {"llama_default": {"add_bos_token": True}, "llama_new": {"legacy": False, "add_bos_token": True},
                             "llama_legacy": {"legacy": True, "add_bos_token": True, "add_eos_token": True}}.items():
            folder = root / name
            sentence_piece(folder, **config)
            reference = LlamaTokenizer.from_pretrained(folder)
            model = sentencepiece.SentencePieceProcessor(model_file=str(folder / "tokenizer.model"))
            for text in TEXTS:
                answer = ask(model=str(folder), text=text, special=True, plain=False)
                ids = [span[0] for span in answer["spans"]]
                # transformers 5 swallows a leading space that sentencepiece (and transformers 4) keep; we keep it.
                if name != "llama_new" or text.startswith(" "):
                    check(f"{name} ids of {text!r}", ids, sentence_piece_ids(model, text, ends=name == "llama_legacy"))
                else:
                    check(f"{name} ids of {text!r}", ids, reference(text)["input_ids"])
                plain = [span[0] for span in ask(model=str(folder), text=text, special=False, plain=True)["spans"]]
                check(f"{name} plain ids of {text!r}", plain, model.encode(text))
                answer = ask(model=str(folder), ids=plain, skip=True)
                check(f"{name} text of {text!r}", answer["text"], reference.decode(plain, skip_special_tokens=True))
                check(f"{name} streamed text of {text!r}", answer["streamed"], answer["text"])

        # A real sentencepiece model with byte fallback, where the shared data are there.
        llama2 = pathlib.Path(__file__).resolve().parents[2] / "../shared/data/tokenizers/llama2/tokenizer.model"
        if llama2.exists():
            folder = root / "llama2"
            folder.mkdir()
            shutil.copy(llama2, folder)
            (folder / "tokenizer_config.json").write_text(json.dumps({"tokenizer_class": "LlamaTokenizer", "legacy": False, "add_bos_token": True}))
            model = sentencepiece.SentencePieceProcessor(model_file=str(llama2))
            for text in TEXTS:
                plain = [span[0] for span in ask(model=str(folder), text=text, special=False, plain=True)["spans"]]
                check(f"llama2 plain ids of {text!r}", plain, model.encode(text))
                check(f"llama2 text of {text!r}", ask(model=str(folder), ids=plain, skip=True)["text"], model.decode(plain))

        for name, template in TEMPLATES.items():
            folder = root / f"chat_{name}"
            byte_level(folder)
            (folder / "chat_template.jinja").write_text(template)
            reference = AutoTokenizer.from_pretrained(folder)
            for messages in (CHAT, CHAT[1:], CHAT[2:], CHAT[:2]):
                for tools in (None, TOOLS):
                    for generation in (True, False):
                        try:
                            theirs = {"text": reference.apply_chat_template(messages, tools=tools, tokenize=False, add_generation_prompt=generation)}
                        except Exception as problem:
                            theirs = {"code": "template_raised", "message": str(problem)}
                        check(f"template {name} {len(messages)} {generation}", ask(model=str(folder), messages=messages, tools=tools, generation=generation), theirs)

    probe.stdin.close()
    print(f"{passed} passed, {failed} failed")
    return 1 if failed or probe.wait() else 0


def answer_id(value):
    return -1 if value is None else value


if __name__ == "__main__":
    sys.exit(main())
