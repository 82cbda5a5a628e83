# SPDX-License-Identifier: Apache-2.0
"""Pairs of sentences with labels: ids and token types of `luthier-cli data` against transformers' tokenizer(a, b, truncation=True, max_length=…),
over the ways in which tokenizers frame a pair; single texts and what an encoder-decoder reads and writes likewise."""
import json
import random
from pathlib import Path

from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers
from transformers import AutoTokenizer, PreTrainedTokenizerFast

from common import check, engine, finish, llama, temporary
from text_tokenizers import CORPUS, byte_level, metaspace, unigram

LIMITS = (5, 6, 12, 13, 24, 400)
KEYS = [("sentence1", "sentence2"), ("premise", "hypothesis"), ("question1", "question2"), ("question", "sentence"), ("text_a", "text_b"), ("text", "text_pair")]
WORDS = ["river", "stone", "“quoted”", "café", "你好", "two\nlines", "3.14", "don't", "🙂", "x", "jumps over", "HTTP"]


def bert(folder):
    tokenizer = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=True)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.train_from_iterator(CORPUS, trainers.WordPieceTrainer(vocab_size=400, special_tokens=["[PAD]", "[UNK]", "[CLS]", "[SEP]"]))
    tokenizer.post_processor = processors.TemplateProcessing(single="[CLS]:0 $A:0 [SEP]:0", pair="[CLS]:0 $A:0 [SEP]:0 $B:1 [SEP]:1", special_tokens=[("[CLS]", 2), ("[SEP]", 3)])
    PreTrainedTokenizerFast(tokenizer_object=tokenizer, cls_token="[CLS]", sep_token="[SEP]", unk_token="[UNK]", pad_token="[PAD]").save_pretrained(folder)


def roberta(folder):
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.train_from_iterator(CORPUS, trainers.BpeTrainer(vocab_size=600, special_tokens=["<s>", "<pad>", "</s>", "<unk>", "<mask>"], initial_alphabet=pre_tokenizers.ByteLevel.alphabet()))
    tokenizer.post_processor = processors.RobertaProcessing(("</s>", 2), ("<s>", 0), trim_offsets=True, add_prefix_space=False)
    PreTrainedTokenizerFast(tokenizer_object=tokenizer, bos_token="<s>", eos_token="</s>", cls_token="<s>", sep_token="</s>", unk_token="<unk>", pad_token="<pad>").save_pretrained(folder)


def sentence_pieces(folder, single, pair, special, **named):
    """As DeBERTa v3 and XLM-R: Unigram with a metaspace."""
    tokenizer = Tokenizer(models.Unigram())
    tokenizer.normalizer = normalizers.NFKC()
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    tokenizer.decoder = decoders.Metaspace()
    tokenizer.train_from_iterator(CORPUS, trainers.UnigramTrainer(vocab_size=500, special_tokens=special, unk_token=special[-1]))
    tokenizer.post_processor = processors.TemplateProcessing(single=single, pair=pair, special_tokens=[(token, i) for i, token in enumerate(special)])
    PreTrainedTokenizerFast(tokenizer_object=tokenizer, **named).save_pretrained(folder)


def deberta(folder):
    sentence_pieces(folder, "[CLS]:0 $A:0 [SEP]:0", "[CLS]:0 $A:0 [SEP]:0 $B:1 [SEP]:1", ["[PAD]", "[CLS]", "[SEP]", "[UNK]"], cls_token="[CLS]", sep_token="[SEP]", pad_token="[PAD]", unk_token="[UNK]")


def xlm_roberta(folder):
    sentence_pieces(folder, "<s> $A </s>", "<s> $A </s> </s> $B </s>", ["<s>", "<pad>", "</s>", "<unk>"], bos_token="<s>", eos_token="</s>", cls_token="<s>", sep_token="</s>", pad_token="<pad>", unk_token="<unk>")


FRAMES = {"bert": bert, "roberta": roberta, "deberta": deberta, "xlm-roberta": xlm_roberta, "llama": metaspace, "t5": unigram}


def sentence(draw):
    return " ".join(draw.choice(WORDS) for _ in range(draw.randint(0, 8)))


def preview(folder, rows, task, limit, **data):
    (folder / "rows.jsonl").write_text("\n".join(json.dumps(row) for row in rows) + "\n")
    run = dict(model=dict(path=str(folder), task=task), method=dict(type="lora"), data={**dict(train=dict(path="rows.jsonl"), eval=dict(split=0), max_length=limit), **data})
    (folder / "run.json").write_text(json.dumps(run))
    return json.loads(engine("data", folder / "run.json", "--count", len(rows), "--json"))


def row_of(shown):
    tokens = [t for t in shown["tokens"] if t["state"] != "cut"]
    return [t["id"] for t in tokens], [t.get("type", 0) for t in tokens]


def expected(tokenizer, limit, *texts):
    # As a batch: alone, transformers takes an empty second text for none.
    row = tokenizer(*([text] for text in texts), truncation=True, max_length=limit, split_special_tokens=True, return_token_type_ids=True)
    return row["input_ids"][0], row["token_type_ids"][0]


