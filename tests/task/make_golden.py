# SPDX-License-Identifier: Apache-2.0
"""Writes golden.json: what scikit-learn, SciPy, rouge-score, SQuAD's evaluation and GSM8K's own grading say of fixed inputs. Run by hand:
    pip install scikit-learn scipy rouge-score; python make_golden.py
tfew.json beside it is `tfew_losses` of shared/peft-golden/numerics.json, where make_numerics.py says how it was made."""
import json
import random
import re
import string
import warnings
from pathlib import Path

import scipy
import sklearn
from rouge_score import rouge_scorer
from scipy.stats import pearsonr, spearmanr
from sklearn.metrics import accuracy_score, f1_score, matthews_corrcoef

warnings.simplefilter("ignore")
draw = random.Random(11)


def classes(number, truth, predicted):
    found = dict(classes=number, truth=truth, predicted=predicted, accuracy=accuracy_score(truth, predicted), f1_macro=f1_score(truth, predicted, average="macro", zero_division=0),
                 matthews=matthews_corrcoef(truth, predicted))
    if number == 2:
        found["f1"] = f1_score(truth, predicted, zero_division=0)
    return found


def drawn(number, count, right):
    truth = [draw.randrange(number) for _ in range(count)]
    return truth, [t if draw.random() < right else draw.randrange(number) for t in truth]


def squad(text):
    """normalize_answer of SQuAD's evaluation script."""
    text = "".join(c for c in text.lower() if c not in set(string.punctuation))
    return " ".join(re.sub(r"\b(a|an|the)\b", " ", text).split())


def graded(text):
    """extract_answer of openai/grade-school-math."""
    match = re.search(r"#### (\-?[0-9\.\,]+)", text)
    return match.group(1).strip().replace(",", "") if match else None


PAIRS = [
    ("The cat sat on the mat.", "the cat is on the mat"), ("a dog", "The dog!"), ("", "something"), ("something", ""), ("A.B.C.", "abc"), ("Paris", "paris "),
    ("It's 5 o'clock", "Its 5 oclock"), ("re-read the-book", "reread thebook"), ("Größe ÄÖÜ", "größe äöü"), ("ΑΒΓ", "αβγ"), ("日本 語", "日本  語"), ("naïve café", "naive cafe"),
    ("one two three four", "four three two one"), ("police killed the gunman", "the gunman killed police"), ("x" * 40, "x" * 40), ("a an the", ""), ("tab\tand\nline", "tab and line"),
    ("He has 3 + 4 = 7.\n#### 7", "3+4\n#### 7"), ("#### 1,234", "so\n#### 1234"), ("#### -5", "#### 5"), ("#### 5.0", "#### 5"), ("the answer is 7", "#### 7"), ("####7", "#### 7"),
    ("#### none #### 8", "#### 8"), ("#### 72\n#### 73", "#### 72"), ("#### $10", "#### 10"),
]


def texts():
    scorer = rouge_scorer.RougeScorer(["rougeL"], use_stemmer=False)
    for written, right in PAIRS:
        marked = graded(right)
        is_match = graded(written) == marked if marked is not None else squad(written) == squad(right)
        yield dict(written=written, right=right, rouge=scorer.score(right, written)["rougeL"].fmeasure, exact_match=is_match)


values = [[draw.gauss(0, 2) for _ in range(40)] for _ in range(2)]
ties = [[draw.randrange(5) for _ in range(60)] for _ in range(2)]
near = [values[0], [value * -0.5 + draw.gauss(0, 0.1) for value in values[0]]]
golden = {
    "made_by": f"scikit-learn {sklearn.__version__}, scipy {scipy.__version__}",
    "classes": [classes(2, *drawn(2, 50, 0.7)), classes(4, *drawn(4, 80, 0.5)), classes(2, [0] * 6, [0, 1, 0, 0, 1, 0]), classes(2, [0, 1, 0, 1], [0] * 4),
                classes(5, [0, 1, 2, 0, 1, 2], [0, 2, 1, 0, 0, 3]), classes(3, [2, 2, 1], [2, 2, 1])],
    "values": [dict(a=a, b=b, pearson=float(pearsonr(a, b)[0]), spearman=float(spearmanr(a, b)[0])) for a, b in (values, ties, near)],
    "texts": list(texts()),
}
Path(__file__).with_name("golden.json").write_text(json.dumps(golden, indent=None, separators=(",", ":")) + "\n")
