# SPDX-License-Identifier: Apache-2.0
"""luthier-cli against transformers' Trainer + peft: tokens per second, peak memory, start-up, as ratios from one interleaved run.

Both sides get one model folder, one adapter start, one file of rows, AdamW with the same numbers, the same OMP_NUM_THREADS and no other
setting. They are alive together and take turns step by step, so what else the machine does falls on both; a ratio is the median over
steps of theirs / ours. No figure counts without a loss: every step's losses are compared, and a difference beyond LOSS_LIMITS fails.

ready   wall time from exec to a model ready to step. Theirs: Python started, imports, from_pretrained, peft, rows read, Trainer built. Ours:
        the `paused` event that answers a pause sent at exec, which comes where step 1 would begin. Page cache warm for both.
peak    resident high-water mark of the whole process, mapped weights included; "above libraries" subtracts what the process holds with its
        libraries loaded and nothing done (theirs: after the imports; ours: `luthier-cli --version`). With --device cuda: what either's allocator
        held of the device at most.
"""
import argparse
import json
import os
import platform
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent
CLI = os.environ["LUTHIER_CLI"]
PYTHON = os.environ["LUTHIER_INTEROP_PYTHON"]

SHAPE = dict(vocab_size=32000, hidden_size=512, intermediate_size=1376, num_hidden_layers=8, num_attention_heads=8, num_key_value_heads=8,
             max_position_embeddings=512, tie_word_embeddings=False)
SHAPES = {"small": SHAPE, "1b": dict(vocab_size=32000, hidden_size=2048, intermediate_size=5632, num_hidden_layers=22, num_attention_heads=32, num_key_value_heads=4,
                                     max_position_embeddings=2048, tie_word_embeddings=False)}
EVERY_LINEAR = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]
METHODS = {"all-linear": EVERY_LINEAR, "q,v": ["q_proj", "v_proj"]}
BATCH, LENGTH = 4, 256
WARM_UP = 3
LEARNING_RATE = 2e-3
DEVICE, SHAPE_NAME = "cpu", "small"
# float32: sums in another order. bfloat16: its resolution at a loss of 10 is 0.03; both sides average over 1,020 tokens.
LOSS_LIMITS = {"float32": 1e-3, "bfloat16": 2e-2}
SPEED_TARGETS = {"float32": 1.15, "bfloat16": 1.35}
MEMORY_TARGETS = {"float32": 0.5, "bfloat16": 0.4}
READY_TARGET = 0.12


def environment(threads):
    return {**os.environ, "OMP_NUM_THREADS": str(threads), "HF_HUB_OFFLINE": "1", "TOKENIZERS_PARALLELISM": "false"}


class Side:
    """One of the two programs as a child process that answers with one JSON object a line."""

    def __init__(self, command, threads, first=None):
        self.log = tempfile.TemporaryFile("w+")
        self.device_peak = 0
        self.start = time.time()
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self.log, text=True, bufsize=1,
                                        env=environment(threads))
        if first:
            self.say(first)

    def say(self, line):
        self.process.stdin.write(line + "\n")
        self.process.stdin.flush()

    def wait_for(self, kind):
        for line in self.process.stdout:
            event = json.loads(line)
            if event["type"] == kind:
                return event
        self.log.seek(0)
        raise RuntimeError(f"{self.process.args[0]} ended before `{kind}`:\n{self.log.read()[-2000:]}")

    def finish(self):
        """Peak resident bytes, by the kernel's accounting of the finished process."""
        self.process.stdin.close()
        for line in self.process.stdout:
            self.device_peak = max(self.device_peak, json.loads(line).get("device_peak", 0))
        _, status, usage = os.wait4(self.process.pid, 0)
        self.process.returncode = os.waitstatus_to_exitcode(status)
        if self.process.returncode != 0:
            self.log.seek(0)
            raise RuntimeError(f"{self.process.args[0]} ended with {self.process.returncode}:\n{self.log.read()[-2000:]}")
        return usage.ru_maxrss * 1024


