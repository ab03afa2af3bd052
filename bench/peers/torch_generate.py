#!/usr/bin/env python3
"""Greedy decoding of a Llama by transformers: tokens a second of steps behind a prompt of 128 tokens.

    torch_generate.py 1b,ROWS,MODE ...       MODE: eager, or compiled (a static cache, CUDA graphs)

Weights are random, bf16; the cache has room for 2048 positions.  Each step reads one token a row and takes the
likeliest next one; nothing waits for the host but the end of the run.
"""
import sys
import time

import torch
from transformers import LlamaConfig, LlamaForCausalLM, StaticCache

SIZES = {
    "1b": dict(hidden_size=2048, num_hidden_layers=16, num_attention_heads=32, num_key_value_heads=8, head_dim=64,
               intermediate_size=8192, tie_word_embeddings=True),
    "8b": dict(hidden_size=4096, num_hidden_layers=32, num_attention_heads=32, num_key_value_heads=8, head_dim=128,
               intermediate_size=14336, tie_word_embeddings=False),
}
PROMPT, CONTEXT, WARM, STEPS = 128, 2048, 5, 128


def load(name):
    config = LlamaConfig(vocab_size=128256, rope_theta=500000.0, max_position_embeddings=8192, **SIZES[name])
    with torch.device("cuda"):
        torch.set_default_dtype(torch.bfloat16)
        model = LlamaForCausalLM(config).eval()
        torch.set_default_dtype(torch.float32)
    return model


def run(name, rows, mode):
    torch.manual_seed(0)
    model = load(name)
    cache = StaticCache(config=model.config, max_cache_len=CONTEXT)

    def forward(tokens, positions):
        logits = model(input_ids=tokens, cache_position=positions, position_ids=positions[None], past_key_values=cache,
                       use_cache=True).logits
        return logits[:, -1].argmax(-1, keepdim=True)

    step = torch.compile(forward, mode="reduce-overhead") if mode == "compiled" else forward
    with torch.inference_mode():
        prompt = torch.randint(0, 256, (rows, PROMPT), device="cuda")
        token = forward(prompt, torch.arange(PROMPT, device="cuda"))
        position = torch.tensor([PROMPT], device="cuda")
        for i in range(WARM + STEPS):
            if i == WARM:
                torch.cuda.synchronize()
                begin = time.time()
            token = step(token, position).clone()
            position += 1
        torch.cuda.synchronize()
        seconds = time.time() - begin
    print(f"{name}, {rows} rows, {mode}: {rows * STEPS / seconds:.1f} tokens/s, {1e3 * seconds / STEPS:.3f} ms a step",
          flush=True)


for case in sys.argv[1:]:
    name, rows, mode = case.split(",")
    run(name, int(rows), mode)
    torch.cuda.empty_cache()
