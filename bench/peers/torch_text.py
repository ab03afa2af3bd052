#!/usr/bin/env python3
"""Trains the Llama of a safetensors file on a text's bytes, in plain PyTorch.

    torch_text.py WEIGHTS TEXT --dtype bf16 --batch 8 --seq 256 ...

What a training program of models/llama3.tt does with `--init-from` and `--data`
on the same bytes: rows of a step lie one after the other and wrap, AdamW with
decay on every parameter, clipping, warm-up, level, linear way down.  Shapes come
from the weights; only the size of a head has to be said.  bf16 is autocast over
f32 weights.  One JSON line a step: step, loss, grad_norm, lr.
"""
import argparse
import json
import struct
import sys

import torch
import torch.nn.functional as F

DTYPES = {"F32": torch.float32, "BF16": torch.bfloat16}


def read_safetensors(path):
    with open(path, "rb") as f:
        size, = struct.unpack("<Q", f.read(8))
        header = json.loads(f.read(size))
        data = bytearray(f.read())
    header.pop("__metadata__", None)
    return {name: torch.frombuffer(
        data, dtype=DTYPES[t["dtype"]], offset=t["data_offsets"][0],
        count=max((t["data_offsets"][1] - t["data_offsets"][0])
                  // DTYPES[t["dtype"]].itemsize, 1)).reshape(t["shape"]).float()
        for name, t in header.items()}


def rope(x, theta):
    """x is [batch, heads, seq, hd]; feature i and i + hd / 2 are a pair."""
    half = x.shape[-1] // 2
    freq = theta ** (-torch.arange(half, device=x.device) / half)
    angle = torch.arange(x.shape[2], device=x.device)[:, None] * freq
    c, s = angle.cos(), angle.sin()
    a, b = x.float().split(half, -1)
    return torch.cat((a * c - b * s, a * s + b * c), -1).to(x.dtype)


def attention(p, x, hd, theta):
    b, s, _ = x.shape
    q, k, v = (F.linear(x, p[f"self_attn.{n}_proj.weight"]).view(b, s, -1, hd)
               .transpose(1, 2) for n in "qkv")
    o = F.scaled_dot_product_attention(rope(q, theta), rope(k, theta), v,
                                       is_causal=True, enable_gqa=True)
    return F.linear(o.transpose(1, 2).reshape(b, s, -1),
                    p["self_attn.o_proj.weight"])


def norm(x, w):
    return F.rms_norm(x.float(), (x.shape[-1],), w, 1e-5).to(x.dtype)


def block(p, x, hd, theta):
    x = x + attention(p, norm(x, p["input_layernorm.weight"]), hd, theta)
    y = norm(x, p["post_attention_layernorm.weight"])
    gate, up = (F.linear(y, p[f"mlp.{n}_proj.weight"]) for n in ("gate", "up"))
    return x + F.linear(F.silu(gate) * up, p["mlp.down_proj.weight"])


class Model:
    def __init__(self, tensors, hd, theta):
        self.p = {n: t.to("cuda").requires_grad_() for n, t in tensors.items()}
        self.hd, self.theta = hd, theta
        numbers = {int(n.split(".")[2]) for n in tensors if ".layers." in n}
        self.layers = [f"model.layers.{i}." for i in sorted(numbers)]

    def loss(self, x, y):
        table = self.p["model.embed_tokens.weight"]
        h = F.embedding(x, table)
        for at in self.layers:
            h = block({n[len(at):]: t for n, t in self.p.items()
                       if n.startswith(at)}, h, self.hd, self.theta)
        h = norm(h, self.p["model.norm.weight"])
        logits = F.linear(h, self.p.get("lm_head.weight", table))
        return F.cross_entropy(logits.float().flatten(0, 1), y.flatten())


def rows(text, step, batch, seq):
    """Inputs and labels of a step, from 1."""
    first = (step - 1) * batch * seq
    at = first + torch.arange(batch)[:, None] * seq + torch.arange(seq + 1)
    both = text[at % len(text)].long().to("cuda")
    return both[:, :-1], both[:, 1:]


def rate(a, step):
    """stdlib/optim.tt's warmup_stable_decay, down to 0."""
    w = min(a.warmup, a.of)
    d = min(round(a.of * a.decay_ratio), a.of - w)
    x = min(max((step - (a.of + 1 - d)) / max(d, 1), 0), 1)
    return a.lr * min(step / max(w, 1), 1) * (1 - x if d else 1)


def train(a):
    model = Model(read_safetensors(a.weights), a.hd, a.theta)
    with open(a.text, "rb") as f:
        text = torch.frombuffer(bytearray(f.read()), dtype=torch.uint8)
    params = list(model.p.values())
    opt = torch.optim.AdamW(params, betas=(0.9, 0.95), eps=1e-8,
                            weight_decay=a.decay, fused=True)
    for step in range(1, a.steps + 1):
        opt.param_groups[0]["lr"] = rate(a, step)
        x, y = rows(text, step, a.batch, a.seq)
        with torch.autocast("cuda", torch.bfloat16, enabled=a.dtype == "bf16"):
            loss = model.loss(x, y)
        loss.backward()
        clipped = torch.nn.utils.clip_grad_norm_(params, a.clip)
        opt.step()
        opt.zero_grad()
        yield step, loss.detach(), clipped.detach()


def main():
    p = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    p.add_argument("weights")
    p.add_argument("text")
    p.add_argument("--dtype", choices=("f32", "bf16"), default="f32")
    for name, value in (("batch", 8), ("seq", 256), ("hd", 64), ("steps", 300),
                        ("of", 300), ("warmup", 30)):
        p.add_argument("--" + name, type=int, default=value)
    for name, value in (("lr", 6e-4), ("decay-ratio", 0.2), ("decay", 0.1),
                        ("clip", 1.0), ("theta", 500000.0)):
        p.add_argument("--" + name, type=float, default=value)
    a = p.parse_args()
    logged = list(train(a))  # read at the end: a step waits for none
    for step, loss, grad_norm in logged:
        print(json.dumps({"step": step, "loss": loss.item(),
                          "grad_norm": grad_norm.item(), "lr": rate(a, step)}))
    return 0


if __name__ == "__main__":
    sys.exit(main())