class Theirs(Side):
    def __init__(self, case, steps, threads):
        super().__init__([PYTHON, str(HERE / "engine_trainer.py"), "train", json.dumps([str(case.folder), case.dtype, steps, BATCH, LEARNING_RATE, DEVICE])], threads)
        ready = self.wait_for("ready")
        self.ready, self.libraries, self.threads = ready["time"] - self.start, ready["imported"], ready["threads"]

    def step(self):
        self.say("step")
        event = self.wait_for("step")
        return event["seconds"], event["loss"]


class Ours(Side):
    def __init__(self, case, steps, threads):
        config = case.folder / "run.json"
        run = dict(name="bench", device=DEVICE, model=dict(path="model", dtype=case.dtype),
                   method=dict(type="lora", target_modules=case.targets, init_from="start", **case.lora),
                   data=dict(train=dict(path="rows.jsonl", format="tokenized"), eval=dict(split=0), shuffle=False, max_length=LENGTH),
                   train=dict(max_steps=steps, batch_size=BATCH, learning_rate=LEARNING_RATE, lr_scheduler_type="linear", weight_decay=0.0,
                              max_grad_norm=1.0, eval_every=0, save_every=0))
        config.write_text(json.dumps(run))
        super().__init__([CLI, "train", str(config), "--workspace", str(case.folder / "ours"), "--events", "-"], threads, '{"command": "pause"}')
        self.ready = self.wait_for("paused")["time"] - self.start
        self.is_paused = True

    def step(self):
        event = self.next_step()
        return event["step_seconds"], event["loss"]

    def next_step(self):
        """One step: let go, ask for the next pause as soon as it runs. A pause that comes before the step is let go again."""
        while True:
            if self.is_paused:
                self.say('{"command": "resume"}')
                self.wait_for("resumed")
                self.say('{"command": "pause"}')
                self.is_paused = False
            for line in self.process.stdout:
                event = json.loads(line)
                if event["type"] == "paused":
                    self.is_paused = True
                    break
                if event["type"] == "step":
                    self.device_peak = event["memory"].get("device_peak_bytes", 0)
                    self.wait_for("paused" if event["step"] < self.steps else "finished")
                    self.is_paused = True
                    return event

    steps = 0


class Case:
    """A model folder, an adapter to start from and rows, as both sides read them."""

    lora = dict(r=8, lora_alpha=16)

    def __init__(self, base, dtype, masked, targets, steps):
        self.dtype, self.masked, self.targets = dtype, masked, METHODS[targets]
        self.folder = base / f"{dtype}-{targets}-{'half' if masked else 'all'}"
        self.folder.mkdir(parents=True)
        made = base / f"{dtype}-{targets}"
        if not made.exists():
            made.mkdir()
            subprocess.run([PYTHON, str(HERE / "engine_trainer.py"), "make",
                            json.dumps([str(made), SHAPES[SHAPE_NAME], dict(target_modules=self.targets, **self.lora), dtype, 0])], check=True)
        for part in ("model", "start"):
            (self.folder / part).symlink_to(made / part)
        write_rows(self.folder / "rows.jsonl", steps * BATCH, masked)


