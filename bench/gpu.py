"""Training steps on a GPU, ours beside those of other stacks.

Used by `tools/bench gpu` and tools/gpu-check.  Needs python3 alone; the peers
need what their scripts say (bench/peers/README.md).  Programs are compiled
elsewhere:

    tools/bench programs DIR       training programs for the GPU, into DIR
    tools/bench gpu DIR --peers    runs them, and the peers, in one table

A work is one program and its peers.  Runs alternate, ours, theirs, theirs,
ours, so that a card that warms up favours nobody; a figure is the median over
the steps after warm-up of both runs.  The first step counts from the start of
the process to the moment its line is in the metrics, or the peer's script
says that it has ended.  Memory is what the card has more in use than before.
"""
import glob
import json
import os
import shutil
import signal
import statistics
import struct
import subprocess
import sys
import tempfile
import threading
import time

HERE = os.path.dirname(os.path.abspath(__file__))
PEERS = os.path.join(HERE, "peers")
MODEL = os.path.join(HERE, "..", "models", "llama3.tt")
RECIPES = os.path.join(HERE, "..", "models", "plans", "recipes.tt")

TORCH = ["{python}", os.path.join(PEERS, "torch_llama.py"), "--jsonl",
         "{jsonl}", "--warmup", "{warmup}", "--steps", "{steps}"]
JAX = ["{python}", os.path.join(PEERS, "jax_llama.py"), "--jsonl", "{jsonl}",
       "--warmup", "{warmup}", "--steps", "{steps}"]
FAST = ["--precision", "bf16", "--rope", "real", "--fused-qkv"]

# What is compiled: arguments of titanc.  What runs: the program's name, its
# tokens a step, perhaps the GiB that its arena may have, and for each peer a
# name, a command and seconds at most.
WORKS = [
    {"name": "1b-bf16-states", "config": "1b", "dtype": "bf16-states",
     "vocab": 128256, "tokens": 16384, "steps": 20, "least": 61000,
     "aim": 66000, "peers": [
         {"name": "torch", "command": TORCH + ["--preset", "1b"] + FAST,
          "seconds": 60},
         {"name": "jax", "command": JAX + ["--preset", "1b"],
          "seconds": 80, "rare": True}]},
    {"name": "1b-bf16", "config": "1b", "dtype": "bf16",
     "vocab": 128256, "tokens": 16384, "steps": 20, "least": 57500,
     "aim": 62500, "peers": [
         {"name": "torch", "command": TORCH + [
             "--preset", "1b", "--precision", "fsdp"], "seconds": 60}]},
    {"name": "8b-bf16-states", "config": "8b", "dtype": "bf16-states",
     "vocab": 128256, "tokens": 8192, "steps": 9, "least": 11300,
     "aim": 12000, "arena": 78, "peers": [
         {"name": "torch", "command": TORCH + [
             "--preset", "8b", "--loss", "chunked"] + FAST, "seconds": 80},
         {"name": "jax", "command": JAX + ["--preset", "8b"],
          "seconds": 170, "rare": True}]},
]
# The same with the products of layers in eight bits, by recipe.
EIGHT = ["--precision", "bf16", "--rope", "real", "--fused-qkv", "--fp8"]


def eight_bits(config, recipe, least, aim):
    tokens, steps = (16384, 20) if config == "1b" else (8192, 9)
    loss = [] if config == "1b" else ["--loss", "chunked"]
    peers = [{"name": "torch", "seconds": 100, "command": TORCH + [
        "--preset", config] + loss + EIGHT + [recipe]}]
    return {"name": f"{config}-{recipe}", "config": config,
            "dtype": "bf16-states", "plan": recipe, "vocab": 128256,
            "tokens": tokens, "steps": steps, "least": least, "aim": aim,
            "peers": [] if recipe == "rowwise_with_gw_hp" else peers}


EIGHT_WORKS = [eight_bits("8b", "tensorwise", 15500, 16600),
               eight_bits("1b", "tensorwise", 74000, 78000)] + [
    eight_bits(config, recipe, 0, 0) for config in ("8b", "1b")
    for recipe in ("rowwise", "rowwise_with_gw_hp")]
WARMUP = 3


# ------------------------------------------------------------------- compile


def compile_works(titanc, folder, works):
    os.makedirs(folder, exist_ok=True)
    for work in works:
        out = os.path.join(folder, work["name"])
        batch = work["tokens"] // 8192
        plan = [RECIPES, "--plan", work["plan"]] if "plan" in work else []
        with open(out + ".json", "w") as figures:
            subprocess.run([titanc, MODEL] + plan + [
                "--config", work["config"], "--dtype", work["dtype"], "-D",
                f"batch={batch}", "--target", "sm_90a", "--stats=json", "-o",
                out], check=True, stdout=figures)
        if shutil.which("xz"):
            subprocess.run(["xz", "-9f", out], check=True)


def compile_programs(titanc, folder):
    """Training programs for the GPU, packed as they travel, with what titanc
    says of each."""
    compile_works(titanc, folder, WORKS)
    subprocess.run([titanc, os.path.join(HERE, "head_loss.tt"), "--dtype",
                    "bf16-states", "--target", "sm_90a", "-o",
                    os.path.join(folder, "head-loss")], check=True)
    print("\n".join(sorted(os.listdir(folder))))


