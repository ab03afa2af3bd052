"""chunks.py: what is gathered for products, and summed of them, part by part trains bit for bit as in one piece."""
import re
import subprocess

from small import RANKS, build, command, rows

ODD = ("-D", "batch=3")  # which no number of parts divides but 3


def collectives(plan):
    said = subprocess.run([f"./{plan}", "--describe"], check=True, capture_output=True, text=True).stdout
    return len(re.findall(r"all_gather|reduce_scatter|permute", said))


def train(plan, out):
    subprocess.run([*command(plan, "--ranks", str(RANKS[plan])), "--metrics", f"{out}.jsonl", "--export", out], check=True, timeout=300)
    steps = [{k: v for k, v in row.items() if k != "peak_bytes"} for row in rows(f"{out}.jsonl")]
    return steps, open(f"{out}/model.safetensors", "rb").read()


for plan, options in (("sequence", ()), ("fsdp_tp", ()), ("sequence", ODD)):
    trained, counts = [], []
    for chunks in ("1", "2", "3"):
        build(plan, 4, "--chunks", chunks, *options)
        trained.append(train(plan, f"{plan}.{chunks}"))
        counts.append(collectives(plan))
        assert trained[-1] == trained[0], (plan, chunks)
        print(plan, *options[1:], "in", chunks)
    assert counts[-1] > counts[0], (plan, counts)
