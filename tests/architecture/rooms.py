#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Holds the sources against the room rules of core/README.md:

  - app includes ui and core, ui includes of core only contract, core includes neither;
  - a room of core includes itself and rooms above it in the table of core/README.md;
  - no Qt in core or app/cli; no torch in ui, app/desktop and the rooms contract, io, text, data;
  - leaves (peft/methods, model/arch, export/exporters, data/sources) do not include each other;
  - a leaf's id (a method's type, a family's model_type) is a string only in the leaf's own file, so that a new leaf is a file and a line of a list;
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


# Leaves with a list: what they are, the list, the folder of their sources.
KINDS = [
    ("method", "core/peft/methods.list", "core/peft/methods"),
    ("family", "core/model/arch.list", "core/model/arch"),
    ("exporter", "core/export/exporters.list", "core/export/exporters"),
]
# Words that only look like a leaf's id, by the one file that may say them.
WORDS_OF_OTHERS = {
    "core/io/gguf_names.h": ({"llama", "gpt2"}, "GGUF's names of tokenizer kinds and of LLaMA's network"),
    "core/text/pre_tokenizers.cpp": ({"olmo", "mpt", "qwen2", "bloom", "falcon"}, "llama.cpp's names of rules that cut text"),
    "core/data/imports/draft.cpp": ({"full"}, "a word for yes in other trainers' files"),
    "core/data/imports.cpp": ({"peft"}, "the library whose settings are taken over"),
    "app/cli/commands/import.cpp": ({"peft", "gguf"}, "the library whose settings are taken over; the kind of a file"),
    "app/cli/gguf_survey.cpp": ({"gguf"}, "the kind of a file"),
    "ui/pages/library_page.cpp": ({"gguf"}, "the kind of a file"),
    "core/peft/methods/bottleneck.cpp": ({"bert"}, "the adapters library's name of an initialisation"),
}
TOKEN = re.compile(r'//[^\n]*|/\*.*?\*/|R"(\w*)\(.*?\)\1"|"((?:[^"\\\n]|\\.)*)"|\'(?:[^\'\\\n]|\\.)\'', re.S)


def literals(text):
    """The string literals of a C++ source with their lines, without those in comments."""
    for match in TOKEN.finditer(text):
        if match.group(2) is not None:
            yield match.group(2), text.count("\n", 0, match.start()) + 1


def leaves():
    """{id as the sources spell it: (kind, word of the list, own file)}. "deberta_v2" of a list may be spelled "deberta-v2"."""
    found = {}
    for kind, listed, folder in KINDS:
        for line in (ROOT / listed).read_text().splitlines():
            words = line.split("#")[0].split()
            if not words:
                continue
            source = words[words.index("in") + 1] if "in" in words else words[0]
            own = f"{folder}/{source}.cpp"
            spelled = {text for text, _ in literals((ROOT / own).read_text()) if re.sub(r"\W", "_", text) == words[0]}
            assert spelled, f"{own} does not say the id of {words[0]} in {listed}"
            for text in spelled | {words[0]}:
                found[text] = (kind, words[0], own)
    return found


def leaf_breaches(path, text, known):
    """Sentences about ids of leaves in a file that is not theirs. A file of core with the id in its name is a part of the leaf."""
    if Path(path).suffix not in {".h", ".cpp", ".cu", ".cuh"} or path.split("/")[0] not in {"app", "core", "ui"}:
        return []
    allowed = WORDS_OF_OTHERS.get(path, (set(), ""))[0]
    found = []
    for literal, line in literals(text):
        if literal not in known or literal in allowed:
            continue
        kind, word, own = known[literal]
        if path != own and not (path.startswith("core/") and f"_{word}_" in f"_{Path(path).stem}_"):
            found.append(f"{path}:{line} says \"{literal}\": the {kind} {literal} is known to {own} alone")
    return found


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
PLANTED_IDS = [
    ("core/model/weights.cpp", 'if (family == "falcon") {}', "the family falcon"),
    ("core/model/arch/mistral.cpp", 'd.family = "llama";', "the family llama"),
    ("app/cli/train.cpp", 'if (type == "xlm-roberta") {}', "the family xlm-roberta"),
    ("ui/pages/library_page.cpp", 'words{{"qwen2", "Qwen2"}}', "the family qwen2"),
    ("core/text/pre_tokenizers.cpp", 'x = "llama";', "the family llama"),
    ("core/train/estimate.cpp", 'if (method == "vera") {}', "the method vera"),
    ("core/peft/combine_lora.cpp", 'x = "ia3";', "the method ia3"),
]
ALLOWED_IDS = [
    ("core/peft/combine_ia3.cpp", 'x = "ia3";'),
    ("core/model/arch/roberta.cpp", 'x = "xlm-roberta";'),
    ("core/io/gguf_names.h", 'x = "gpt2";'),
    ("core/model/rope.cpp", '// "llama"\nx = "as \\"llama\\" has it"; /* "gpt2" */'),
    ("tests/model/rope_test.cpp", 'x = "llama";'),
]


def main():
    order = rooms_in_order()
    found = []
    for path, text, sign in PLANTED:
        if not any(sign in line for line in breaches(path, text, order)):
            found.append(f"the rule \"{sign}\" does not catch a planted breach in {path}")
    known = leaves()
    for path, text, sign in PLANTED_IDS:
        if not any(sign in line for line in leaf_breaches(path, text, known)):
            found.append(f"the rule about ids does not catch \"{sign}\" planted in {path}")
    for path, text in ALLOWED_IDS:
        found += [f"allowed, but: {line}" for line in leaf_breaches(path, text, known)]
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
            text = file.read_text(encoding="utf-8")
            found += breaches(path, text, order) + leaf_breaches(path, text, known)
    print("\n".join(found))
    print(f"{count} files, {len(found)} breaches")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
