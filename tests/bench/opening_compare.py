# SPDX-License-Identifier: Apache-2.0
"""luthier-cli against transformers on a random LLaMA of about 1 GB (float32 on disk): opening and generating, as ratios.

opening     wall time of a whole process that opens the folder and writes the logits of one row of 32 tokens, and its peak resident memory (mapped
            weights included). Theirs: Python, imports, from_pretrained, one forward. Page cache warm for both; runs alternate.
inspect     wall time of `luthier-cli inspect` and `estimate`-like reading of the same folder: what opening costs before anything is computed.
generation  tokens a second of 64 greedy tokens after a prompt of 32, loading left out on both sides; the tokens must be equal in float32.
A ratio is the median over rounds."""
import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

CLI = os.environ["LUTHIER_CLI"]
PYTHON = os.environ["LUTHIER_INTEROP_PYTHON"]
SHAPE = dict(vocab_size=32000, hidden_size=1024, intermediate_size=2816, num_hidden_layers=16, num_attention_heads=16, num_key_value_heads=8, max_position_embeddings=512,
             tie_word_embeddings=False)
NEW = 64
TIME_TARGET, MEMORY_TARGET, SPEED_TARGET = 0.2, 0.6, 1.2

MAKE = """
import json, sys, torch, transformers
torch.manual_seed(1)
model = transformers.LlamaForCausalLM(transformers.LlamaConfig(**json.loads(sys.argv[2])))
model.save_pretrained(sys.argv[1])
"""
THEIR_LOGITS = """
import sys, json, torch, transformers
torch.set_num_threads(int(sys.argv[3]))
model = transformers.AutoModelForCausalLM.from_pretrained(sys.argv[1], dtype=torch.float32)
with torch.no_grad():
    model(input_ids=torch.tensor([json.loads(sys.argv[2])])).logits.sum()
"""
THEIR_TEXT = """
import sys, json, time, torch, transformers
torch.set_num_threads(int(sys.argv[3]))
model = transformers.AutoModelForCausalLM.from_pretrained(sys.argv[1], dtype=getattr(torch, sys.argv[4]))
ids = torch.tensor([json.loads(sys.argv[2])])
settings = dict(attention_mask=torch.ones_like(ids), do_sample=False, pad_token_id=0, eos_token_id=None)
model.generate(ids, max_new_tokens=4, **settings)
start = time.time()
out = model.generate(ids, max_new_tokens=int(sys.argv[5]), **settings)
print(json.dumps(dict(seconds=time.time() - start, ids=out[0, ids.shape[1]:].tolist())))
"""


def timed(command, threads):
    """Seconds and peak resident bytes of a process."""
    start = time.time()
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env={**os.environ, "OMP_NUM_THREADS": str(threads), "HF_HUB_OFFLINE": "1"})
    _, status, usage = os.wait4(process.pid, 0)
    if status != 0:
        sys.exit(f"{' '.join(map(str, command[:3]))} failed")
    return time.time() - start, usage.ru_maxrss * 1024


def answer(command, threads):
    done = subprocess.run(command, capture_output=True, text=True, env={**os.environ, "OMP_NUM_THREADS": str(threads), "HF_HUB_OFFLINE": "1"})
    if done.returncode != 0:
        sys.exit(done.stderr[-800:])
    return json.loads(done.stdout.strip().splitlines()[-1])


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    options = parser.parse_args()
    failed = []
    with tempfile.TemporaryDirectory(prefix="luthier-bench-") as base:
        folder = Path(base) / "model"
        subprocess.run([PYTHON, "-c", MAKE, folder, json.dumps(SHAPE)], check=True, capture_output=True)
        size = sum(f.stat().st_size for f in folder.glob("*.safetensors"))
        prompt = [(37 * i + 11) % 31000 + 5 for i in range(32)]
        (Path(base) / "rows.jsonl").write_text(json.dumps({"input_ids": prompt}) + "\n")
        print(f"model {size / 1e9:.2f} GB float32, {options.threads} threads, {platform.processor() or platform.machine()}")
        ours = [CLI, "score", folder, "--data", f"{base}/rows.jsonl", "--out", f"{base}/out.safetensors", "--dtype", "float32"]
        theirs = [PYTHON, "-c", THEIR_LOGITS, folder, json.dumps(prompt), str(options.threads)]
        timed(ours, options.threads), timed(theirs, options.threads)  # page cache
        pairs = [(timed(theirs, options.threads), timed(ours, options.threads)) for _ in range(options.rounds)]
        for name, index, unit, limit in (("exec to first logits", 0, "s", TIME_TARGET), ("peak memory", 1, "MB", MEMORY_TARGET)):
            scale = 1 if unit == "s" else 1e6
            ratio = statistics.median(o[index] / t[index] for t, o in pairs)
            print(f"{name}: theirs {statistics.median(t[index] for t, _ in pairs) / scale:.2f} {unit}, ours {statistics.median(o[index] for _, o in pairs) / scale:.2f} {unit}, ratio {ratio:.2f} (at most {limit})")
            if ratio > limit:
                failed.append(name)
        seconds = statistics.median(timed([CLI, "inspect", folder, "--json"], options.threads)[0] for _ in range(options.rounds))
        print(f"inspect of the folder, whole process: {seconds * 1000:.0f} ms")
        for dtype in ("float32", "bfloat16"):
            rounds = []
            for _ in range(max(3, options.rounds // 2)):
                their = answer([PYTHON, "-c", THEIR_TEXT, folder, json.dumps(prompt), str(options.threads), dtype, str(NEW)], options.threads)
                our = answer([CLI, "generate", folder, "--ids", ",".join(map(str, prompt)), "--max-new-tokens", str(NEW), "--temperature", "0", "--ignore-eos", "--dtype", dtype, "--json"], options.threads)
                if dtype == "float32" and our["ids"] != their["ids"]:
                    failed.append("equal tokens")
                rounds.append((NEW / their["seconds"], NEW / our["seconds"]))
            ratio = statistics.median(o / t for t, o in rounds)
            print(f"generation, {dtype}: theirs {statistics.median(t for t, _ in rounds):.1f} tokens/s, ours {statistics.median(o for _, o in rounds):.1f}, ratio {ratio:.2f} (at least {SPEED_TARGET})")
            if ratio < SPEED_TARGET:
                failed.append(f"generation {dtype}")
    print("all targets met" if not failed else "missed: " + ", ".join(failed))
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
