"""chunks.py: what is gathered for products, and summed of them, part by part trains bit for bit as in one piece."""
import subprocess

from small import RANKS, build, command, rows

ODD = ("-D", "batch=3") # which no number of parts divides but 3
for plan, options in (("sequence", ()), ("fsdp_tp", ()), ("sequence", ODD)):
    whole = None
    for chunks in ("1", "2", "3"):
        out = f"{plan}.{chunks}"
        build(plan, 4, "--chunks", chunks, *options)
        subprocess.run([*command(plan, "--ranks", str(RANKS[plan])), "--metrics", f"{out}.jsonl", "--export", out], check=True, timeout=300)
        got = rows(f"{out}.jsonl"), open(f"{out}/model.safetensors", "rb").read()
        same = {"peak_bytes"}
        got = [{k: v for k, v in row.items() if k not in same} for row in got[0]], got[1]
        assert whole is None or got == whole, (plan, chunks)
        whole = got
        print(plan, *options[1:], "in", chunks)
