#!/usr/bin/env python3
"""Attention's kernels against PyTorch: right, the same twice, how fast.

    tests/gpu/attention.py make BUILD DIR        here: kernels of every case
    DIR/attention.py run [--time] [CASE...]      on the GPU, with PyTorch

`make` needs build/make-groups and ptxas.  A case is one mask at one shape: the
forward, the rows' part of the backward (dq), the columns' part (dkv) and, where
one kernel has room, the two as one (both), as groups of kind tile.  `run` draws fresh inputs, poisons the results, runs each
kernel twice, and compares bits of the two runs and values with a reference in
float32.  With --time it also times them, and a peer beside them: cuDNN through PyTorch's
SDPA for a causal mask, compiled FlexAttention for documents, where rows are long.  Times are the
least mean of 20 launches, two times; a forward counts as two products and a
backward as five, of the pairs that a mask lets through.
"""
import argparse
import ctypes
import math
import os
import shutil
import subprocess
import sys
import time
from collections import namedtuple

HERE = os.path.dirname(os.path.realpath(__file__))
BOUND = 1e-2  # of the norm of the difference over that of the reference
LONG = 4096  # rows; shorter ones are not timed
MOST_BACK = 256  # heads whose backward is made otherwise (passes/fuse/wide.c)
CAUSAL = "index(ctx) <= index(seq)"
MASKS = {
    "causal": CAUSAL,
    "window": CAUSAL + " and index(seq) - index(ctx) < 300",
    "prefix": CAUSAL + " or index(ctx) < 200",
    "documents": "{ctx} == {seq} and " + CAUSAL,
    "full": None,
    "capped": CAUSAL,  # scores within 20, by tanh; the forward alone
    "slopes": CAUSAL,  # less by the distance, by head; the forward alone
}
FORWARD = ("capped", "slopes")
Case = namedtuple("Case", "batch seq kv rep hd vd mask")  # vd: of a value
CASES = {name: Case(*sizes) for name, sizes in {
    "large128": (1, 8192, 8, 4, 128, 128, "causal"),
    "large64": (2, 8192, 8, 4, 64, 64, "causal"),
    "large256": (1, 4096, 4, 4, 256, 256, "causal"),
    "long_documents128": (1, 8192, 8, 4, 128, 128, "documents"),
    "ragged128": (2, 1000, 2, 2, 128, 128, "causal"),
    "ragged64": (2, 1000, 2, 2, 64, 64, "causal"),
    "window128": (1, 2048, 2, 2, 128, 128, "window"),
    "documents128": (2, 1024, 2, 2, 128, 128, "documents"),
    "documents64": (2, 1000, 2, 2, 64, 64, "documents"),
    "full80": (2, 512, 2, 2, 80, 80, "full"),
    "prefix32": (2, 512, 2, 2, 32, 32, "prefix"),
    "causal256": (1, 512, 2, 2, 256, 256, "causal"),
    "values192": (1, 4096, 8, 2, 192, 128, "causal"),
    "capped64": (1, 512, 2, 2, 64, 64, "capped"),
    "slopes128": (1, 8192, 4, 4, 128, 128, "slopes"),
}.items()}

# ---------------------------------------------------------------------- make

Q = "bf16[batch, seq, kv, rep, hd]"
K = "bf16[batch, kv, hd, ctx]"
V = "bf16[batch, kv, vd, ctx]"
O = "bf16[batch, seq, kv, rep, vd]"
ROW = "f32[batch, seq, kv, rep]"
TURNS = "i32[batch, seq, kv, rep]"
PAIR = "[batch, seq, kv, rep, ctx]"
WIDE = "f32[batch, seq, kv, rep, hd]"
WIDER = "f32[batch, seq, kv, rep, vd]"


def masked(mask, value, otherwise, first):
    """A map's body; the documents of row and column are operands FIRST on."""
    if MASKS[mask] is None:
        return value
    condition = MASKS[mask].format(seq=f"_{first}", ctx=f"_{first + 1}")
    return f"where({condition}, {value}, {otherwise})"


def root_of(case):
    return repr(float(CASES[case].hd) ** 0.5)


def score_of(case):
    """Of a product of query and key."""
    score = f"_0 / {root_of(case)}"
    if CASES[case].mask == "capped":
        score = f"20.0 * tanh({score} / 20.0)"
    if CASES[case].mask == "slopes":
        heads = CASES[case].kv * CASES[case].rep
        score += (f" + f32(index(ctx) - index(seq)) * pow(2.0, "
                  f"f32(-8 * (index(kv) * {CASES[case].rep} + index(rep) + 1)) "
                  f"/ {float(heads)})")
    return score


