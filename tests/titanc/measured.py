"""usage: measured.py TITANC SOURCE: steps that were measured on one H200 (docs/performance.md), by the model within a tenth.

Those of eight bits and of experts have other classes of commands than those in bf16: each of these is there."""
import json
import subprocess
import sys

titanc, source = sys.argv[1:]
LLAMA, EXPERTS = ["models/llama3.tt"], ["bench/experts.tt", "--config", "large"]
EIGHT = LLAMA + ["models/plans/recipes.tt"]
MEASURED = [  # program, dtype, ms
    (LLAMA + ["--config", "1b", "-Dbatch=2"], "bf16-states", 262.1),
    (LLAMA + ["--config", "1b", "-Dbatch=2"], "bf16", 267.8),
    (LLAMA + ["--config", "8b", "-Dbatch=1"], "bf16-states", 703.3),
    (EIGHT + ["--config", "8b", "-Dbatch=1", "--plan", "tensorwise"], "bf16-states", 514.1),
    (EIGHT + ["--config", "1b", "-Dbatch=2", "--plan", "rowwise"], "bf16-states", 217.9),
    (EXPERTS + ["--plan", "none"], "bf16-states", 43.7),
    (EXPERTS + ["--plan", "rowwise"], "bf16-states", 39.1),
    (EXPERTS + ["--plan", "tensorwise"], "bf16-states", 33.1),
    (EXPERTS + ["--plan", "blockwise"], "bf16-states", 40.7)]

wrong = []
for words, dtype, ms in MEASURED:
    program = [f"{source}/{w}" if w.endswith(".tt") else w for w in words]
    out = subprocess.run([titanc, *program, "--dtype", dtype, "--target", "sm_90a", "--stats=json"], check=True, capture_output=True)
    said = 1e3 * json.loads(out.stdout)["step_seconds"]
    print(f"{said:8.1f} {ms:8.1f} {said / ms:6.3f}  {' '.join(words)} {dtype}")
    if not 0.9 < said / ms < 1.1:
        wrong.append(words)
assert not wrong, wrong
