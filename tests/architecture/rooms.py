#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Holds the sources against the room rules of core/README.md:

  - app includes ui and core, ui includes of core only contract, core includes neither;
  - a room of core includes itself and rooms above it in the table of core/README.md;
  - no Qt in core or app/cli; no torch in ui, app/desktop and the rooms contract, io, text, data;
  - leaves (peft/methods, model/arch, export/exporters, data/sources) do not include each other;
  - every source says its licence: Apache-2.0, and GPL-3.0-or-later in ui, app/desktop, tests/ui and resources/fonts;
  - no other folders at the top.

Each rule is first shown to catch a planted breach, so that a rule that cannot fail fails.
"""
import re
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
TOP = {"app", "core", "ui", "resources", "tests", "packaging"}
TORCH_FREE = {"contract", "io", "text", "data"}
INCLUDE = re.compile(r'^\s*#\s*include\s*([<"])([^>"]+)[>"]', re.M)
SPDX = re.compile(r"SPDX-License-Identifier: ([\w.-]+)")
TORCH = re.compile(r"^(ATen|c10|torch|caffe2)/")
QT = re.compile(r"^(Q[A-Z]\w*|Qt\w+/.*|qcustomplot\.h)$")
CODE = {".h", ".cpp", ".cu", ".cuh", ".rs", ".py", ".cmake"}


def rooms_in_order():
    table = re.findall(r"^\| (\w+) \| luthier_\w+ \|", (ROOT / "core" / "README.md").read_text(), re.M)
    assert len(table) > 5, "core/README.md has no table of rooms"
    return table


def is_gpl(path):
    return path.startswith(("ui/", "app/desktop/", "tests/ui/", "tests/desktop/", "resources/fonts/")) or re.match(r"tests/bench/window", path)


def leaf_folder(path):
    """The folder of a leaf file, or None. A leaf is a method, a family, an exporter or a data source."""
    match = re.match(r"core/(peft/methods|model/arch|export/exporters|data/sources)/[^/]+$", path)
    return match and match.group(1)


LEAF_SHARED = {"core/data/sources/lines.h", "core/data/sources/text_file.h", "core/data/sources/file_kind.h", "core/data/sources/row_file.h", "core/model/arch/families.h", "core/model/arch/common.h", "core/peft/methods/own_copies.h", "core/peft/methods/delta_weights.h", "core/peft/methods/lora_embedding.h", "core/peft/methods/base_weights.h"}


def breaches(path, text, order):
    """Sentences about one file. `path` is relative to the root, with forward slashes."""
    found = []
    parts = path.split("/")
    room = parts[1] if parts[0] == "core" and len(parts) > 2 else None
    if Path(path).suffix in CODE:
        licence = SPDX.search("\n".join(text.splitlines()[:3]))
        wanted = "GPL-3.0-or-later" if is_gpl(path) else "Apache-2.0"
        if licence is None or licence.group(1) != wanted:
            found.append(f"{path}: its first lines must say SPDX-License-Identifier: {wanted}")
    if Path(path).suffix not in {".h", ".cpp", ".cu", ".cuh"} or parts[0] not in {"app", "core", "ui"}:
        return found
    for bracket, name in INCLUDE.findall(text):
        target = name.split("/")[0]
        if QT.match(name) and (parts[0] == "core" or path.startswith("app/cli/")):
            found.append(f"{path} includes {name}: no Qt here")
        if TORCH.match(name) and (parts[0] == "ui" or path.startswith("app/desktop/") or room in TORCH_FREE):
            found.append(f"{path} includes {name}: no torch here")
        if bracket == "<":
            continue
        if room is not None:
            if target in order:
                if order.index(target) > order.index(room):
                    found.append(f"{path} includes {name}: {target} stands below {room} in core/README.md")
            elif "/" in name and not (ROOT / "core" / room / name).exists() and not (ROOT / path).parent.joinpath(name).exists():
                found.append(f"{path} includes {name}: not a room of core")
            folder = leaf_folder(path)
            included = f"core/{name}"
            if folder and leaf_folder(included) == folder and included not in LEAF_SHARED and Path(included).stem != Path(path).stem:
                found.append(f"{path} includes {name}: leaves do not include each other")
        if parts[0] == "ui" and target in order and target != "contract":
            found.append(f"{path} includes {name}: ui knows of core only contract")
        if path.startswith("app/desktop/") and target in order and target != "contract":
            found.append(f"{path} includes {name}: the window knows of core only contract")
    return found


PLANTED = [
    ("core/model/model.cpp", '// SPDX-License-Identifier: Apache-2.0\n#include "peft/adapter.h"\n', "stands below"),
    ("core/peft/targets.cpp", "// SPDX-License-Identifier: Apache-2.0\n#include <QString>\n", "no Qt"),
    ("core/contract/json.cpp", "// SPDX-License-Identifier: Apache-2.0\n#include <ATen/ATen.h>\n", "no torch"),
    ("ui/pages/live_page.cpp", '// SPDX-License-Identifier: GPL-3.0-or-later\n#include "train/trainer.h"\n', "only contract"),
    ("ui/pages/live_page.cpp", "// SPDX-License-Identifier: GPL-3.0-or-later\n#include <torch/torch.h>\n", "no torch"),
    ("core/peft/methods/lora.cpp", '// SPDX-License-Identifier: Apache-2.0\n#include "peft/methods/ia3.h"\n', "leaves"),
    ("ui/pages/live_page.cpp", "// SPDX-License-Identifier: Apache-2.0\n", "must say"),
    ("core/model/model.cpp", "// no licence\n", "must say"),
]


def main():
    order = rooms_in_order()
    found = []
    for path, text, sign in PLANTED:
        if not any(sign in line for line in breaches(path, text, order)):
            found.append(f"the rule \"{sign}\" does not catch a planted breach in {path}")
    for room in sorted(p.name for p in (ROOT / "core").iterdir() if p.is_dir()):
        if room not in order:
            found.append(f"core/{room} is not in the table of core/README.md")
    count = 0
    for entry in sorted(ROOT.iterdir()):
        if entry.is_dir() and not entry.name.startswith(".") and entry.name not in TOP | {"build"}:
            found.append(f"{entry.name}/: no other folders at the top")
    for top in sorted(TOP):
        for file in sorted((ROOT / top).rglob("*")):
            path = file.relative_to(ROOT).as_posix()
            if not file.is_file() or "/target/" in path or "__pycache__" in path or file.suffix not in CODE | {".cu"}:
                continue
            count += 1
            found += breaches(path, file.read_text(encoding="utf-8"), order)
    print("\n".join(found))
    print(f"{count} files, {len(found)} breaches")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