def write_rows(path, count, masked):
    """Rows of few distinct ids, so that twenty steps already lower the loss; the same numbers every time (a linear congruence)."""
    state = 12345
    with open(path, "w") as file:
        for _ in range(count):
            ids = []
            for _ in range(LENGTH):
                state = (state * 6364136223846793005 + 1442695040888963407) % 2**64
                ids.append(3 + (state >> 33) % 61 * 500)
            labels = ids if not masked else [-100] * (LENGTH // 2) + ids[LENGTH // 2:]
            file.write(json.dumps({"input_ids": ids, "labels": labels}) + "\n")


def libraries_of_ours(threads):
    process = subprocess.Popen([CLI, "--version"], stdout=subprocess.DEVNULL, env=environment(threads))
    _, _, usage = os.wait4(process.pid, 0)
    return usage.ru_maxrss * 1024


class Table:
    def __init__(self):
        self.rows = []
        self.is_met = True

    def add(self, figure, theirs, ours, ratio, target, is_met):
        self.is_met = self.is_met and is_met is not False
        verdict = {True: "met", False: "NOT MET", None: ""}[is_met]
        self.rows.append((figure, theirs, ours, ratio, target, verdict))
        print(f"[bench]   {figure}: {theirs} / {ours}, ratio {ratio} {verdict}", file=sys.stderr, flush=True)

    def print(self):
        header = ("figure", "theirs", "ours", "ratio", "target", "")
        widths = [max(len(str(row[i])) for row in [header, *self.rows]) for i in range(6)]
        for row in [header, tuple("-" * width for width in widths), *self.rows]:
            print("  ".join(str(cell).ljust(width) if i == 0 else str(cell).rjust(width) for i, (cell, width) in enumerate(zip(row, widths))).rstrip())


def spread(values):
    return f"{statistics.median(values):.2f} ({min(values):.2f}-{max(values):.2f})"


def compare(case, steps, threads, table, raw):
    """Both sides in turn over the same rows; adds this case's speed and memory to the table."""
    print(f"[bench] {case.dtype}, {'half' if case.masked else 'all'} labels, LoRA r {case.lora['r']} on {len(case.targets)} projections a layer", file=sys.stderr)
    Ours.steps = steps
    theirs, ours = Theirs(case, steps, threads), Ours(case, steps, threads)
    pairs = [(theirs.step(), ours.step()) for _ in range(steps)]
    peaks = theirs.finish(), ours.finish()
    if DEVICE == "cuda":
        peaks = theirs.device_peak, ours.device_peak
    label = f"{case.dtype} {'half' if case.masked else 'all'} labels"
    timed = pairs[WARM_UP:]
    ratios = [a[0] / b[0] for a, b in timed]
    tokens = BATCH * LENGTH
    rate = lambda side: tokens / statistics.median(pair[side][0] for pair in timed)
    target = SPEED_TARGETS[case.dtype]
    median = statistics.median(ratios)
    table.add(f"tokens/s, {label}", f"{rate(0):.0f}", f"{rate(1):.0f}", spread(ratios), f">= {target}", median >= target)
    worst = max(abs(a[1] - b[1]) for a, b in pairs)
    fell = pairs[0][1][1] - pairs[-1][1][1]
    limit = LOSS_LIMITS[case.dtype]
    table.add(f"loss after {steps} steps, {label}", f"{pairs[-1][0][1]:.4f}", f"{pairs[-1][1][1]:.4f}", f"worst {worst:.1e}", f"<= {limit:g}",
              worst <= limit and fell > 10 * limit)
    target = MEMORY_TARGETS[case.dtype]
    table.add(f"peak memory MB, {label}", f"{peaks[0] / 1e6:.0f}", f"{peaks[1] / 1e6:.0f}", f"{peaks[1] / peaks[0]:.2f}", f"<= {target}",
              peaks[1] / peaks[0] <= target)
    raw[label] = dict(pairs=pairs, peaks=peaks, threads=[theirs.threads, threads], median_ratio=median)
    if DEVICE == "cuda":
        return median
    above = peaks[0] - theirs.libraries, peaks[1] - libraries_of_ours(threads)
    table.add(f"  above libraries, {label}", f"{above[0] / 1e6:.0f}", f"{above[1] / 1e6:.0f}", f"{above[1] / above[0]:.2f}", "", None)
    raw[label]["above_libraries"] = above
    return median


def compare_start(case, repeats, threads, table, raw):
    """Start to ready of whole processes in turn; the first pair warms the page cache and does not count."""
    print(f"[bench] start to ready, {case.dtype}", file=sys.stderr)
    Ours.steps = 1
    pairs = []
    for i in range(repeats + 1):
        pair = []
        for kind in (Theirs, Ours):
            side = kind(case, 1, threads)
            pair.append(side.ready)
            side.step()
            side.finish()
        if i > 0:
            pairs.append(pair)
    ratios = [ours / theirs for theirs, ours in pairs]
    medians = [statistics.median(pair[i] for pair in pairs) for i in (0, 1)]
    table.add(f"start to ready s, {case.dtype}", f"{medians[0]:.2f}", f"{medians[1]:.2f}", f"{statistics.median(ratios):.3f} ({min(ratios):.3f}-{max(ratios):.3f})",
              f"<= {READY_TARGET}", statistics.median(ratios) <= READY_TARGET)
    raw[f"start {case.dtype}"] = pairs


def processor():
    with open("/proc/cpuinfo") as file:
        lines = file.read().splitlines()
    name = next((line.split(":")[1].strip() for line in lines if line.startswith("model name")), platform.machine())
    flags = next((line for line in lines if line.startswith("flags")), "").split()
    units = [unit for unit in ("avx2", "avx512f", "avx512_bf16", "amx_bf16") if unit in flags]
    return f"{name} ({', '.join(units)})"


def main():
    global DEVICE, SHAPE_NAME, BATCH, LENGTH
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=15, help="steps a case, the first three not timed")
    parser.add_argument("--starts", type=int, default=5, help="start-ups a side and dtype; 0: none")
    parser.add_argument("--dtypes", nargs="*", default=["float32", "bfloat16"], choices=["float32", "bfloat16"])
    parser.add_argument("--labels", nargs="*", default=["all", "half"], choices=["all", "half"])
    parser.add_argument("--targets", default="all-linear", choices=list(METHODS), help="projections with an adapter")
    parser.add_argument("--device", default="cpu", choices=["cpu", "cuda"], help="cuda: needs a build of the preset cuda; the targets are those of a CPU")
    parser.add_argument("--model", default="small", choices=list(SHAPES), help="1b: TinyLlama's shape")
    parser.add_argument("--batch", type=int, default=BATCH)
    parser.add_argument("--length", type=int, default=LENGTH, help="tokens a row")
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--raw", help="file for every single measurement, as JSON")
    options = parser.parse_args()
    DEVICE, SHAPE_NAME, BATCH, LENGTH = options.device, options.model, options.batch, options.length
    if options.steps <= WARM_UP:
        parser.error(f"--steps: more than {WARM_UP}")

    table, raw = Table(), {"processor": processor(), "threads": options.threads, "targets": options.targets}
    base = Path(tempfile.mkdtemp(prefix="luthier-bench-"))
    try:
        for dtype in options.dtypes:
            cases = {labels: Case(base, dtype, labels == "half", options.targets, options.steps) for labels in options.labels}
            if options.starts > 0 and cases:
                compare_start(next(iter(cases.values())), options.starts, options.threads, table, raw)
            gains = {labels: compare(case, options.steps, options.threads, table, raw) for labels, case in cases.items()}
            if len(gains) == 2:
                table.add(f"half labels gain more, {dtype}", "", "", f"{gains['half']:.2f} / {gains['all']:.2f}", "> 1", gains["half"] > gains["all"])
    finally:
        shutil.rmtree(base, ignore_errors=True)
    shape = SHAPES[SHAPE_NAME]
    print(f"\n{raw['processor']}, {options.threads} threads; LLaMA of hidden {shape['hidden_size']}, {shape['num_hidden_layers']} layers, {shape['num_attention_heads']} heads, "
          f"feed-forward {shape['intermediate_size']}, vocabulary {shape['vocab_size']}, untied, on {DEVICE}; {BATCH} x {LENGTH} tokens;\n"
          f"LoRA r {Case.lora['r']} on {options.targets}; theirs = transformers Trainer + peft; speed ratio = theirs' step time / ours, the others = ours / theirs\n")
    table.print()
    if options.raw:
        Path(options.raw).write_text(json.dumps(raw, indent=1))
    sys.exit(0 if table.is_met else 1)


if __name__ == "__main__":
    main()
