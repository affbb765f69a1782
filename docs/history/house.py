#!/usr/bin/env python3
"""Counts what docs/history/house.md tables, of revisions or of the working tree.

    python3 docs/history/house.py f38f6c4 f54a4fa HEAD
    python3 docs/history/house.py --recipes HEAD

Non-test source: `titans-kernel/src`, `titans-host/src`, `ffi/src` without files of tests and without what
`#[cfg(test)]` stands before; CUDA's kernels and the emulator's headers are counted by themselves.

A recipe's count is of the files that CONTRIBUTING.md tells to change, each of which must name a member that is there
already (an activation: GeluTanh); other files that name it are printed as its users.
"""

import io
import re
import subprocess
import sys
import tarfile

ROOMS = ["titans-kernel/src", "titans-host/src", "ffi/src"]
CUDA = (".cu", ".cuh", ".h")
HOST, KERNEL = "titans-host/src/", "titans-kernel/src/"
HEADER = ["include/titans.h"]
# Name: what a member is called, where a new one is written.
RECIPES = {
    "an activation": (
        "GeluTanh|GELU_TANH",
        [KERNEL + "ops/activation.rs", HOST + "device/cuda/kernels/network.cu", "ffi/src/config.rs", *HEADER],
    ),
    "a loss scale": (
        r"Loss::Half|Self::Half|Half = |LOSS_HALF",
        [KERNEL + "memory/choices.rs", KERNEL + "memory/spec.rs", "ffi/src/config.rs", *HEADER],
    ),
    "an operation of devices": (
        r"SiluGate\b|\bsilu_gate",
        [KERNEL + "ops/silu_gate.rs", KERNEL + "ops/mod.rs"]
        + [HOST + f"device/{f}.rs" for f in ("operation", "cpu/device", "plan/ops", "cuda/device")]
        + [HOST + "device/cuda/kernels/elementwise.cu", HOST + "tape/op.rs", HOST + "tape/ops.rs"],
    ),
    "a block": (
        r"\bMal\b|_MAL\b",
        [KERNEL + f"block/{f}.rs" for f in ("choices", "spec", "mixer")]
        + [HOST + "model/mixer/mod.rs", "ffi/src/described.rs", *HEADER],
    ),
    "a task": (
        "[Nn]eedle",
        [HOST + f"{f}.rs" for f in ("data/mod", "task/mod", "task/plan", "cli/train/config/own", "cli/train/names")]
        + [HOST + "cli/eval/mod.rs"],
    ),
}


def sources(revision):
    """(path, text) of the non-test files of a revision."""
    archive = subprocess.run(["git", "archive", revision, *ROOMS], stdout=subprocess.PIPE, check=True).stdout
    with tarfile.open(fileobj=io.BytesIO(archive)) as tar:
        for member in tar:
            path = member.name
            if member.isfile() and path.endswith((".rs", *CUDA)) and not is_test(path):
                text = tar.extractfile(member).read().decode()
                yield path, without_tests(text) if path.endswith(".rs") else text


def is_test(path):
    name = path.rsplit("/", 1)[-1]
    return name.endswith("tests.rs") or "/tests/" in path or name == "check.rs"


def blank(text):
    """The text of the same length with comments, strings and characters as blanks."""
    pattern = r'//[^\n]*|/\*.*?\*/|r(#*)".*?"\1|b?"(?:\\.|[^"\\])*"|b?\'(?:\\.[^\']*|[^\'\\])\''
    return re.sub(pattern, lambda m: re.sub(r"[^\n]", " ", m[0]), text, flags=re.S)


def closing(code, at, pair="{}"):
    """Behind the bracket that closes the first one from `at` on."""
    depth = 0
    for i in range(at, len(code)):
        depth += (code[i] == pair[0]) - (code[i] == pair[1])
        if depth == 0 and code[i] == pair[1]:
            return i + 1
    return len(code)


def without_tests(text):
    """Without the items behind `#[cfg(test)]`."""
    code, kept, at = blank(text), "", 0
    for m in re.finditer(r"#\[cfg\(test\)\]", code):
        if m.start() < at:
            continue
        end = re.compile(r"[{;]").search(code, m.end())
        stop = closing(code, end.start()) if end[0] == "{" else end.end()
        kept, at = kept + text[at:m.start()], stop
    return kept + text[at:]


