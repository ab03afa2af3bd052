#!/usr/bin/env python3
"""Peer benchmark: one-GPU GPT-2 training step in plain PyTorch.

The model is that of models/gpt2.tt: learned positions, LayerNorm with biases,
fused queries, keys and values, GELU by tanh, a head tied to the embedding, no
dropout.  The step is torch_llama.py's: AdamW fused, gradients clipped at 1.0,
float32 parameters under torch.autocast in bf16; blocks, and head with loss, are
compiled, or the model as one.

--vocab 50304 is what people do with the 50,257 tokens of GPT-2, so that rows
of logits are whole units of the library.  Batches never have the tokens that
are added.

One JSON line per result goes to stdout and, with --jsonl, to a file.
"""
import argparse

import torch_llama as base
import torch
import torch.nn as nn
import torch.nn.functional as F

SIZES = {"124m": (768, 12, 12), "355m": (1024, 24, 16), "774m": (1280, 36, 20), "1558m": (1600, 48, 25)}
TOKENS = 50257


class Block(nn.Module):
    def __init__(self, dim, heads):
        super().__init__()
        self.heads = heads
        self.ln_1, self.ln_2 = nn.LayerNorm(dim), nn.LayerNorm(dim)
        self.attn, self.proj = nn.Linear(dim, 3 * dim), nn.Linear(dim, dim)
        self.fc, self.out = nn.Linear(dim, 4 * dim), nn.Linear(4 * dim, dim)

    def forward(self, x):
        b, s, d = x.shape
        q, k, v = (y.view(b, s, self.heads, -1).transpose(1, 2)
                   for y in self.attn(self.ln_1(x)).split(d, dim=-1))
        y = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        x = x + self.proj(y.transpose(1, 2).reshape(b, s, d))
        return x + self.out(F.gelu(self.fc(self.ln_2(x)), approximate="tanh"))


class Gpt2(nn.Module):
    def __init__(self, size, vocab, seq):
        super().__init__()
        dim, layers, heads = SIZES[size]
        self.wte, self.wpe = nn.Embedding(vocab, dim), nn.Embedding(seq, dim)
        self.h = nn.ModuleList(Block(dim, heads) for _ in range(layers))
        self.ln_f = nn.LayerNorm(dim)
        for name, p in self.named_parameters():
            if name.endswith("bias"):
                nn.init.zeros_(p)
            elif p.dim() == 2:
                deep = (2 * layers) ** -0.5 if "proj" in name or "out" in name else 1
                nn.init.normal_(p, std=0.02 * deep)

    def loss(self, x, labels):
        logits = F.linear(self.ln_f(x), self.wte.weight)
        return F.cross_entropy(logits.flatten(0, 1).float(), labels.flatten())

    def forward(self, tokens, labels):
        x = self.wte(tokens) + self.wpe.weight[: tokens.shape[1]]
        for block in self.h:
            x = block(x)
        return self.loss(x, labels)


def main():
    ap = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    ap.add_argument("--size", choices=sorted(SIZES), default="124m")
    ap.add_argument("--vocab", type=int, default=TOKENS)
    ap.add_argument("--batch", type=int, default=16)
    ap.add_argument("--seq", type=int, default=1024)
    ap.add_argument("--steps", type=int, default=20)
    ap.add_argument("--warmup", type=int, default=4)
    ap.add_argument("--compile", choices=["none", "block", "model"], default="block")
    ap.add_argument("--compile-mode", default=None)
    ap.add_argument("--jsonl")
    args = ap.parse_args()
    dev = torch.device("cuda", 0)
    base.first_alloc(dev)
    torch.manual_seed(1234)
    model = Gpt2(args.size, args.vocab, args.seq).to(dev)
    params = list(model.parameters())
    opt = torch.optim.AdamW(params, lr=6e-4, betas=(0.9, 0.95), eps=1e-8, weight_decay=0.1, fused=True)
    fwd = model
    if args.compile == "block":
        for i, block in enumerate(model.h):
            model.h[i] = torch.compile(block, fullgraph=True, mode=args.compile_mode)
        model.loss = torch.compile(model.loss, mode=args.compile_mode)
    if args.compile == "model":
        fwd = torch.compile(model, mode=args.compile_mode)
    batches = base.synthetic_batches(4, args.batch, args.seq, TOKENS, dev)
    amp = lambda: torch.autocast("cuda", dtype=torch.bfloat16)
    host = base.train_loop(fwd, opt, params, batches, args.steps, args.warmup, 1.0, amp)
    tokens = args.batch * args.seq / host["step_ms_median"] * 1e3
    base.emit(dict(host, bench="torch_gpt2", size=args.size, vocab=args.vocab, batch=args.batch, seq=args.seq,
                   compile=args.compile, tokens_per_s=round(tokens, 1), env=base.env_info(), ok=True), args.jsonl)


if __name__ == "__main__":
    main()
