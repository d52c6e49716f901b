"""Times scikit-learn's roc_auc_score on 10 million scores, the shape of the `auc` benchmark.

Run with `python3 auc.py`; `--dump FOLDER` also writes scores.f32 and labels.u8 there, for

    cargo run --release -p slimbed-eval --example auc_file -- FOLDER/scores.f32 FOLDER/labels.u8

Both must print the same AUC.
"""

import argparse
import statistics
import time
from pathlib import Path

import numpy as np
import sklearn
from sklearn.metrics import roc_auc_score

SEED = 20261121
N_RUNS = 5


def make(n):
    """Logits N(-1.5, 1) and labels drawn from them: about 23 % clicks."""
    rng = np.random.default_rng(SEED)
    scores = rng.normal(-1.5, 1.0, n).astype(np.float32)
    clicks = rng.random(n) < 1 / (1 + np.exp(-scores.astype(np.float64)))
    return scores, clicks.astype(np.uint8)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--n", type=int, default=10_000_000, help="number of scores")
    parser.add_argument("--dump", type=Path, help="folder for scores.f32 and labels.u8")
    args = parser.parse_args()
    scores, labels = make(args.n)
    if args.dump:
        args.dump.mkdir(parents=True, exist_ok=True)
        scores.astype("<f4").tofile(args.dump / "scores.f32")
        labels.tofile(args.dump / "labels.u8")
    times = []
    for _ in range(N_RUNS):
        start = time.perf_counter()
        auc = roc_auc_score(labels, scores)
        times.append(time.perf_counter() - start)
    print(f"scikit-learn {sklearn.__version__}, numpy {np.__version__}, {args.n} scores, {labels.mean():.4f} positive")
    print(f"auc {auc:.15f}")
    print(f"median of {N_RUNS}: {statistics.median(times):.4f} s, fastest {min(times):.4f} s")


if __name__ == "__main__":
    main()
