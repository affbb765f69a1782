"""Classification of DNA: nine data sets, some seeds each, and the table of docs/RESULTS.md.

GUE's folders (prom/*, tf/*) have train, dev and test; of GenomicBenchmarks there are the test halves alone, of which every fifth row
(from the first) is for the test and the others for training. A run that is there is not repeated, so that the script goes on where it was stopped.

    python3 docs/results/classify.py --gue DATA/gue --benchmarks DATA/genomic-benchmarks --out runs/dna
"""

import argparse
import gzip
import json
import pathlib
import statistics
import subprocess

PROMOTERS = ""
STRANDS = "--both-strands --reading words"
WORDS = "--reading words"
SETS = {
    "prom_300_tata": ("gue", "prom/prom_300_tata", PROMOTERS),
    "prom_core_notata": ("gue", "prom/prom_core_notata", PROMOTERS),
    **{f"tf {i}": ("gue", f"tf/{i}", STRANDS) for i in range(5)},
    "non-TATA": ("benchmarks", "human_nontata_promoters", WORDS),
    "Cohn": ("benchmarks", "human_enhancers_cohn", STRANDS),
}


def files(args, name):
    """The options that name the rows of a set."""
    kind, place, _ = SETS[name]
    if kind == "gue":
        folder = args.gue / place
        return [x for part, file in (("--data", "train"), ("--valid", "dev"), ("--test", "test"))
                for x in (part, str(folder / f"{file}.csv.gz"))]
    names = {part: args.out / f"{place}.{part}.csv" for part in ("train", "test")}
    if not names["test"].exists():
        lines = gzip.open(args.benchmarks / f"{place}.test.csv.gz", "rt").read().splitlines()
        head, rows = lines[0], lines[1:]
        for part, keep in (("train", lambda i: i % 5 != 0), ("test", lambda i: i % 5 == 0)):
            text = "\n".join([head] + [row for i, row in enumerate(rows) if keep(i)]) + "\n"
            names[part].write_text(text)
    return ["--data", str(names["train"]), "--test", str(names["test"])]


def run(args, name, seed):
    """Trains a run and measures it, each if that is not done yet; what it gave."""
    folder = args.out / f"{name.replace(' ', '-')}-{seed}"
    trained, result = folder / "train.json", folder / f"scores-{args.part}.json"
    command = lambda verb, more: json.loads(subprocess.run(
        [args.titans, verb, *more, "--threads", str(args.threads), "--json"], check=True, stdout=subprocess.PIPE).stdout)
    if not trained.exists():
        new = ["--task", "classify", *files(args, name), *SETS[name][2].split(), "--seed", str(seed), "--out", str(folder)]
        # What was begun goes on where it was saved.
        begun = (folder / "latest.safetensors").exists()
        trained.write_text(json.dumps(command("train", (["--resume", str(folder)] if begun else new) + ["--quiet"])))
    if not result.exists():
        more = ["--no-baselines"] if seed != args.seeds[0] else []
        result.write_text(json.dumps(command("eval", [str(folder), "--part", args.part, *more])))
    return {"train": json.loads(trained.read_text()), "scores": json.loads(result.read_text())}


def spread(numbers):
    mean = statistics.mean(numbers)
    return f"{mean:.1f} ({min(numbers):.1f} to {max(numbers):.1f})"


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--titans", default="target/release/titans")
    parser.add_argument("--gue", type=pathlib.Path, required=True)
    parser.add_argument("--benchmarks", type=pathlib.Path, required=True)
    parser.add_argument("--out", type=pathlib.Path, default=pathlib.Path("runs/dna"))
    parser.add_argument("--seeds", type=lambda text: [int(x) for x in text.split(",")], default=[0, 1, 2])
    parser.add_argument("--sets", type=lambda text: text.split(","), default=list(SETS))
    parser.add_argument("--part", choices=["test", "valid"], default="test")
    parser.add_argument("--threads", type=int, default=1)
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    found = {}
    for seed in args.seeds:
        for name in args.sets:
            found[name, seed] = run(args, name, seed)
            scores = found[name, seed]["scores"]
            print(f"{name}, seed {seed}: accuracy {scores['accuracy']:.4f}, mcc {scores['mcc']:.4f}, auc {scores['auc']:.4f}, "
                  f"{found[name, seed]['train']['seconds']:.0f} s", flush=True)
    print("\n| set | figure | model | words of 4 | words of 6 | majority | accuracy | AUC | seconds |\n|---|---|---|---|---|---|---|---|---|")
    for name in args.sets:
        figure = "mcc" if SETS[name][0] == "gue" else "accuracy"
        runs = [found[name, seed] for seed in args.seeds]
        of = lambda key: [100 * run["scores"][key] for run in runs]
        base = runs[0]["scores"]["baselines"]
        cells = [f"{100 * base[key][figure]:.1f}" for key in ("words_4", "words_6", "majority")]
        seconds = statistics.mean(run["train"]["seconds"] for run in runs)
        print(f"| {name} | {figure} | {spread(of(figure))} | {' | '.join(cells)} | {spread(of('accuracy'))} | {spread(of('auc'))} "
              f"| {seconds:.0f} |")


if __name__ == "__main__":
    main()