def functions(path, text):
    """(name, arguments, lines) of a Rust file's functions, those that traits only declare among them."""
    code = blank(text)
    for m in re.finditer(r"\bfn\s+(\w+)", code):
        i = m.end()
        if code[i : i + 1] == "<":  # generics; `->` closes none
            i += closing(code[i:].replace("->", "  "), 0, "<>")
        if code[i : i + 1] != "(":
            continue
        end = closing(code, i, "()")
        body = re.compile(r"[{;]").search(code, end)
        # Commas inside types are no arguments' ends.
        inside, depth, count = code[i + 1 : end - 1].replace("->", "  "), 0, 0
        for part in re.split(r"([,<>()\[\]{}])", inside):
            depth += part in "<([{" if part else 0
            depth -= part in ">)]}" if part else 0
            count += depth == 0 and part == ","
        count += bool(inside.rsplit(",", 1)[-1].strip()) if depth == 0 else 0
        stop = closing(code, body.start()) if body and body[0] == "{" else end
        lines = text.count("\n", m.start(), stop) + 1
        yield f"{path}: {m[1]}", count, lines


def inline(files, room):
    """Comments that are no documentation, in lines of their own or behind code, and lines of a room."""
    comments = lines = 0
    for path, text in files:
        if path.startswith(room):
            code = re.sub(r'"(?:\\.|[^"\\\n])*"', '""', text)
            comments += len(re.findall(r"(?m)(?<![:/])//(?![/!])", code))
            lines += len(text.splitlines())
    return f"{100 * comments / lines:.1f} ({comments} in {lines:,})"


def count(revision):
    files = list(sources(revision))
    rust = [f for f in files if f[0].endswith(".rs")]
    lines = {room: sum(len(t.splitlines()) for p, t in rust if p.startswith(room)) for room in ROOMS}
    cuda = [len(t.splitlines()) for p, t in files if p.endswith(CUDA)]
    bare = sum(bool(line.strip()) and not line.strip().startswith("//") for _, t in rust for line in t.splitlines())
    all_functions = [f for path, text in rust for f in functions(path, text)]
    longest = max(all_functions, key=lambda f: f[2])
    return {
        "non-test files": f"{len(rust)}",
        "non-test lines": f"{sum(lines.values()):,}",
        "... kernel": f"{lines[ROOMS[0]]:,}",
        "... host": f"{lines[ROOMS[1]]:,}",
        "... C interface": f"{lines[ROOMS[2]]:,}",
        "... without blank lines and comments": f"{bare:,}",
        "CUDA sources, files and lines": f"{len(cuda)}, {sum(cuda):,}",
        "functions": f"{len(all_functions):,}",
        "functions of 8 arguments and more": f"{sum(n > 7 for _, n, _ in all_functions)}",
        "... of them outside ffi": f"{sum(n > 7 and not p.startswith('ffi') for p, n, _ in all_functions)}",
        "longest function": f"{longest[2]} ({longest[0].rsplit('/', 1)[-1]})",
        "functions of more than 80 lines": f"{sum(n > 80 for *_, n in all_functions)}",
        "inline comments per 100 lines, memory/": inline(files, "titans-kernel/src/memory"),
        "inline comments per 100 lines, arch/": inline(files, "titans-kernel/src/arch"),
    }


def recipes(revision):
    for name, (member, told) in RECIPES.items():
        grep = ["git", "grep", "-lE", member, revision, "--", *ROOMS, *HEADER]
        found = subprocess.run(grep, stdout=subprocess.PIPE, text=True, check=False).stdout.split()
        named = {path.split(":", 1)[1] for path in found}
        # A file of the member's own name need not say it.
        missing = [f for f in told if f not in named and not f.endswith("silu_gate.rs")]
        users = sorted(f for f in named if f not in told and not is_test(f))
        print(f"{name}: {len(told)} files" + (f"; do not name it: {missing}" if missing else ""))
        print("    users:", ", ".join(f.replace(HOST, "host/").replace(KERNEL, "kernel/") for f in users))


if __name__ == "__main__":
    if "--recipes" in sys.argv:
        recipes(([a for a in sys.argv[1:] if a != "--recipes"] or ["HEAD"])[0])
        sys.exit()
    revisions = sys.argv[1:] or ["HEAD"]
    columns = [count(revision) for revision in revisions]
    print("| | " + " | ".join(revisions) + " |\n|---" + "|---" * len(revisions) + "|")
    for name in columns[0]:
        print(f"| {name} | " + " | ".join(column[name] for column in columns) + " |")
