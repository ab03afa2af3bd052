"""Parts that say whether what is saved on a GPU is right."""
import json
import os
import shutil
import subprocess
import sys

from .base import Failed, Part, last_of, need_torch, passed
from .right import LLAMA, values_of

STEPS = 12
EXPORT_BOUND = 1e-6
STATE = ("model.safetensors", "state.safetensors")

# Loss of the first rows of a token file under a Hugging Face folder's weights.
LOSS = """
import json, sys, numpy, torch, transformers
folder, tokens, rows, seq = sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4])
model = transformers.AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
data = numpy.fromfile(tokens, dtype="<u2").astype("int64")
at = numpy.arange(rows * seq)
x = torch.from_numpy(data[at % len(data)].reshape(rows, seq))
y = torch.from_numpy(data[(at + 1) % len(data)])
with torch.no_grad():
    logits = model(x).logits.double()
print(json.dumps(torch.nn.functional.cross_entropy(logits.reshape(rows * seq, -1), y).item()))
"""


def build_saves(b):
    b.compile("llama3", "f32", ["--dtype", "f32"] + values_of(LLAMA))
    b.compile("llama3", "states", ["--dtype", "bf16-states"] + values_of(LLAMA))
    b.run(sys.executable, b.source("tests", "golden", "fixture.py"), "llama", b.path("in"))
    os.remove(b.path("in", "model.safetensors"))


def train(c, name, folder, steps, *options):
    """Losses and norms of a run that saves to FOLDER."""
    rows = c.train(c.program(name), ["--data", c.path("in", "tokens.u16"), "--steps", str(steps), "--checkpoint",
                                     folder, "--keep", "0", *options], folder + ".jsonl")
    return [(r["step"], r["loss"], r["grad_norm"]) for r in rows]


def state_of(folder, step):
    files = [os.path.join(folder, f"step-{step}", name) for name in STATE]
    missing = [f for f in files if not os.path.exists(f)]
    if missing:
        raise Failed(f"{missing[0]} is not there")
    return [open(f, "rb").read() for f in files]


def resumes(c, name):
    whole, parts = c.room(name + ".whole"), c.room(name + ".parts")
    want = train(c, name, whole, STEPS)
    train(c, name, parts, STEPS // 2, "--save-every", "4")
    got = train(c, name, parts, STEPS, "--save-every", "4", "--resume", "auto")
    if want != got:
        raise Failed("losses or norms differ")
    if state_of(whole, STEPS) != state_of(parts, STEPS):
        raise Failed("weights or states differ")
    return f"{name}, resumed", "the bits of a straight run", "equal", "ok"


def stands_behind(c, name):
    """What is copied while the next step runs is what waiting for it gives."""
    behind, waits = c.room(name + ".behind"), c.room(name + ".waits")
    train(c, name, behind, STEPS, "--save-every", "1")
    train(c, name, waits, STEPS, "--save-every", "1", "--sync-save")
    torn = [i for i in range(1, STEPS + 1) if state_of(behind, i) != state_of(waits, i)]
    if torn:
        raise Failed(f"the saves of steps {torn} are torn")
    return f"{name}, saved behind {STEPS} steps", "as waited for", "equal", "ok"


def loads_elsewhere(c):
    """A checkpoint's weights, loaded by transformers."""
    folder, again = c.room("f32.whole", f"step-{STEPS}"), c.room("again.jsonl")
    shutil.copy(c.path("in", "config.json"), folder)
    tokens = c.path("in", "tokens.u16")
    ours = c.train(c.program("f32"), ["--data", tokens, "--init-from", folder, "--steps", "1"], again)[0]["loss"]
    rows = LLAMA["batch"] * LLAMA["accumulate"]
    r = subprocess.run([sys.executable, "-c", LOSS, folder, tokens, str(rows), str(LLAMA["seq"])],
                       capture_output=True, text=True)
    if r.returncode:
        raise Failed(last_of(r.stderr), missing="No module" in r.stderr)
    off = abs(json.loads(r.stdout) / ours - 1)
    return "loss in transformers", f"{off:.1e} off", f"{EXPORT_BOUND:.0e}", passed(off <= EXPORT_BOUND)


def run_saves(c):
    for name in ("f32", "states"):
        yield resumes(c, name)
        yield stands_behind(c, name)
    need_torch(c)
    yield loads_elsewhere(c)


PARTS = [Part("saves", "checkpoints: resumed, copied behind steps, read elsewhere", build_saves, run_saves, False)]