with temporary() as base:
    base = Path(base)
    draw = random.Random(5)
    for name, make in FRAMES.items():
        folder = base / name
        make(folder)
        llama(vocab_size=2000).config.save_pretrained(folder)
        tokenizer = AutoTokenizer.from_pretrained(folder)
        for limit in LIMITS:
            for first, second in KEYS if limit == LIMITS[-1] else KEYS[:1]:
                rows = [{first: sentence(draw) + " a", second: sentence(draw), "label": i % 2} for i in range(20)]
                data = preview(folder, rows, "sequence_classification", limit)
                good = sum(row_of(shown) == expected(tokenizer, limit, row[first], row[second]) for row, shown in zip(rows, data["preview"], strict=True))
                check(f"{name}: {first} and {second} in {limit} tokens", good == len(rows), f"{good} of {len(rows)} rows")
                check(f"{name}: labels in {limit} tokens", [shown["label"] for shown in data["preview"]] == [row["label"] for row in rows])
            rows = [dict(sentence=sentence(draw) + " a", label=["no", "yes"][i % 2]) for i in range(20)]
            data = preview(folder, rows, "sequence_classification", limit)
            good = sum(row_of(shown) == expected(tokenizer, limit, row["sentence"]) for row, shown in zip(rows, data["preview"], strict=True))
            check(f"{name}: one text in {limit} tokens", good == len(rows) and data["classes"] == ["no", "yes"], f"{good} of {len(rows)} rows")

    # Columns that have names of their own.
    folder = base / "bert"
    tokenizer = AutoTokenizer.from_pretrained(folder)
    rows = [dict(left=sentence(draw) + " a", right=sentence(draw), grade=i % 3, text="not this") for i in range(12)]
    data = preview(folder, rows, "sequence_classification", 16, columns=dict(text="left", text_pair="right", label="grade"))
    check("columns named by hand", all(row_of(shown) == expected(tokenizer, 16, row["left"], row["right"]) for row, shown in zip(rows, data["preview"], strict=True)))
    check("the mapping says how", data["mapping"] == "text and text_pair as the tokenizer joins a pair, label", data["mapping"])

    # A tokenizer that puts nothing between two texts: two lines of one.
    folder = base / "gpt2"
    byte_level(folder)
    llama(vocab_size=2000).config.save_pretrained(folder)
    tokenizer = AutoTokenizer.from_pretrained(folder)
    rows = [dict(premise=sentence(draw) + " a", hypothesis=sentence(draw) + " b", label=i % 3) for i in range(12)]
    data = preview(folder, rows, "sequence_classification", 64)
    check("a tokenizer without separators reads two lines", all(row_of(shown)[0] == tokenizer(row["premise"] + "\n" + row["hypothesis"])["input_ids"] for row, shown in zip(rows, data["preview"], strict=True)))
    check("and the mapping says so", "two lines" in data["mapping"], data["mapping"])

    # Models that write: both texts under their names, the label is the answer.
    data = preview(folder, rows, "causal_lm", 256)
    good = 0
    for row, shown in zip(rows, data["preview"], strict=True):
        prompt = tokenizer(f"premise: {row['premise']}\nhypothesis: {row['hypothesis']}\nlabel:")["input_ids"]
        answer = tokenizer(f" {row['label']}")["input_ids"] + [tokenizer.eos_token_id]
        good += [t["id"] for t in shown["tokens"]] == prompt + answer and [t["id"] for t in shown["tokens"] if t["state"] == "loss"] == answer
    check("a decoder writes the label", good == len(rows), data["mapping"])
    tokenizer = AutoTokenizer.from_pretrained(base / "t5")
    for limit in (8, 256):
        data = preview(base / "t5", rows, "seq2seq_lm", limit)
        good = 0
        for row, shown in zip(rows, data["preview"], strict=True):
            tokens = [t for t in shown["tokens"] if t["state"] != "cut"]
            read = tokenizer(f"premise: {row['premise']} hypothesis: {row['hypothesis']}", truncation=True, max_length=limit)["input_ids"]
            good += [t["id"] for t in tokens if t["state"] != "loss"] == read and [t["id"] for t in tokens if t["state"] == "loss"] == tokenizer(str(row["label"]))["input_ids"]
        check(f"an encoder-decoder reads both and writes the label, in {limit} tokens", good == len(rows), data["mapping"])
    rows = [dict(prompt="x " * 3, completion=sentence(draw) + " long answer that is cut") for _ in range(8)]
    data = preview(base / "t5", rows, "seq2seq_lm", 7)
    check("what is written is cut as transformers cuts text_target", all(
        [t["id"] for t in shown["tokens"] if t["state"] == "loss"] == tokenizer(text_target=row["completion"], truncation=True, max_length=7)["input_ids"] for row, shown in zip(rows, data["preview"], strict=True)))
finish()
