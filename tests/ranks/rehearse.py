"""rehearse.py: the program of a mesh of 2 x 2 for two ranks."""
import math
import os
import re
import subprocess

import small
from small import PLANS, build, command, rows


def ended(words):
    return subprocess.run(words, capture_output=True, text=True, timeout=300)


def described(plan):
    """What a rank does, with what it has: without the names of groups, and how the whole is split."""
    said = subprocess.run([f"./{plan}", "--describe"], check=True, capture_output=True, text=True).stdout
    memory = re.search(r"^memory\n(.*?)\n\n", said, re.M | re.S)[1]
    commands = [line for line in said.splitlines() if "  // " in line or re.match(r" +(loop|program) ", line)]
    assert any("all_gather" in c for c in commands) and any("reduce_scatter" in c for c in commands)
    return memory, commands


build("fsdp_tp", 4)
real = described("fsdp_tp")
build("fsdp_tp", 4, "--rehearse")
assert described("fsdp_tp") == real, (described("fsdp_tp"), real)
assert ended([*command("fsdp_tp", "--ranks", "2"), "--metrics", "of.jsonl"]).returncode == 0
losses = [row["loss"] for row in rows("of.jsonl")]
assert len(losses) == 4 and all(math.isfinite(x) for x in losses), losses
print("fsdp_tp: the same commands and memory; 2 ranks played 4")
for plan in ("pp2_dp2", "one"):
    try:
        build(plan, 4, "--rehearse", "-D", "accumulate=2")
        raise SystemExit(f"{plan} was rehearsed")
    except subprocess.CalledProcessError as e:
        assert e.returncode == 1, e
for options in (("--ranks", "4"), ("--ranks", "2", "--checkpoint", "kept")):
    done = ended(command("fsdp_tp", *options))
    print(f"exit {done.returncode}: {done.stderr.strip()}")
with open("vast.tt", "w") as f:
    f.write("plan vast of pretrain {\n mesh a = 65536, b = 65536\n}\n")
small.PLANS = "vast.tt"
try:
    build("vast", 4, "--rehearse")
    raise SystemExit("more devices than can be counted were rehearsed")
except subprocess.CalledProcessError as e:
    assert e.returncode == 1, e
small.PLANS = PLANS
build("tp", 4, "--rehearse", "--entries", "generate")
done = ended([os.environ["TITAN"], "generate", "tp", "--prompt", "x", "--init-from", "weights"])
print(f"exit {done.returncode}: {done.stderr.strip()}")
