# SPDX-License-Identifier: Apache-2.0
"""Ours is the whole `luthier-cli data RUN.json`: start, tokenizer, reading, mapping, checks, counts. Theirs is encode_batch alone, with the same
texts in memory and the tokenizer open. Both take all cores, in turn, the median of the rounds; both give the same count of tokens but for end tokens."""
import argparse
import json
import os
import statistics
import subprocess
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def ours(cli, config, environment):
    begin = time.perf_counter()
    done = subprocess.run([cli, "data", str(config), "--count", "1", "--json"], capture_output=True, text=True, env=environment, check=True)
    return time.perf_counter() - begin, json.loads(done.stdout)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=Path, default=ROOT.parent / "shared/data/gsm8k/train.jsonl", help="rows with question and answer")
    parser.add_argument("--model", type=Path, default=ROOT / "resources/demo/story-2m", help="folder with tokenizer.json")
    parser.add_argument("--repeat", type=int, default=8)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    os.environ["TOKENIZERS_PARALLELISM"] = "true"
    from tokenizers import Tokenizer
    tokenizer = Tokenizer.from_file(str(options.model / "tokenizer.json"))
    tokenizer.no_truncation()
    tokenizer.no_padding()
    with tempfile.TemporaryDirectory(prefix="luthier-tokenizing-") as base:
        folder = Path(base)
        lines = options.rows.read_text().splitlines() * options.repeat
        (folder / "rows.jsonl").write_text("\n".join(lines) + "\n")
        rows = [json.loads(line) for line in lines]
        texts = [row[key] for row in rows for key in ("question", "answer")]
        (folder / "run.json").write_text(json.dumps(dict(model=dict(path=str(options.model.resolve())), method=dict(type="full"),
                                                         data=dict(train=dict(path="rows.jsonl"), eval=dict(split=0), max_length=1 << 16))))
        # An empty cache each time: nothing is taken from an earlier round.
        environment = dict(os.environ, XDG_CACHE_HOME=str(folder / "none"))
        pairs, cached = [], []
        for turn in range(options.rounds + 1):
            subprocess.run(["rm", "-rf", str(folder / "none")], check=True)
            seconds, facts = ours(os.environ["LUTHIER_CLI"], folder / "run.json", environment)
            again, _ = ours(os.environ["LUTHIER_CLI"], folder / "run.json", environment)
            begin = time.perf_counter()
            encodings = tokenizer.encode_batch(texts, add_special_tokens=False)
            theirs = time.perf_counter() - begin
            tokens = sum(len(encoding) for encoding in encodings)
            del encodings
            if turn > 0:  # the first warms the disk's cache
                pairs.append((seconds, theirs))
                cached.append(again)
    mine, other = (statistics.median(pair[side] for pair in pairs) for side in (0, 1))
    print(f"{len(rows):,} rows, {tokens:,} tokens (ours {facts['tokens']:,} with end tokens and what joins prompt and answer)")
    print(f"luthier-cli data {mine:.2f} s ({facts['tokens'] / mine:,.0f} tokens/s), encode_batch {other:.2f} s ({tokens / other:,.0f} tokens/s), "
          f"ratio {statistics.median(b / a for a, b in pairs):.2f}; the same file again {statistics.median(cached):.2f} s")


if __name__ == "__main__":
    main()
