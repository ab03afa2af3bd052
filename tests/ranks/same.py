"""same.py: ranks as threads, as processes of --nproc and (with `mpi`) of mpirun train bit for bit alike, and as one device does."""
import subprocess
import sys

from small import RANKS, apart, build, command, rows

build("one")
subprocess.run(command("one", "--metrics", "one.jsonl"), check=True)
for plan in ("fsdp", "fsdp_tp"):
    n = str(RANKS[plan])
    ways = {"threads": command(plan, "--ranks", n), "processes": command(plan, "--nproc", n)}
    if "mpi" in sys.argv:
        ways["mpirun"] = ["mpirun", "--oversubscribe", "-n", n, *command(plan)]
    build(plan)
    seen = None
    for way, start in ways.items():
        out = f"{plan}.{way}"
        subprocess.run([*start, "--metrics", f"{out}.jsonl", "--export", out], check=True, timeout=300)
        got = rows(f"{out}.jsonl"), open(f"{out}/model.safetensors", "rb").read()
        assert apart(got[0], rows("one.jsonl")) < 1e-5, (plan, way)
        assert seen is None or got == seen, (plan, way)
        seen = got
        print(plan, "as", way)
