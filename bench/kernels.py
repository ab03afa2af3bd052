"""Single operators of PyTorch on this GPU, and ours beside them.

Used by `tools/bench kernels`: runs bench/peers/torch_kernels.py and prints one
line for each figure.  Ours come as lines of JSON, {"case": NAME, "ms": X}, the
names being those of the first column; where both have a case, the ratio is
theirs over ours, more than 1 where ours is faster.

The output head and its loss are several commands of a step.  A program of
head_loss.tt (tools/bench programs) is profiled, and those commands are added up
that come from the line of the logits, or from the loss.
"""
import json
import os
import re
import subprocess
import sys
import tempfile

import gpu

SCRIPT = os.path.join(os.path.dirname(os.path.abspath(__file__)), "peers",
                      "torch_kernels.py")
HEAD = os.path.join(os.path.dirname(os.path.abspath(__file__)),
                    "head_loss.tt")
ROW = re.compile(r"(\S+\.tt):(\d+) +(\d+) +([0-9.]+) ")
# What tells the cases of one operator apart, and the times of one line.
PARTS = ("backend", "layer", "how", "mask", "b", "h", "kv", "s", "d", "m", "n",
         "k", "rows", "cols", "elements", "params", "dtype", "recipe")
TIMES = (("ms", "", "tflops", "gb_s"), ("fwd_ms", ".fwd", "fwd_tflops",
                                        "fwd_gb_s"),
         ("bwd_ms_by_difference", ".bwd", "bwd_tflops", "bwd_gb_s"))


def case_name(rec):
    parts = [f"{p}{rec[p]}" if isinstance(rec[p], (int, float)) else str(rec[p])
             for p in PARTS if rec.get(p) is not None]
    return "-".join([rec["name"]] + parts)


def cases(lines):
    """Name, milliseconds and rate of each time that was measured."""
    for rec in lines:
        if not rec.get("ok"):
            continue
        for key, suffix, flops, rate in TIMES:
            if rec.get(key) is not None:
                what = f"{rec[flops]:8.1f} TFLOP/s" if rec.get(flops) else \
                    f"{rec[rate]:8.1f} GB/s" if rec.get(rate) else ""
                yield case_name(rec) + suffix, rec[key], what


def read_ours(path):
    if not path:
        return {}
    with open(path) as f:
        return {r["case"]: r["ms"] for r in map(json.loads, f)}


def head_lines():
    """Where the commands of head and loss come from."""
    with open(HEAD) as f:
        lines = [i + 1 for i, line in enumerate(f) if "@embed weight" in line]
    return [("head_loss.tt", str(i)) for i in lines]


def head_ms(table):
    """Of a step's profile, what head and loss take."""
    wanted = head_lines()
    return sum(float(ms) for file, line, _, ms in ROW.findall(table)
               if file == "loss.tt" or (file, line) in wanted)


def run_head(program, folder):
    tokens = os.path.join(folder, "head.u32")
    gpu.write_tokens(tokens, 4 * 8192, 8192)
    said = subprocess.run(
        [program, "--data", tokens, "--steps", "8", "--log-every", "8",
         "--profile", os.path.join(folder, "head.trace.json")],
        capture_output=True, text=True, timeout=60,
        env=dict(os.environ, LD_LIBRARY_PATH=gpu.library_path()))
    if said.returncode:
        sys.exit(f"{program}: {said.stderr.strip()[-300:]}")
    return head_ms(said.stdout + said.stderr)


def print_table(lines, ours):
    print(f"{'case':52} {'torch ms':>10} {'ours ms':>10} {'ratio':>6}  rate")
    for name, ms, rate in cases(lines):
        mine = ours.get(name)
        both = f"{mine:10.4f} {ms / mine:6.2f}" if mine else f"{'-':>10} {'-':>6}"
        print(f"{name:52} {ms:10.4f} {both}  {rate}")
    for rec in lines:
        if not rec.get("ok"):
            print(f"{rec.get('name', '?'):52} {rec.get('error', '')[:60]}")


def main(a):
    with tempfile.TemporaryDirectory() as folder:
        out = os.path.join(folder, "kernels.jsonl")
        command = [sys.executable, SCRIPT, "--jsonl", out, "--budget-s",
                   str(a.budget)] + (["--only", a.only] if a.only else [])
        said = gpu.run_group(command, 3 * a.budget,
                             os.path.join(folder, "kernels.log"))
        if not os.path.exists(out):
            print(said, file=sys.stderr)
            return 1
        ours = read_ours(a.ours)
        head = run_head(a.head, folder) if a.head else None
        with open(out) as f:
            lines = [json.loads(line) for line in f]
        for name, _, _ in cases(lines):
            if head and name.startswith("head_loss"):
                ours[name] = head
        print_table(lines, ours)
    return 0
