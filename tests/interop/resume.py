# SPDX-License-Identifier: Apache-2.0
"""A run that is killed and resumed ends bit for bit like one that was not, for every method."""
import json
import os
import random
import signal
import subprocess
import time
from pathlib import Path

from common import CLI, check, engine, finish, llama, random_rows, temporary, train

METHODS = [dict(type="adalora", init_r=6, target_r=3, tinit=5, tfinal=9, deltaT=3), dict(type="oft", oft_block_size=8), dict(type="lora", r=4, init_lora_weights="pissa"),
           dict(type="lora", r=4, lora_dropout=0.1), dict(type="adalora", init_r=6, target_r=3, lora_dropout=0.1), dict(type="vera", r=8, vera_dropout=0.1),
           dict(type="lokr", r=4, rank_dropout=0.2, module_dropout=0.2), dict(type="oft", oft_block_size=8, module_dropout=0.3),
           dict(type="p_tuning", num_virtual_tokens=4, encoder_reparameterization_type="LSTM", encoder_dropout=0.2), dict(type="ia3"), dict(type="prefix_tuning", num_virtual_tokens=4, prefix_projection=True),
           dict(type="prompt_tuning", num_virtual_tokens=4), dict(type="bottleneck"), dict(type="freeze", trainable_layers=1), dict(type="full")]


def result(folder):
    files = [file for file in Path(folder).glob("*/*.safetensors") if file.parent.name in ("adapter", "model")]
    return [file.read_bytes() for file in sorted(files)]


def killed_run(folder, step):
    """Starts the run, kills it with SIGKILL once `step` is reported, and returns its id."""
    worker = subprocess.Popen([CLI, "train", str(folder / "run.json"), "--workspace", str(folder / "killed"), "--events", "-"], stdin=subprocess.PIPE,
                              stdout=subprocess.PIPE, text=True)
    run = None
    for line in worker.stdout:
        event = json.loads(line)
        run = event["run"]
        if event["type"] == "step" and event["step"] >= step:
            break
    worker.send_signal(signal.SIGKILL)
    worker.wait()
    return run


with temporary() as base:
    base = Path(base)
    llama().save_pretrained(base / "model")
    rows = random_rows(50)
    seed = int(os.environ.get("LUTHIER_TEST_SEED", time.time()))
    print(f"seed {seed}")
    draw = random.Random(seed)
    for method in METHODS:
        folder = base / f"{METHODS.index(method)}-{method['type']}"
        _, straight = train(folder, base / "model", method, rows, 60, batch=2, accumulation=2, save_every=7)
        step = draw.randint(8, 50)
        run = killed_run(folder, step)
        engine("train", "--resume", run, "--workspace", folder / "killed")
        same = result(straight) == result(folder / "killed" / "runs" / run) and len(result(straight)) > 0
        check(f"killed at step {step} and resumed: equal bit for bit ({method['type']})", same)
finish()
