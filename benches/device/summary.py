#!/usr/bin/env python3
"""Makes summary.json and summary.md of what benches/device.sh left in a folder: summary.py FOLDER.

Predictions, in seconds of a whole run of a row:

    operations  operations by formula (docs/CLI.md, "bench memory", "bench train") over the peak, that of a large f32
                product, which the command measures beside every row
    bytes       bytes by formula over the device's bandwidth: of a memory the state's, 28 P / b a token in the fused
                schedule, of a training step what the counting driver counts
    launches    launches that the counting driver counts, 3 microseconds each (an assumption)

The limit is the larger of the first two; a row is predicted to take the largest of the three. Ends with 1 when a step
failed, was stopped, or was not begun.
"""

import json
import os
import re
import sys
from pathlib import Path

LAUNCH = 3e-6
COUNTS = json.loads((Path(__file__).parent / "counts.json").read_text())

# GB/s by the vendor's data sheets; the first name that is part of the device's counts.
BANDWIDTH = {
    "H200": 4800, "H100 NVL": 3900, "H100 PCIe": 2000, "H100": 3350, "GH200": 4000, "B200": 8000,
    "A100-SXM4-80GB": 2039, "A100 80GB PCIe": 1935, "A100": 1555, "A40": 696, "A10": 600, "L40S": 864, "L40": 864, "L4": 300,
    "T4": 320, "RTX 5090": 1792, "RTX 4090": 1008, "RTX 3090": 936,
}  # fmt: skip


def read(path):
    """A JSON answer of the command; nothing where there is none."""
    try:
        return json.loads(path.read_text())
    except (OSError, json.JSONDecodeError):
        return None


def bandwidth(device):
    given = os.environ.get("TITANS_DEVICE_GBS")
    if given:
        return float(given)
    return next((gbs for name, gbs in BANDWIDTH.items() if name in device), None)


def predicted(operations, peak_gflops, moved, launches, gbs):
    """Seconds by each limit; None where a number is not known."""
    by = {
        "operations": operations / (1e9 * peak_gflops) if peak_gflops else None,
        "bytes": moved / (1e9 * gbs) if gbs and moved is not None else None,
        "launches": LAUNCH * launches if launches is not None else None,
    }
    known = {name: s for name, s in by.items() if s is not None}
    limit = max((s for name, s in known.items() if name != "launches"), default=None)
    return by | {"limit": limit, "all": max(known.values(), default=None), "binds": max(known, key=known.get, default=None)}