# -------------------------------------------------------------------- memory


class Memory(threading.Thread):
    """The most memory of the card that is in use while something runs."""

    def __init__(self):
        super().__init__(daemon=True)
        self.before, self.most, self.over = self.used(), 0, threading.Event()

    @staticmethod
    def used():
        try:
            out = subprocess.run(
                ["nvidia-smi", "--query-gpu=memory.used", "--id=0",
                 "--format=csv,noheader,nounits"],
                capture_output=True, text=True, timeout=10)
            return int(out.stdout.split()[0])
        except (OSError, IndexError, ValueError, subprocess.SubprocessError):
            return None

    def run(self):
        while self.before is not None and not self.over.wait(0.5):
            self.most = max(self.most, (self.used() or 0) - self.before)

    def stop(self):
        """GiB, or None where it cannot be asked."""
        self.over.set()
        self.join()
        return self.most / 1024 if self.most > 0 else None


# ---------------------------------------------------------------------- runs


def write_tokens(path, n, vocab):
    """What bench/peers/torch_llama.py trains on: splitmix64 of the place."""
    mask, out = (1 << 64) - 1, []
    for i in range(n):
        x = (i * 0x9e3779b97f4a7c15 + 0x9e3779b97f4a7c15) & mask
        x = ((x ^ x >> 30) * 0xbf58476d1ce4e5b9) & mask
        x = ((x ^ x >> 27) * 0x94d049bb133111eb) & mask
        out.append((x ^ x >> 31) % vocab)
    with open(path, "wb") as f:
        f.write(struct.pack(f"<{n}I", *out))


def library_path():
    """Where the libraries of PyTorch's packages lie, cuBLAS among them."""
    places = os.environ.get("LD_LIBRARY_PATH", "").split(":")
    for root in sys.path + ["/usr/local"]:
        places += glob.glob(os.path.join(root, "nvidia", "*", "lib"))
        places += glob.glob(os.path.join(root, "cuda*", "lib64"))
    return ":".join(p for p in places if p)


def run_ours(program, work, steps, folder, args):
    tokens = os.path.join(folder, f"{work['vocab']}.u32")
    metrics = os.path.join(folder, "metrics.jsonl")
    if not os.path.exists(tokens):
        write_tokens(tokens, 4 * 16384, work["vocab"])
    if os.path.exists(metrics):
        os.remove(metrics)
    memory = Memory()
    memory.start()
    start, first = time.monotonic(), None
    child = subprocess.Popen(
        [program, "--data", tokens, "--steps", str(steps), "--log-every", "1",
         "--metrics", metrics, "--quiet"] + args,
        stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
        env=dict(os.environ, LD_LIBRARY_PATH=library_path()))
    while child.poll() is None:
        if time.monotonic() - start > work.get("seconds", 60):
            child.kill()
            child.wait()
            memory.stop()
            return {"error": "not done in time", "first": first}
        if first is None and os.path.exists(metrics) and \
                os.path.getsize(metrics):
            first = time.monotonic() - start
        time.sleep(0.004 if first is None else 0.05)
    used = memory.stop()
    if first is None and os.path.exists(metrics):  # it was over between two looks
        first = time.monotonic() - start
    if child.returncode:
        return {"error": child.stderr.read().strip()[-300:]}
    lines = [json.loads(line) for line in open(metrics)]
    rates = [s["tokens_per_second"] for s in lines[WARMUP:-1]]
    if not rates:
        return {"error": f"{len(lines)} steps are too few for a median"}
    return {"rates": rates, "first": first, "gib": used, "steps": len(lines),
            "arena": lines[-1]["peak_bytes"] / 2 ** 30,
            "loss": lines[0]["loss"]}


def end_group(child):
    """Ends the leader of a group of processes with all that it has started."""
    try:
        os.killpg(child.pid, signal.SIGKILL)
    except ProcessLookupError:
        pass
    child.communicate()


def run_group(command, seconds, log):
    """Runs a command with all that it starts; what it says last.  Its output
    goes to a file: compilers that it leaves behind would keep a pipe open."""
    with open(log, "w+") as f:
        try:
            child = subprocess.Popen(command, stdout=f, stderr=f,
                                     start_new_session=True)
        except OSError as e:
            return str(e)
        try:
            child.wait(timeout=seconds)
            f.seek(0)
            return f.read().strip()[-300:]
        except subprocess.TimeoutExpired:
            return f"not done after {seconds} s"
        finally:
            end_group(child)


def run_peer(peer, steps, folder):
    jsonl = os.path.join(folder, "peer.jsonl")
    if os.path.exists(jsonl):
        os.remove(jsonl)
    values = {"python": sys.executable, "jsonl": jsonl, "warmup": WARMUP,
              "steps": steps}
    memory = Memory()
    memory.start()
    command = [word.format(**values) for word in peer["command"]]
    trouble = run_group(command, peer["seconds"],
                        os.path.join(folder, "peer.log"))
    used = memory.stop()
    lines = [json.loads(line) for line in open(jsonl)] \
        if os.path.exists(jsonl) else []
    if not lines or not lines[-1].get("ok"):
        return {"error": lines[-1].get("error", "") if lines else trouble}
    last = lines[-1]
    return {"rates": [last["tokens_per_s"]], "first": last.get("ttfs_s"),
            "gib": used, "arena": last.get("peak_alloc_gib"),
            "loss": (last.get("losses") or [None])[0]}