def documents_of(mask):
    """As operands, and as parameters."""
    if mask != "documents":
        return "", ""
    return ", %d1, %d2", ", %d1 : i32[batch, seq], %d2 : i32[batch, ctx]"


def groups(case):
    batch, seq, kv, rep, hd, vd, mask = CASES[case]
    docs, params = documents_of(mask)
    text = (f"axes (batch = {batch}, seq = {seq}, kv = {kv}, rep = {rep}, "
            f"hd = {hd}, vd = {vd}, ctx = {seq})\n")
    text += f"""
fn local @fwd(%q : {Q}, %k : {K}, %v : {V}{params}) -> ({ROW}, {ROW}, {O}) kind tile {{
  %s : f32{PAIR} = einsum %q, %k sum (hd)
  %x : f32{PAIR} = map %s{docs} {{ {masked(mask, score_of(case), "-inf", 1)} }}
  %m : {ROW} = reduce %x kind max axes (ctx)
  %e : f32{PAIR} = map %x, %m {{ exp(_0 - stop(_1)) }}
  %l : {ROW} = reduce %e kind sum axes (ctx)
  %p : bf16{PAIR} = map %e {{ bf16(_0) }}
  %o : {WIDER} = einsum %p, %v sum (ctx)
  %r : {O} = map %o, %l {{ bf16(_0 / _1) }}
  ret %m, %l, %r
}}
"""
    if mask in FORWARD or hd + vd > MOST_BACK:
        return text
    return text + backward_groups(case)


def backward_groups(case):
    mask, root = CASES[case].mask, root_of(case)
    docs, params = documents_of(mask)
    backward = f"%q : {Q}, %k : {K}, %v : {V}, %m : {ROW}, %n : {ROW}, %do : {O}{params}"
    pairs = f"""  %a : f32{PAIR} = einsum %do, %v sum (vd)
  %s : f32{PAIR} = einsum %q, %k sum (hd)
  %p : f32{PAIR} = map %s, %m{docs} {{ exp({masked(mask, score_of(case), "-inf", 2)} - stop(_1)) }}
"""
    slope = masked(mask, "(_0 + _1) * _2", "0", 3)
    slopes = f"  %t : bf16{PAIR} = map %a, %n, %p{docs} {{ bf16({slope} / {root}) }}\n"
    return f"""
fn local @dq({backward}) -> {Q} kind tile {{
{pairs}{slopes}  %g : {WIDE} = einsum %t, %k sum (ctx)
  %r : {Q} = map %g {{ bf16(_0) }}
  ret %r
}}

fn local @dkv({backward}) -> ({K}, {V}) kind tile {{
{pairs}  %u : bf16{PAIR} = map %p {{ bf16(_0) }}
  %h : f32[batch, kv, vd, ctx] = einsum %u, %do sum (seq, rep)
{slopes}  %g : f32[batch, kv, hd, ctx] = einsum %q, %t sum (seq, rep)
  %r : {K} = map %g {{ bf16(_0) }}
  %w : {V} = map %h {{ bf16(_0) }}
  ret %r, %w
}}

fn local @both({backward}) -> ({K}, {V}, {WIDE}, {TURNS}) kind tile {{
{pairs}  %u : bf16{PAIR} = map %p {{ bf16(_0) }}
  %h : f32[batch, kv, vd, ctx] = einsum %u, %do sum (seq, rep)
{slopes}  %g : f32[batch, kv, hd, ctx] = einsum %q, %t sum (seq, rep)
  %r : {K} = map %g {{ bf16(_0) }}
  %w : {V} = map %h {{ bf16(_0) }}
  %x : {WIDE} = einsum %t, %k sum (ctx)
  %turns : {TURNS} = map {{ 0 }}
  ret %r, %w, %x, %turns
}}
"""


def make(build, folder):
    os.makedirs(folder, exist_ok=True)
    for case in CASES:
        stem = os.path.join(folder, case)
        with open(stem + ".tir", "w") as f:
            f.write(groups(case))
        tool = os.path.join(build, "make-groups")
        subprocess.run([tool, stem + ".tir", stem], check=True)
        subprocess.run(["ptxas", "-arch=sm_90a", "--warn-on-spills", "-Werror",
                        stem + ".ptx", "-o", stem + ".cubin"], check=True)
        print(case, flush=True)
    shutil.copy(os.path.realpath(__file__), folder)


# ------------------------------------------------------------------- kernels


