# SPDX-License-Identifier: Apache-2.0
"""`models` finds what Hugging Face's cache, LM Studio and Ollama hold and says of each whether it trains; `import` takes the names that Ollama and
LM Studio give. The folders are made here as those programs make them."""
import hashlib
import json
import os
import shutil
import subprocess
from pathlib import Path

from common import CLI, check, engine, finish, llama, random_rows, temporary, train
from gguf_files import add_tokenizer, export


def ollama(root, name, layers):
    """As `ollama pull` leaves a model: a manifest of layers, each a blob by its hash."""
    entries = []
    for kind, content in layers:
        digest = hashlib.sha256(content).hexdigest()
        (root / "blobs").mkdir(parents=True, exist_ok=True)
        (root / f"blobs/sha256-{digest}").write_bytes(content)
        entries.append({"mediaType": f"application/vnd.ollama.image.{kind}", "digest": f"sha256:{digest}", "size": len(content)})
    manifest = root / "manifests" / name
    manifest.parent.mkdir(parents=True, exist_ok=True)
    manifest.write_text(json.dumps({"schemaVersion": 2, "mediaType": "application/vnd.docker.distribution.manifest.v2+json", "layers": entries}))
    return entries


with temporary() as base:
    base = Path(base)
    model = base / "model"
    llama().save_pretrained(model)
    add_tokenizer(model)
    export(model, "gguf-merged", base / "a.gguf", "--type", "q8_0")
    _, run = train(base / "run", model, dict(type="lora", r=4, lora_alpha=8, target_modules="all-linear"), random_rows(4), 1)
    engine("export", run, "--format", "gguf", "--out", base / "adapter.gguf")
    whole, adapter = (base / "a.gguf").read_bytes(), (base / "adapter.gguf").read_bytes()
    foreign = whole.replace(b"\5\0\0\0\0\0\0\0llama", b"\5\0\0\0\0\0\0\0lamma", 1)

    home = base / "home"
    store = home / ".ollama/models"
    ollama(store, "registry.ollama.ai/library/tiny/1b", [("model", whole), ("template", b"{{ .Prompt }}"), ("params", b"{}")])
    ollama(store, "registry.ollama.ai/library/tiny/latest", [("model", whole)])
    ollama(store, "registry.ollama.ai/someone/tuned/latest", [("model", whole), ("adapter", adapter)])
    ollama(store, "hf.co/bartowski/Tiny-GGUF/Q8_0", [("model", whole)])
    ollama(store, "registry.ollama.ai/library/strange/latest", [("model", foreign)])
    lost = ollama(store, "registry.ollama.ai/library/lost/latest", [("model", whole + b"\0" * 32)])
    (store / "blobs" / lost[0]["digest"].replace(":", "-")).unlink()
    (store / "manifests/registry.ollama.ai/library/broken").mkdir(parents=True)
    (store / "manifests/registry.ollama.ai/library/broken/latest").write_text("{")
    studio = home / ".lmstudio/models/someone/Tiny-Story-GGUF"
    studio.mkdir(parents=True)
    (studio / "tiny-story-Q8_0.gguf").write_bytes(whole)
    (studio / "mmproj-tiny.gguf").write_bytes(whole)
    (studio / "cut.gguf").write_bytes(whole[:-4000])
    revision = "0123456789abcdef0123456789abcdef01234567"
    for name in ("models--someone--tiny-story", "models--someone--tiny-GGUF", "models--someone--tiny-lora"):
        (home / ".cache/huggingface/hub" / name / "snapshots").mkdir(parents=True)
    hub = home / ".cache/huggingface/hub"
    shutil.copytree(model, hub / "models--someone--tiny-story/snapshots" / revision)
    (hub / "models--someone--tiny-GGUF/snapshots" / revision).mkdir()
    (hub / "models--someone--tiny-GGUF/snapshots" / revision / "tiny-f16.gguf").write_bytes(whole)
    shutil.copytree(run / "adapter", hub / "models--someone--tiny-lora/snapshots" / revision)
    (hub / "models--someone--tiny-lora/snapshots" / revision / "config.json").unlink(missing_ok=True)

    environment = {key: value for key, value in os.environ.items() if key not in ("HF_HOME", "HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE", "XDG_CACHE_HOME", "OLLAMA_MODELS", "LUTHIER_WORKSPACE")} | {"HOME": str(home)}

    def call(*arguments, **more):
        return subprocess.run([CLI, *map(str, arguments)], capture_output=True, text=True, env=environment | more)

    done = call("models", "--json")
    listed = {(entry["store"], entry["name"]): entry for entry in json.loads(done.stdout)["models"]}
    expected = {("huggingface", "someone/tiny-story"): "trains", ("huggingface", "someone/tiny-GGUF/tiny-f16.gguf"): "import", ("huggingface", "someone/tiny-lora"): "adapter",
                ("lmstudio", "someone/Tiny-Story-GGUF/tiny-story-Q8_0.gguf"): "import", ("lmstudio", "someone/Tiny-Story-GGUF/cut.gguf"): "no",
                ("ollama", "tiny:1b"): "import", ("ollama", "tiny:latest"): "import", ("ollama", "someone/tuned:latest"): "import", ("ollama", "someone/tuned:latest (adapter)"): "adapter",
                ("ollama", "hf.co/bartowski/Tiny-GGUF:Q8_0"): "import", ("ollama", "strange:latest"): "no", ("ollama", "lost:latest"): "no", ("ollama", "broken:latest"): "no"}
    found = {key: entry["training"] for key, entry in listed.items()}
    check("models finds what the programs hold and says whether it trains", found == expected, str({k: (found.get(k), expected.get(k)) for k in found.keys() | expected.keys() if found.get(k) != expected.get(k)}))
    check("a no has its reason", all(entry["reason"] for entry in listed.values() if entry["training"] == "no") and "lamma" in listed[("ollama", "strange:latest")]["reason"] and "ollama pull lost" in listed[("ollama", "lost:latest")]["reason"])
    table = call("models").stdout
    check("the table says the command", "luthier-cli import ollama:tiny:1b --out FOLDER" in table and "trains" in table, table[:200])
    moved = base / "elsewhere"
    shutil.move(store, moved)
    there = json.loads(call("models", "--json", OLLAMA_MODELS=str(moved)).stdout)["models"]
    check("OLLAMA_MODELS and a given Ollama folder", sum(e["store"] == "ollama" for e in there) == sum(k[0] == "ollama" for k in expected)
          and any(e["name"] == "tiny:1b" for e in json.loads(call("models", moved, "--json").stdout)["models"]))
    check("a folder that is not there is said", call("models", base / "nowhere").returncode == 3)

    for number, (name, more) in enumerate({"ollama:tiny": {}, "ollama:tiny:1b": {}, "ollama:hf.co/bartowski/Tiny-GGUF:Q8_0": {}, "lmstudio:tiny-story-q8_0": {}, "lmstudio:someone/tiny-story-gguf/tiny-story-Q8_0.gguf": {}}.items()):
        done = call("import", name, "--out", base / f"out-{number}", "--json", OLLAMA_MODELS=str(moved))
        check(f"import {name}", done.returncode == 0 and (base / f"out-{number}/config.json").exists(), done.stderr.strip()[-200:])
    done = call("import", "ollama:tiny:7b", "--out", base / "x", OLLAMA_MODELS=str(moved))
    check("an unknown name says those there are", done.returncode == 3 and "model_unknown" in done.stderr and "ollama:tiny:1b" in done.stderr, done.stderr.strip()[-200:])
    done = call("import", "lmstudio:Tiny-Story-GGUF", "--out", base / "x")
    check("a name of two files says which", done.returncode == 3 and "model_ambiguous" in done.stderr and "tiny-story-Q8_0" in done.stderr, done.stderr.strip()[-300:])
    done = call("import", "ollama:lost", "--out", base / "x", OLLAMA_MODELS=str(moved))
    check("a lost blob says how to get it", done.returncode == 3 and "ollama pull lost" in done.stderr, done.stderr.strip()[-200:])
finish()
