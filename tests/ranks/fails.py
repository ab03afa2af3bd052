"""fails.py --fake DIR [--trials N] [--seed N] [OPTION..]: a call of the fake driver that one rank's GPU makes fails, at random
moments while the ranks begin, capture their step and run it.  The run ends by itself with exit code 69 (76 where it is NCCL's), the
call and the rank, and nothing dies of a signal; --early: a rank fails while another opens the memory of a third."""
import argparse
import os
import random
import re
import subprocess

from small import build, command

N = 4
CALLS = 2500  # about as many as a GPU's rank makes in the first two steps
PATIENCE = 300


def run(o, **environment):
    return subprocess.run(command(o.plan, "--steps", "2", "--max-skips", "100", *o.options), env={**os.environ, **environment},
                          stderr=subprocess.PIPE, text=True, timeout=PATIENCE)


def check(done, gpu, what):
    said = done.stderr
    assert done.returncode == (76 if "nccl" in said else 69), (what, done.returncode, said)
    assert re.search(r"error: .* failed: |error: NCCL|could not be", said), (what, said)
    assert gpu == 0 or f"rank {gpu}" in said, (what, said)


def main():
    p = argparse.ArgumentParser()
    p.add_argument("--plan", default="fsdp_tp")
    p.add_argument("--trials", type=int, default=20)
    p.add_argument("--seed", type=int, default=1)
    p.add_argument("--early", action="store_true")
    p.add_argument("--fake", metavar="DIR", required=True)
    o, o.options = p.parse_known_args()
    rng = random.Random(o.seed)
    os.environ.update(FAKE_GPUS=str(N), LD_LIBRARY_PATH=o.fake)
    if not os.path.exists(o.plan):
        build(o.plan, 2, "--target", "sm_90a")
    if o.early:
        slow = "1 cuMemMap 300,2 cuMemGetInfo 700"
        check(run(o, FAKE_SLOW=slow, FAKE_FAILS="2 cuMemGetInfo"), 2, "early")
    for _ in range(o.trials):
        gpu = rng.randrange(N)
        what = f"{gpu} {rng.randrange(1, CALLS)}"
        check(run(o, FAKE_FAILS=what), gpu, what)
    print(f"failed: {o.trials} times")


main()