class Kernel:
    """One function of a cubin, by the records of make-groups."""

    def __init__(self, driver, module, words):
        self.driver, self.maps, self.args = driver, [], []
        self.name, self.blocks = words[0], int(words[1])
        self.threads, self.shared = int(words[2]), int(words[3])
        self.function = ctypes.c_void_p()
        driver("cuModuleGetFunction", ctypes.byref(self.function), module,
               self.name.encode())
        most_shared = 8  # CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES
        driver("cuFuncSetAttribute", self.function, most_shared, self.shared)

    def encode(self, tensors, words):
        """A tensor map of 128 bytes, aligned to 64."""
        arg, rank, swizzle = int(words[0]), *map(int, words[2:4])
        dims = [[int(w) for w in words[4 + 3 * i:7 + 3 * i]]
                for i in range(rank)]
        raw = (ctypes.c_uint8 * 192)()
        at = (ctypes.addressof(raw) + 63) // 64 * 64
        sizes = (ctypes.c_uint64 * 5)(*[d[0] for d in dims])
        strides = (ctypes.c_uint64 * 5)(*[d[1] for d in dims[1:]])
        box = (ctypes.c_uint32 * 5)(*[d[2] for d in dims])
        steps = (ctypes.c_uint32 * 5)(1, 1, 1, 1, 1)
        dtype, promotion = {"bf16": 9, "f32": 7}[words[1]], 2
        swizzles = {0: 0, 32: 1, 64: 2, 128: 3}
        self.driver("cuTensorMapEncodeTiled", ctypes.c_void_p(at), dtype, rank,
                    ctypes.c_void_p(tensors[arg].data_ptr()), sizes, strides,
                    box, steps, 0, swizzles[swizzle], promotion, 0)
        self.kept.append(raw)
        return ctypes.c_void_p(at)

    def bind(self, tensors):
        words = [ctypes.c_uint64(t.data_ptr()) for t in tensors]
        self.kept = words
        places = [ctypes.cast(ctypes.pointer(w), ctypes.c_void_p)
                  for w in words]
        places += [self.encode(tensors, m) for m in self.maps]
        self.params = (ctypes.c_void_p * len(places))(
            *[p.value for p in places])

    def launch(self):
        import torch
        stream = ctypes.c_void_p(torch.cuda.current_stream().cuda_stream)
        self.driver("cuLaunchKernel", self.function, self.blocks, 1, 1,
                    self.threads, 1, 1, self.shared, stream, self.params, None)


def open_driver():
    library = ctypes.CDLL("libcuda.so.1")

    def call(name, *args):
        result = getattr(library, name)(*args)
        if result:
            sys.exit(f"attention.py: error: {name} failed: {result}")

    return call


def load(driver, case):
    stem = os.path.join(HERE, case)
    module, kernels, last = ctypes.c_void_p(), {}, None
    driver("cuModuleLoad", ctypes.byref(module), (stem + ".cubin").encode())
    for line in open(stem + ".txt"):
        kind, *words = line.split()
        if kind == "fn":
            last = kernels[words[0]] = Kernel(driver, module, words[1:])
        elif kind == "map":
            last.maps.append(words)
    return kernels


# ----------------------------------------------------------------- reference


def mask_of(torch, mask, size, docs):
    row = torch.arange(size, device="cuda")[:, None]
    column = torch.arange(size, device="cuda")[None, :]
    causal = column <= row
    return {"causal": causal, "capped": causal, "slopes": causal,
            "window": causal & (row - column < 300),
            "prefix": causal | (column < 200),
            "full": torch.ones_like(causal),
            "documents": causal & (docs[None, :] == docs[:, None])}[mask]