def memory(name, found, gbs):
    dim, layers, chunk, tokens, memories = map(int, re.match(r"memory-d(\d+)-l(\d+)-c(\d+)-t(\d+)-m(\d+)", name).groups())
    grad = name.endswith("-grad")
    batch = max(1, memories // 8)
    all_tokens = batch * tokens  # the command's: of all heads at once
    pieces = -(-tokens // (64 if layers == 1 else chunk))
    kind = f"L{layers} chunk {'1' if chunk == 1 else 'n'}{' grad' if grad else ''}"
    first, each = COUNTS["memory"][kind]
    if layers == 1:  # those of a group of pieces, of 65,536 tokens of all memories at most
        pieces = -(-pieces // max(1, 65536 // (64 * memories)))
    says = predicted(
        found["flops_per_token"] * all_tokens, found["peak_gflops"], found["bytes_per_token"] * all_tokens,
        first + each * pieces, gbs,
    )  # fmt: skip
    return {
        "dim": dim, "layers": layers, "chunk": chunk, "tokens": tokens, "memories": memories, "grad": grad,
        "seconds": all_tokens / found["tokens_per_s"]["median"], "tokens_per_s": found["tokens_per_s"],
        "memory_tokens_per_s": found["tokens_per_s"]["median"] * memories / batch,
        "share_of_peak": found["share_of_peak"], "peak_gflops": found["peak_gflops"], "predicted": says,
    }  # fmt: skip


def train(name, found, gbs):
    tokens = found["tokens_per_step"]
    counted = COUNTS["train"].get(name.removeprefix("train-"), {})
    says = predicted(
        found["flops_per_token"] * tokens, found["peak_gflops"], counted.get("bytes"), counted.get("launches"), gbs
    )
    return {
        "row": name.removeprefix("train-"), "seconds": found["step_s"], "tokens_per_s": found["tokens_per_s"],
        "share_of_peak": found["share_of_peak"]["median"], "peak_gflops": found["peak_gflops"], "time": found["time"],
        "predicted": says,
    }  # fmt: skip


def selftest(found):
    checks = found["checks"]
    failed = [c for c in checks if not c["passed"]]
    errors = [c["error"] / c["allowed"] for c in checks if c["error"] is not None and c["allowed"]]
    return {
        "device": found["device"], "passed": found["passed"], "checks": len(checks),
        "skipped": [f"{c['name']}: {c['reason']}" for c in checks if c["skipped"]],
        "failed": [f"{c['name']}: {c['error']} > {c['allowed']} {c['reason'] or ''}" for c in failed],
        "worst_share_of_allowed": max(errors, default=None),
    }  # fmt: skip


def collect(folder):
    devices = read(folder / "devices.json") or {}
    found = (devices.get("cuda") or {}).get("devices") or ["unknown"]
    gbs = bandwidth(found[0])
    out = {"device": found[0], "devices": found, "bandwidth_gbs": gbs, "launch_s": LAUNCH, "steps": []}
    out |= {"titans": (folder / "version.txt").read_text().strip(), "selftest": {}, "memory": [], "train": [], "peers": []}
    for line in (folder / "steps.tsv").read_text().splitlines():
        name, code, seconds = line.split("\t")
        state = {"0": "passed", "124": "stopped at its limit", "137": "stopped at its limit", "-": "not begun"}.get(code, "failed")
        answer = read(folder / f"{name}.out")
        step = {"name": name, "state": state, "code": None if code == "-" else int(code), "seconds": int(seconds)}
        try:
            if name.startswith("selftest-") and answer:
                out["selftest"][name.removeprefix("selftest-")] = selftest(answer)
            elif name.startswith("memory-") and code == "0":
                out["memory"].append(memory(name, answer, gbs))
            elif name.startswith("train-") and code == "0":
                out["train"].append(train(name, answer, gbs))
            elif name == "peers" and answer:
                out["peers"] = answer
        except (AttributeError, KeyError, TypeError, ZeroDivisionError) as error:
            step |= {"state": "failed", "reason": f"its answer is not what it should be: {error!r}"}
        if step["state"] == "failed" and "reason" not in step:
            said = (folder / f"{name}.err").read_text(errors="replace").strip().splitlines()
            step["reason"] = said[-1] if said else ""
        out["steps"].append(step)
    out["passed"] = all(step["state"] == "passed" for step in out["steps"])
    return out


def ms(seconds):
    return "-" if seconds is None else f"{1e3 * seconds:.3g}"


def cells(row):
    """Measured, the limit, the prediction and what binds it, measured over predicted."""
    says = row["predicted"]
    ratio = f"{row['seconds'] / says['all']:.2f}" if says["all"] else "-"
    return [ms(row["seconds"]), ms(says["limit"]), f"{ms(says['all'])} ({says['binds']})", ratio]


def table(head, rows):
    line = lambda cells: "| " + " | ".join(map(str, cells)) + " |"  # noqa: E731
    return [line(head), "|" + "---|" * len(head), *map(line, rows), ""]


def markdown(found):
    gbs = found["bandwidth_gbs"]
    lines = [f"# {found['device']}", "", f"{found['titans']}; {'all passed' if found['passed'] else 'NOT ALL PASSED'}.", ""]
    wrong = [s for s in found["steps"] if s["state"] != "passed"]
    lines += [f"- {s['name']}: {s['state']} (code {s['code']}) {s.get('reason', '')}" for s in wrong] + [""] * bool(wrong)
    for name, test in found["selftest"].items():
        worst = test["worst_share_of_allowed"]
        lines.append(
            f"Self-test, {name}: {'passed' if test['passed'] else 'FAILED'}, {test['checks']} checks, {len(test['skipped'])} "
            f"skipped, the largest error {'-' if worst is None else f'{100 * worst:.0f} %'} of what is allowed."
        )
        lines += [f"- {text}" for text in test["failed"] + test["skipped"]]
    sanitizers = [s for s in found["steps"] if s["name"].startswith("sanitizer-")]
    lines += [f"{s['name']}: {s['state']}." for s in sanitizers] or ["compute-sanitizer: not installed."]
    said = f"{gbs:.0f} GB/s" if gbs else "not known (TITANS_DEVICE_GBS), so without bytes"
    lines += ["", f"Times in ms. Limit: operations over the peak, bytes over the bandwidth ({said}), whichever is more;"]
    lines += [f"predicted: or launches of {1e6 * LAUNCH:.0f} us, if that is more (benches/device/summary.py).", ""]
    head = ["d", "L", "chunk", "tokens", "memories", "", "tokens/s of a memory, all", "measured", "limit", "predicted", "ratio"]
    keys = ("dim", "layers", "chunk", "tokens", "memories")
    name = lambda row: "both" if row["grad"] else "forward"  # noqa: E731
    rows = [[*(row[k] for k in keys), name(row), f"{row['memory_tokens_per_s']:.3g}", *cells(row)] for row in found["memory"]]
    lines += ["## Memories", "", *table(head, rows)]
    head = ["step", "tokens/s", "share of peak", "measured", "limit", "predicted", "ratio"]
    rows = [
        [row["row"], f"{row['tokens_per_s']['median']:.3g}", f"{100 * row['share_of_peak']:.1f} %", *cells(row)]
        for row in found["train"]
    ]
    lines += ["## Training steps of the default text model", "", *table(head, rows), "## Other implementations", ""]
    for peer in found["peers"]:
        if "absent" in peer:
            lines.append(f"{peer['peer']}: {peer['absent']}.")
            continue
        lines += [f"{peer['peer']} {peer['version']}, {peer['dtype']}:", ""]
        rows = [[r["dim"], r["tokens"], r["memories"], ms(r.get("forward_s")), ms(r.get("both_s")), r.get("reason", "")] for r in peer["rows"]]
        lines += table(["d", "tokens", "memories", "forward, ms", "both, ms", ""], rows)
    return "\n".join(lines) + "\n"


def main():
    if len(sys.argv) != 2:
        sys.exit("summary.py: expected one folder")
    folder = Path(sys.argv[1])
    found = collect(folder)
    (folder / "summary.json").write_text(json.dumps(found, indent=1) + "\n")
    text = markdown(found)
    (folder / "summary.md").write_text(text)
    print(text, end="")
    return 0 if found["passed"] else 1


if __name__ == "__main__":
    sys.exit(main())