# --------------------------------------------------------------------- table


def merged(runs):
    """One figure of several runs of the same thing."""
    good = [r for r in runs if "error" not in r]
    if not good:
        return runs[0] if runs else {"error": "not run"}
    out = dict(good[0])
    out["rates"] = [x for r in good for x in r["rates"]]
    out["rate"] = statistics.median(out["rates"])
    firsts = [r["first"] for r in good if r["first"] is not None]
    out["first"] = min(firsts) if firsts else None
    out["gib"] = max((r["gib"] for r in good if r["gib"]), default=None)
    return out


def text(x, form):
    return form % x if x is not None else "-"


def print_row(work, who, r, ours):
    if "error" in r:
        why = r["error"].strip().splitlines() or ["failed"]
        print(f"{work:16} {who:8} {why[-1][:90]}", flush=True)
        return
    ratio = ours["rate"] / r["rate"] if ours and "rate" in ours else None
    print(f"{work:16} {who:8} {text(r['rate'], '%12.1f')}"
          f" {text(ratio, '%7.3f'):>7} {text(r['first'], '%8.2f'):>8}"
          f" {text(r['gib'], '%8.2f'):>8} {text(r['arena'], '%8.2f'):>8}"
          f" {text(r['loss'], '%8.4f'):>8}", flush=True)


def print_work(work, results):
    ours = results.get("titan", {"error": "not run"})
    print_row(work["name"], "titan", ours, None)
    for peer in work["peers"]:
        if peer["name"] in results:
            print_row("", peer["name"], results[peer["name"]], ours)
    for bar in ("least", "aim"):
        if bar in work and "rate" in ours:
            print(f"{'':16} {bar:8} {work[bar]:12.1f}"
                  f" {ours['rate'] / work[bar]:7.3f}")


def describe():
    ask = subprocess.run(
        ["nvidia-smi", "--query-gpu=name,driver_version", "--id=0",
         "--format=csv,noheader"], capture_output=True, text=True) \
        if shutil.which("nvidia-smi") else None
    card = ask.stdout.strip() if ask else "no GPU"
    return f"{time.strftime('%Y-%m-%d %H:%M')}, {card}"


# ---------------------------------------------------------------------- main


def find_program(folder, work, scratch):
    """A program of the folder, unpacked where it is packed."""
    path = os.path.join(folder, work["name"])
    if os.path.exists(path):
        return os.path.abspath(path)
    if not os.path.exists(path + ".xz"):
        return None
    import lzma
    out = os.path.join(scratch, work["name"])
    with lzma.open(path + ".xz") as f, open(out, "wb") as to:
        shutil.copyfileobj(f, to)
    os.chmod(out, 0o755)
    return out


def order_of(work, a):
    """Who runs when: ours around each peer."""
    peers = [p for p in work["peers"] if a.peers and
             (a.rare or not p.get("rare"))]
    if not peers:
        return [None]
    order = []
    for p in peers:
        order += [None, p, p, None] if a.rounds > 1 else [None, p]
    return order


def say(work, who, start):
    print(f"... {work['name']}: {who}, {time.monotonic() - start:.1f} s",
          file=sys.stderr, flush=True)


def run_work(work, a, scratch, deadline):
    program = find_program(a.programs, work, scratch)
    steps, runs = a.steps or work["steps"], {}
    for peer in order_of(work, a):
        who, start = peer["name"] if peer else "titan", time.monotonic()
        if time.monotonic() > deadline:
            runs.setdefault(who, []).append({"error": "no time left"})
        elif peer:
            runs.setdefault(who, []).append(run_peer(peer, steps, scratch))
        elif program:
            runs.setdefault(who, []).append(
                run_ours(program, work, steps, scratch, a.args.split()))
        say(work, who, start)
    return {who: merged(of) for who, of in runs.items()}


def main(a):
    works = json.load(open(a.works)) if a.works else WORKS
    deadline = time.monotonic() + a.budget
    print(f"{describe()}: {' '.join(sys.argv)}")
    print(f"{'work':16} {'who':8} {'tokens/s':>12} {'ratio':>7}"
          f" {'first s':>8} {'GiB':>8} {'arena':>8} {'loss 1':>8}", flush=True)
    everything = {}
    with tempfile.TemporaryDirectory() as scratch:
        for work in works:
            if a.only and work["name"] not in a.only.split(","):
                continue
            everything[work["name"]] = run_work(work, a, scratch, deadline)
            print_work(work, everything[work["name"]])
    if a.json:
        with open(a.json, "w") as f:
            json.dump(everything, f, indent=1)
    failed = [w for w, r in everything.items()
              if "error" in r.get("titan", {"error": ""})]
    return 1 if failed or not everything else 0
