#!/usr/bin/env python3
"""Turns the files of multiple-choice benchmarks into lines for `titans eval RUN --choices`:
{"context": ..., "choices": [...], "answer": 0}, the context a list where it differs from choice to choice.

    python3 docs/results/choices.py piqa valid.jsonl valid-labels.lst > piqa.jsonl
    python3 docs/results/choices.py hellaswag hellaswag_val.jsonl > hellaswag.jsonl
    python3 docs/results/choices.py arc ARC-Challenge-Test.jsonl > arc-challenge.jsonl
    python3 docs/results/choices.py winogrande dev.jsonl > winogrande.jsonl
    python3 docs/results/choices.py boolq dev.jsonl > boolq.jsonl
    python3 docs/results/choices.py siqa dev.jsonl dev-labels.lst > siqa.jsonl

The prompts are those that are usual for models that were not taught to follow instructions (as in the LM Evaluation Harness). Questions
without a label are an error with their line. Needs Python 3.9 and nothing else.
"""

import json
import re
import sys


def piqa(row, label):
    return f"Question: {row['goal']}\nAnswer:", [f" {row['sol1']}", f" {row['sol2']}"], int(label)


def hellaswag(row, _):
    tidy = lambda text: re.sub(r"\[.*?\]", "", text.strip().replace(" [title]", ". ")).replace("  ", " ")
    context = f"{row['activity_label']}: {row['ctx_a']} {row['ctx_b'].capitalize()}"
    return tidy(context), [" " + tidy(ending) for ending in row["endings"]], int(row["label"])


def arc(row, _):
    choices = row["question"]["choices"]
    answer = [choice["label"] for choice in choices].index(row["answerKey"])
    return f"Question: {row['question']['stem']}\nAnswer:", [f" {choice['text']}" for choice in choices], answer


def winogrande(row, _):
    """What follows the gap is the same for both: how likely it is behind each of them."""
    before, behind = row["sentence"].split("_", 1)
    return [before + row["option1"], before + row["option2"]], [" " + behind.strip()] * 2, int(row["answer"]) - 1


def boolq(row, _):
    return f"{row['passage']}\nQuestion: {row['question']}?\nAnswer:", [" no", " yes"], int(row["answer"])


def siqa(row, label):
    choices = [f" {row[key]}" for key in ["answerA", "answerB", "answerC"]]
    return f"Q: {row['context']} {row['question']}\nA:", choices, int(label) - 1


def main():
    benchmarks = {f.__name__: f for f in [piqa, hellaswag, arc, winogrande, boolq, siqa]}
    if len(sys.argv) not in (3, 4) or sys.argv[1] not in benchmarks:
        sys.exit(__doc__)
    name, path = sys.argv[1], sys.argv[2]
    labels = open(sys.argv[3], encoding="utf8").read().split() if len(sys.argv) == 4 else None
    with open(path, encoding="utf8") as file:
        rows = [line for line in file if line.strip()]
    if labels is not None and len(labels) != len(rows):
        sys.exit(f"{sys.argv[3]}: expected {len(rows)} labels, found {len(labels)}")
    for number, line in enumerate(rows, 1):
        try:
            context, choices, answer = benchmarks[name](json.loads(line), labels[number - 1] if labels else None)
        except (KeyError, ValueError, TypeError) as error:
            sys.exit(f"{path}: line {number}: expected a question of {name} with its label, found {error!r}")
        print(json.dumps({"context": context, "choices": choices, "answer": answer}, ensure_ascii=False))


if __name__ == "__main__":
    main()
