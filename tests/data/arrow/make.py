#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Writes the files of this folder, with datasets 5.2.0 and pyarrow 26.0.1 (which no test needs)."""
import shutil
from pathlib import Path

import pyarrow as pa
from datasets import ClassLabel, Dataset, DatasetDict, Features, List, Value

HERE = Path(__file__).parent
rows = [{"text": "one", "label": 0, "tags": ["a", "b"], "weight": 0.1, "ok": True, "turn": {"role": "user", "n": 1}, "none": None},
        {"text": "zwei \u00fc", "label": 1, "tags": [], "weight": float("nan"), "ok": False, "turn": {"role": None, "n": 2}, "none": None}]
features = Features({"text": Value("string"), "label": ClassLabel(names=["bad", "good"]), "tags": List(Value("large_string")), "weight": Value("float32"), "ok": Value("bool"),
                     "turn": {"role": Value("string"), "n": Value("int8")}, "none": Value("null")})
shutil.rmtree(HERE / "saved", ignore_errors=True)
DatasetDict({"train": Dataset.from_list(rows, features=features), "test": Dataset.from_list(rows[1:], features=features)}).save_to_disk(HERE / "saved")

table = pa.table({"text": pa.array(["x", "y", "x"]).dictionary_encode(), "ids": pa.array([[1], [2, 3], None], pa.large_list(pa.uint16())), "day": pa.array([0, 1, 2], pa.date32())})
with pa.ipc.new_file(HERE / "file.arrow", table.schema) as writer:
    for batch in table.to_batches(max_chunksize=2):
        writer.write_batch(batch)
with pa.ipc.new_stream(HERE / "binary.arrow", pa.schema([("text", pa.string()), ("image", pa.binary())])) as writer:
    writer.write_table(pa.table({"text": ["a"], "image": [b"x"]}))