class Tensors:
    """Inputs of one case, room for results, and what they should be."""

    def __init__(self, torch, case):
        b, s, kv, rep, hd, vd, self.mask = CASES[case]
        self.torch = torch

        def draw(*shape):
            return torch.randn(*shape, device="cuda").bfloat16()

        self.q, self.do = draw(b, s, kv, rep, hd), draw(b, s, kv, rep, vd)
        self.k, self.v = draw(b, kv, hd, s), draw(b, kv, vd, s)
        ends = torch.rand(b, s, device="cuda") < (0.01 if s < 4096 else 0.001)
        self.documents = torch.cumsum(ends.int(), 1).int()
        like = torch.empty_like
        self.m = torch.empty(b, s, kv, rep, device="cuda")
        self.l, self.o, self.dq = like(self.m), like(self.do), like(self.q)
        self.dk, self.dv = like(self.k), like(self.v)
        self.lse, self.delta = like(self.m), like(self.m)
        self.dqf = torch.empty(b, s, kv, rep, hd, device="cuda")
        self.turns = torch.zeros(b, s, kv, rep, device="cuda",
                                 dtype=torch.int32)
        self.want = {n: like(getattr(self, n), dtype=torch.float32)
                     for n in ("o", "dq", "dk", "dv")}
        self.pairs = 0
        for i in range(b):
            allowed = mask_of(torch, self.mask, s, self.documents[i])
            self.pairs += allowed.sum().item() * kv * rep
            for j in range(kv):
                self.head(i, j, allowed)

    def head(self, i, j, allowed):
        torch, root = self.torch, self.q.shape[-1] ** 0.5
        k, v = self.k[i, j].float(), self.v[i, j].float()
        dk, dv = torch.zeros_like(k), torch.zeros_like(v)
        for r in range(self.q.shape[3]):
            q = self.q[i, :, j, r].float()
            do = self.do[i, :, j, r].float()
            s = q @ k / root
            if self.mask == "capped":
                s = 20 * torch.tanh(s / 20)
            if self.mask == "slopes":
                s += self.slopes(j * self.q.shape[3] + r)
            s = s.masked_fill(~allowed, -math.inf)
            lse = torch.logsumexp(s, 1)
            p = torch.exp(s - lse[:, None])
            o = p @ v.T
            delta = (o * do).sum(1)
            ds = (do @ v - delta[:, None]) * p / root
            self.lse[i, :, j, r], self.delta[i, :, j, r] = lse, -delta
            self.want["o"][i, :, j, r] = o
            self.want["dq"][i, :, j, r] = ds @ k.T
            dk += q.T @ ds
            dv += do.T @ p
        self.want["dk"][i, j], self.want["dv"][i, j] = dk, dv

    def slopes(self, head):
        """ALiBi's bias of one head."""
        at = self.torch.arange(self.q.shape[1], device="cuda")
        heads = self.q.shape[2] * self.q.shape[3]
        return (at[None, :] - at[:, None]) * 2.0 ** (-8 * (head + 1) / heads)

    def operands(self, kernel):
        docs = [self.documents, self.documents.clone()] \
            if self.mask == "documents" else []
        backward = [self.q, self.k, self.v, self.lse, self.delta, self.do]
        return {"fwd": ([self.q, self.k, self.v] + docs,
                        [self.m, self.l, self.o]),
                "dq": (backward + docs, [self.dq]),
                "dkv": (backward + docs, [self.dk, self.dv]),
                "both": (backward + docs,
                         [self.dk, self.dv, self.dqf, self.turns])}[kernel]

    def error(self, name):
        got = self.m + self.torch.log(self.l) if name == "lse" \
            else getattr(self, name)
        want = self.lse if name == "lse" else self.want[name.rstrip("f")]
        got, want = got.double(), want.double()
        return ((got - want).norm() / want.norm()).item()


# ----------------------------------------------------------------------- run


def wait(torch, what):
    """A kernel that hangs must not hang the run."""
    event, start = torch.cuda.Event(), time.monotonic()
    event.record()
    while not event.query():
        if time.monotonic() - start > 6:
            print(f"attention.py: error: {what} does not end", flush=True)
            os._exit(1)
        time.sleep(0.001)


def check(torch, tensors, name, kernel):
    """Errors of the results, and whether all is well."""
    inputs, results = tensors.operands(name)
    runs = []
    for _ in range(2):
        for t in results:
            t.fill_(math.nan if t.is_floating_point() else 0)
        kernel.bind(inputs + results)
        kernel.launch()
        wait(torch, name)
        runs.append([t.clone().view(torch.uint8) for t in results])
    same = all(torch.equal(x, y) for x, y in zip(*runs))
    names = {"fwd": ("o", "lse"), "dq": ("dq",), "dkv": ("dk", "dv"),
             "both": ("dk", "dv", "dqf")}[name]
    same &= not tensors.turns.any().item()
    errors = [tensors.error(n) for n in names]
    good = same and all(e <= BOUND for e in errors)  # a NaN is not
    text = " ".join(f"{n} {e:.1e}" for n, e in zip(names, errors))
    return good, text + ("" if same else " (two runs differ)")


def timed(torch, launch):
    def mean():
        start = torch.cuda.Event(enable_timing=True)
        end = torch.cuda.Event(enable_timing=True)
        start.record()
        for _ in range(20):
            launch()
        end.record()
        end.synchronize()
        return start.elapsed_time(end) / 20

    for _ in range(3):
        launch()
    return min(mean(), mean())


