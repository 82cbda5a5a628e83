#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Writes the files of this folder, with datasets 5.2.0 and pyarrow 26.0.1 (which no test needs)."""
import json
import shutil
from pathlib import Path

import pyarrow as pa
import pyarrow.feather
import pyarrow.parquet
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
    writer.write_table(pa.table({"text": ["a"], "image": [b"\xff\xd8\xff"]}))

# Feather as pyarrow writes it by default (LZ4), and ZSTD; a batch of each is damaged by the tests.
words = pa.table({"text": [f"row {i} " + "of many words " * 20 for i in range(600)], "label": pa.array([i % 3 for i in range(600)], pa.int64())})
pyarrow.feather.write_feather(words, HERE / "lz4.feather", chunksize=200)
pyarrow.feather.write_feather(words, HERE / "zstd.feather", compression="zstd", chunksize=200)
# Three row groups of 200 rows, as the hub's files name their classes.
named = words.replace_schema_metadata({"huggingface": json.dumps({"info": {"features": {"text": {"dtype": "string", "_type": "Value"}, "label": {"names": ["low", "middle", "high"], "_type": "ClassLabel"}}}})})
pyarrow.parquet.write_table(named, HERE / "groups.parquet", row_group_size=200, compression="zstd")
with pa.ipc.new_stream(HERE / "unreadable.arrow", pa.schema([("text", pa.string()), ("span", pa.month_day_nano_interval())])) as writer:
    writer.write_table(pa.table({"text": ["a"], "span": pa.array([None], pa.month_day_nano_interval())}))
pyarrow.parquet.write_table(pa.table({"text": pa.array([b"text in bytes"]), "image": pa.array([b"\xff\xd8\xff"]), "weight": pa.array([0.1], pa.float32())}), HERE / "binary.parquet")
few = pa.table({"text": ["a", "b", "c", "d"], "label": pa.array([2, -1, 7, 0])}).replace_schema_metadata(named.schema.metadata)
with pa.ipc.new_stream(HERE / "named.arrow", few.schema) as writer:
    writer.write_table(few)
