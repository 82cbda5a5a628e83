# SPDX-License-Identifier: Apache-2.0
"""The same training with data.packing off and on: one model, one file of rows whose lengths are those of instruction data (most short, a few
long), LoRA on q and v; beside them transformers' Trainer + peft on the same rows, padded as its collators do. All are alive together and take
turns step by step; the figure is the median over steps of supervised tokens / seconds. Unpacked, a sequence of a batch is a row, laid out
without padding; packed, it is rows up to max_length."""
import argparse
import json
import math
import random
import statistics
import subprocess
import tempfile
from pathlib import Path

from engine_compare import CLI, HERE, LEARNING_RATE, METHODS, PYTHON, SHAPE, WARM_UP, Ours, Side, environment

MAX_LENGTH = 512


def write_mixed_rows(path, count):
    """Lengths as of short questions and answers: log-normal around 40 tokens, at most MAX_LENGTH; the prompt's half carries no loss."""
    draw = random.Random(7)
    lengths, supervised = [], []
    with open(path, "w") as file:
        for _ in range(count):
            length = min(MAX_LENGTH, max(8, int(math.exp(draw.gauss(3.7, 0.8)))))
            ids = [3 + draw.randrange(61) * 500 for _ in range(length)]
            lengths.append(length)
            supervised.append(length - max(1, length // 2))
            file.write(json.dumps({"input_ids": ids, "labels": [-100] * (length // 2) + ids[length // 2:]}) + "\n")
    return lengths, supervised


class Run(Ours):
    def __init__(self, folder, packing, options):
        self.steps, self.is_paused = options.steps, True
        config = folder / f"packing-{packing}.json"
        config.write_text(json.dumps(dict(
            name="packing", model=dict(path="model", dtype="float32"), method=dict(type="lora", target_modules=METHODS["q,v"], r=8, lora_alpha=16),
            data=dict(train=dict(path="rows.jsonl", format="tokenized"), eval=dict(split=0), max_length=MAX_LENGTH, packing=packing),
            train=dict(max_steps=options.steps, batch_size=options.batch, learning_rate=1e-4, eval_every=0, save_every=0))))
        Side.__init__(self, [CLI, "train", str(config), "--workspace", str(folder / f"packing-{packing}"), "--events", "-"], options.threads, '{"command": "pause"}')
        self.wait_for("paused")


class Padded(Side):
    def __init__(self, folder, options):
        super().__init__([PYTHON, str(HERE / "engine_trainer.py"), "train", json.dumps([str(folder), "float32", options.steps, options.batch, LEARNING_RATE, "cpu"])], options.threads)
        self.wait_for("ready")

    def next_step(self):
        self.say("step")
        return self.wait_for("step")["seconds"]


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--batch", type=int, default=1, help="sequences of a step")
    parser.add_argument("--steps", type=int, default=24)
    parser.add_argument("--threads", type=int, default=2)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="luthier-packing-") as base:
        folder = Path(base)
        subprocess.run([PYTHON, str(HERE / "engine_trainer.py"), "make", json.dumps([str(folder), SHAPE, dict(target_modules=METHODS["q,v"], r=8, lora_alpha=16), "float32", 0])],
                       check=True, env=environment(options.threads))
        lengths, supervised = write_mixed_rows(folder / "rows.jsonl", max(2000, options.steps * options.batch * 12))
        sides = Padded(folder, options), Run(folder, False, options), Run(folder, True, options)
        turns = [[side.next_step() for side in sides] for _ in range(options.steps)]
        for side in sides:
            side.finish()
    rate = lambda events: statistics.median(event["supervised_tokens"] / event["step_seconds"] for event in events)
    plain, dense = (rate([turn[side] for turn in turns[WARM_UP:]]) for side in (1, 2))
    theirs = statistics.median(sum(supervised[step * options.batch:(step + 1) * options.batch]) / turn[0] for step, turn in enumerate(turns) if step >= WARM_UP)
    print(f"rows of {statistics.median(lengths):.0f} tokens in the median, {statistics.fmean(lengths):.0f} in the mean, {max(lengths)} at most; batch {options.batch}")
    print(f"supervised tokens/s: Trainer padded {theirs:,.0f}, unpacked {plain:,.0f}, packed {dense:,.0f}; packed / unpacked {dense / plain:.2f}, packed / Trainer {dense / theirs:.2f}, unpacked / Trainer {plain / theirs:.2f}")


if __name__ == "__main__":
    main()