def peer_operands(torch, tensors):
    """q, k, v and a cotangent as [batch, heads, seq, hd]."""
    b, s, kv, rep, hd = tensors.q.shape
    q = tensors.q.permute(0, 2, 3, 1, 4).reshape(b, kv * rep, s, hd)
    g = tensors.do.permute(0, 2, 3, 1, 4).reshape(b, kv * rep, s, -1)
    k, v = (t.permute(0, 1, 3, 2) for t in (tensors.k, tensors.v))
    q, k, v = (t.contiguous().requires_grad_() for t in (q, k, v))
    return q, k, v, g


def time_both_ways(torch, forward, q, k, v, g):
    o = forward(q, k, v)
    with torch.no_grad():
        ahead = timed(torch, lambda: forward(q, k, v))
    back = timed(torch, lambda: torch.autograd.grad(
        o, (q, k, v), g, retain_graph=True))
    return ahead, back


def time_cudnn(torch, tensors):
    from torch.nn.attention import SDPBackend, sdpa_kernel

    def forward(q, k, v):
        return torch.nn.functional.scaled_dot_product_attention(
            q, k, v, is_causal=True, enable_gqa=True)

    with sdpa_kernel(SDPBackend.CUDNN_ATTENTION):
        return time_both_ways(torch, forward, *peer_operands(torch, tensors))


def time_flex(torch, tensors):
    from torch.nn.attention.flex_attention import (create_block_mask,
                                                   flex_attention)
    docs, s = tensors.documents, tensors.q.shape[1]
    mask = create_block_mask(
        lambda b, h, row, column: (docs[b, row] == docs[b, column]) &
        (column <= row), docs.shape[0], None, s, s, device="cuda")
    fast = torch.compile(flex_attention)

    def forward(q, k, v):
        return fast(q, k, v, block_mask=mask, enable_gqa=True)

    return time_both_ways(torch, forward, *peer_operands(torch, tensors))


PEERS = {"causal": ("cuDNN", time_cudnn), "documents": ("Flex", time_flex)}


def peer_times(torch, tensors):
    """Those of the peer, or why there are none."""
    who, peer = PEERS[tensors.mask]
    try:
        return [(who, *peer(torch, tensors))]
    except RuntimeError as e:
        print(f"  {who:6} {str(e).splitlines()[0][:100]}")
        return []


def print_times(torch, case, tensors, kernels):
    """A forward has two products, a backward five."""
    if tensors.q.shape[1] < LONG:
        return
    hd, vd = tensors.q.shape[-1], tensors.do.shape[-1]
    ahead = 2 * (hd + vd) * tensors.pairs / 1e9
    back = 2 * (3 * hd + 2 * vd) * tensors.pairs / 1e9
    t = {n: timed(torch, k.launch) for n, k in kernels.items()}
    two = t["fwd"], t["dq"] + t["dkv"] if "dq" in t else 0
    rows = [("ours", t["fwd"], t.get("both", two[1]))]
    if "both" in t:
        rows += [("apart", *two)]
    if tensors.mask in PEERS:
        rows += peer_times(torch, tensors)
    for who, first, second in rows:
        text = f"  {who:6} forward {first:.3f} ms {ahead / first:.0f}"
        if second:
            text += f", backward {second:.3f} ms {back / second:.0f}"
        print(text + " TFLOP/s", flush=True)


def run(names, with_times):
    import torch
    torch.zeros(1, device="cuda")
    torch.manual_seed(time.time_ns() % 2 ** 31)
    driver, bad = open_driver(), 0
    for case in names or CASES:
        tensors, kernels = Tensors(torch, case), load(driver, case)
        rows = [check(torch, tensors, n, k) for n, k in kernels.items()]
        good = all(r[0] for r in rows)
        bad += not good
        print(f"{'ok' if good else 'FAILED':7}{case:18}"
              f"{', '.join(r[1] for r in rows)}", flush=True)
        if with_times:
            print_times(torch, case, tensors, kernels)
    return 1 if bad else 0


def main():
    p = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    commands = p.add_subparsers(dest="command", required=True)
    maker = commands.add_parser("make", help="compile the kernels")
    maker.add_argument("build")
    maker.add_argument("dir")
    runner = commands.add_parser("run", help="run them where a GPU is")
    runner.add_argument("--time", action="store_true")
    runner.add_argument("cases", nargs="*", metavar="CASE",
                        help=", ".join(CASES))
    a = p.parse_args()
    for case in a.cases if a.command == "run" else []:
        if case not in CASES:
            p.error(f"no case '{case}'; there are {', '.join(CASES)}")
    if a.command == "make":
        make(a.build, a.dir)
        return 0
    return run(a.cases, a.time)


if __name__ == "__main__":
    sys.exit(main())
