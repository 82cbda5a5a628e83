# SPDX-License-Identifier: Apache-2.0
"""The same training with data.packing off and on: one model, one file of rows whose lengths are those of instruction data (most short, a few
long), LoRA on q and v. Both workers are alive together and take turns step by step; the figure is the median over steps of supervised
tokens / step_seconds. Unpacked, a sequence of a batch is a row; packed, it is rows up to max_length."""
import argparse
import json
import math
import random
import statistics
import subprocess
import tempfile
from pathlib import Path

from engine_compare import CLI, HERE, METHODS, PYTHON, SHAPE, WARM_UP, Ours, Side, environment

MAX_LENGTH = 512


def write_mixed_rows(path, count):
    """Lengths as of short questions and answers: log-normal around 40 tokens, at most MAX_LENGTH; the prompt's half carries no loss."""
    draw = random.Random(7)
    lengths = []
    with open(path, "w") as file:
        for _ in range(count):
            length = min(MAX_LENGTH, max(8, int(math.exp(draw.gauss(3.7, 0.8)))))
            ids = [3 + draw.randrange(61) * 500 for _ in range(length)]
            lengths.append(length)
            file.write(json.dumps({"input_ids": ids, "labels": [-100] * (length // 2) + ids[length // 2:]}) + "\n")
    return lengths


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
        lengths = write_mixed_rows(folder / "rows.jsonl", max(2000, options.steps * options.batch * 12))
        unpacked, packed = Run(folder, False, options), Run(folder, True, options)
        pairs = [(unpacked.next_step(), packed.next_step()) for _ in range(options.steps)][WARM_UP:]
        unpacked.finish()
        packed.finish()
    rate = lambda events: statistics.median(event["supervised_tokens"] / event["step_seconds"] for event in events)
    plain, dense = rate([a for a, _ in pairs]), rate([b for _, b in pairs])
    print(f"rows of {statistics.median(lengths):.0f} tokens in the median, {statistics.fmean(lengths):.0f} in the mean, {max(lengths)} at most; batch {options.batch}")
    print(f"supervised tokens/s: unpacked {plain:,.0f}, packed {dense:,.0f}, ratio {dense / plain:.2f}")


if __name__ == "__main__":
    main()
