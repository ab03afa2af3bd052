#!/usr/bin/env python3
"""shorter.py FILES.tar.xz: files of each kind that is mapped, cut short in the middle of a run."""
import os
import subprocess
import sys
import tarfile

with tarfile.open(sys.argv[1]) as tar:
    tar.extractall("golden")
with open("tokens.u16", "wb") as out:
    out.write(bytes(range(200)) * 100)


def cut(data, path):
    """Runs until a step is logged, cuts PATH to nothing, and waits for the end."""
    run = subprocess.Popen(["./rows", "--data", data, "--steps", "100000000", "--log-every", "100", "--threads", "1"],
                           stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    next(line for line in run.stdout if "step:" in line)
    os.truncate(path, 0)
    _, said = run.communicate(timeout=300)
    if run.returncode != 65 or path not in said:
        sys.exit(f"shorter.py: {data}: exit {run.returncode}\n{said}")
    return said


said = cut("tokens.u16", "tokens.u16") + cut("golden/megatron/int32.bin", "golden/megatron/int32.bin") + \
    cut("golden/megatron/int64.bin", "golden/megatron/int64.idx")
if said.count("was made shorter while it is read: it has 0 bytes of ") != 3:
    sys.exit(said)
# A shard is opened anew in each epoch, which may be what finds it.
cut("golden/mds-any", "golden/mds-any/shard.00000.mds")
