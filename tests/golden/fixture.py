#!/usr/bin/env python3
"""Makes a golden case's inputs: weights, config.json and tokens.

    fixture.py CASE DIR

Standard library only.  Weights are a function of tensor name and element
index (splitmix64), so that nothing large is kept in the tree and every
machine makes the same bytes.
"""
import json
import os
import struct
import sys

MASK = (1 << 64) - 1


def splitmix64(x):
    x = (x + 0x9E3779B97F4A7C15) & MASK
    x = ((x ^ (x >> 30)) * 0xBF58476D1CE4E5B9) & MASK
    x = ((x ^ (x >> 27)) * 0x94D049BB133111EB) & MASK
    return x ^ (x >> 31)


def name_key(name):
    key = 0xCBF29CE484222325
    for byte in name.encode():
        key = ((key ^ byte) * 0x100000001B3) & MASK
    return key


def uniform(name, n, scale, shift=0.0):
    """n floats in shift +- scale, exactly representable in f32."""
    key = name_key(name)
    out = []
    for i in range(n):
        u = (splitmix64(key ^ i) >> 40) / (1 << 24)
        out.append(struct.unpack("<f", struct.pack(
            "<f", shift + scale * (2 * u - 1)))[0])
    return out


def gated(p, d, ff, names=("gate_proj", "up_proj", "down_proj")):
    """Two maps into the inner width, and one back."""
    gate, up, down = (f"{p}{name}.weight" for name in names)
    yield gate, [ff, d], 0.15, 0.0
    yield up, [ff, d], 0.15, 0.0
    yield down, [d, ff], 0.15, 0.0


def dense(c, p):
    yield from gated(p + "mlp.", c["hidden_size"], c["intermediate_size"])


def qwen_experts(c, p):
    d, p = c["hidden_size"], p + "mlp."
    yield p + "gate.weight", [c["num_experts"], d], 0.5, 0.0
    for e in range(c["num_experts"]):
        yield from gated(f"{p}experts.{e}.", d, c["moe_intermediate_size"])


def mixtral_experts(c, p):
    d, p = c["hidden_size"], p + "block_sparse_moe."
    yield p + "gate.weight", [c["num_local_experts"], d], 0.5, 0.0
    for e in range(c["num_local_experts"]):
        yield from gated(f"{p}experts.{e}.", d, c["intermediate_size"],
                         ("w1", "w3", "w2"))


def decoder_tensors(c, mlp=dense, head_norms=False):
    """Layers of attention and of `mlp`, as Llama names them."""
    hd = c["head_dim"]
    q, kv = c["num_attention_heads"] * hd, c["num_key_value_heads"] * hd
    d, v = c["hidden_size"], c["vocab_size"]
    yield "model.embed_tokens.weight", [v, d], 0.5, 0.0
    for i in range(c["num_hidden_layers"]):
        p = f"model.layers.{i}."
        yield p + "input_layernorm.weight", [d], 0.2, 1.0
        yield p + "self_attn.q_proj.weight", [q, d], 0.15, 0.0
        yield p + "self_attn.k_proj.weight", [kv, d], 0.15, 0.0
        yield p + "self_attn.v_proj.weight", [kv, d], 0.15, 0.0
        yield p + "self_attn.o_proj.weight", [d, q], 0.15, 0.0
        if head_norms:
            yield p + "self_attn.q_norm.weight", [hd], 0.2, 1.0
            yield p + "self_attn.k_norm.weight", [hd], 0.2, 1.0
        yield p + "post_attention_layernorm.weight", [d], 0.2, 1.0
        yield from mlp(c, p)
    yield "model.norm.weight", [d], 0.2, 1.0
    if not c["tie_word_embeddings"]:
        yield "lm_head.weight", [v, d], 0.15, 0.0


def qwen3_tensors(c):
    return decoder_tensors(c, head_norms=True)


def qwen3_moe_tensors(c):
    return decoder_tensors(c, qwen_experts, head_norms=True)


def mixtral_tensors(c):
    return decoder_tensors(c, mixtral_experts)


def gpt2_tensors(c):
    d, v, n = c["n_embd"], c["vocab_size"], c["n_positions"]
    ff = c["n_inner"]
    yield "transformer.wte.weight", [v, d], 0.15, 0.0
    yield "transformer.wpe.weight", [n, d], 0.1, 0.0
    for i in range(c["n_layer"]):
        p = f"transformer.h.{i}."
        for norm in ("ln_1", "ln_2"):
            yield p + norm + ".weight", [d], 0.2, 1.0
            yield p + norm + ".bias", [d], 0.1, 0.0
        yield p + "attn.c_attn.weight", [d, 3 * d], 0.15, 0.0
        yield p + "attn.c_attn.bias", [3 * d], 0.1, 0.0
        yield p + "attn.c_proj.weight", [d, d], 0.15, 0.0
        yield p + "attn.c_proj.bias", [d], 0.1, 0.0
        yield p + "mlp.c_fc.weight", [d, ff], 0.15, 0.0
        yield p + "mlp.c_fc.bias", [ff], 0.1, 0.0
        yield p + "mlp.c_proj.weight", [ff, d], 0.15, 0.0
        yield p + "mlp.c_proj.bias", [d], 0.1, 0.0
    yield "transformer.ln_f.weight", [d], 0.2, 1.0
    yield "transformer.ln_f.bias", [d], 0.1, 0.0


def matrix(name, *shape):
    return name + ".weight", list(shape), 0.15, 0.0


def norm(name, d):
    return name + ".weight", [d], 0.2, 1.0


def mla_tensors(p, c):
    d, heads = c["hidden_size"], c["num_attention_heads"]
    low, turned = c["kv_lora_rank"], c["qk_rope_head_dim"]
    nope, val = c["qk_nope_head_dim"], c["v_head_dim"]
    if c["q_lora_rank"]:
        yield matrix(p + "q_a_proj", c["q_lora_rank"], d)
        yield norm(p + "q_a_layernorm", c["q_lora_rank"])
        yield matrix(p + "q_b_proj", heads * (nope + turned), c["q_lora_rank"])
    else:
        yield matrix(p + "q_proj", heads * (nope + turned), d)
    yield matrix(p + "kv_a_proj_with_mqa", low + turned, d)
    yield norm(p + "kv_a_layernorm", low)
    yield matrix(p + "kv_b_proj", heads * (nope + val), low)
    yield matrix(p + "o_proj", d, heads * val)


def deepseek_tensors(c):
    d, v, experts = c["hidden_size"], c["vocab_size"], c["n_routed_experts"]
    ff = c["moe_intermediate_size"]
    yield "model.embed_tokens.weight", [v, d], 0.5, 0.0
    for i in range(c["num_hidden_layers"]):
        p = f"model.layers.{i}."
        yield norm(p + "input_layernorm", d)
        yield from mla_tensors(p + "self_attn.", c)
        yield norm(p + "post_attention_layernorm", d)
        if i < c["first_k_dense_replace"]:
            yield from gated(p + "mlp.", d, c["intermediate_size"])
            continue
        yield matrix(p + "mlp.gate", experts, d)
        yield p + "mlp.gate.e_score_correction_bias", [experts], 0.05, 0.0
        for e in range(experts):
            yield from gated(p + f"mlp.experts.{e}.", d, ff)
        yield from gated(p + "mlp.shared_experts.", d,
                                  c["n_shared_experts"] * ff)
    yield norm("model.norm", d)
    yield matrix("lm_head", v, d)


def gemma3_tensors(c):
    hd, d = c["head_dim"], c["hidden_size"]
    q, kv = c["num_attention_heads"] * hd, c["num_key_value_heads"] * hd
    norms = [name + "_layernorm.weight" for name in (
        "input", "post_attention", "pre_feedforward", "post_feedforward")]
    yield "model.embed_tokens.weight", [c["vocab_size"], d], 0.15, 0.0
    for i in range(c["num_hidden_layers"]):
        p = f"model.layers.{i}."
        for name in norms:
            yield p + name, [d], 0.2, 0.0
        yield matrix(p + "self_attn.q_proj", q, d)
        yield matrix(p + "self_attn.k_proj", kv, d)
        yield matrix(p + "self_attn.v_proj", kv, d)
        yield matrix(p + "self_attn.o_proj", d, q)
        yield p + "self_attn.q_norm.weight", [hd], 0.2, 0.0
        yield p + "self_attn.k_norm.weight", [hd], 0.2, 0.0
        yield from gated(p + "mlp.", d, c["intermediate_size"])
    yield "model.norm.weight", [d], 0.2, 0.0


def linear(name, out, into):
    yield matrix(name, out, into)
    yield name + ".bias", [out], 0.1, 0.0


def layernorm(name, d):
    yield norm(name, d)
    yield name + ".bias", [d], 0.1, 0.0


def vit_tensors(c):
    d, n, size = c["hidden_size"], c["image_size"], c["patch_size"]
    p, spots = "vit.embeddings.", (n // size) ** 2 + 1
    yield p + "cls_token", [1, 1, d], 0.5, 0.0
    yield p + "position_embeddings", [1, spots, d], 0.5, 0.0
    p += "patch_embeddings.projection"
    yield matrix(p, d, c["num_channels"], size, size)
    yield p + ".bias", [d], 0.1, 0.0
    for i in range(c["num_hidden_layers"]):
        p = f"vit.encoder.layer.{i}."
        yield from layernorm(p + "layernorm_before", d)
        for name in ("query", "key", "value"):
            yield from linear(f"{p}attention.attention.{name}", d, d)
        yield from linear(p + "attention.output.dense", d, d)
        yield from layernorm(p + "layernorm_after", d)
        yield from linear(p + "intermediate.dense", c["intermediate_size"], d)
        yield from linear(p + "output.dense", d, c["intermediate_size"])
    yield from layernorm("vit.layernorm", d)
    yield from linear("classifier", len(c["id2label"]), d)


LLAMA = {
    "architectures": ["LlamaForCausalLM"], "model_type": "llama",
    "vocab_size": 256, "hidden_size": 48, "intermediate_size": 112,
    "num_hidden_layers": 2, "num_attention_heads": 4,
    "num_key_value_heads": 2, "head_dim": 16, "rms_norm_eps": 1e-5,
    "rope_theta": 10000.0, "tie_word_embeddings": False,
    "max_position_embeddings": 32, "hidden_act": "silu",
    "attention_bias": False, "mlp_bias": False,
}
GPT2 = {
    "architectures": ["GPT2LMHeadModel"], "model_type": "gpt2",
    "vocab_size": 256, "n_embd": 48, "n_head": 3, "n_layer": 2,
    "n_positions": 32, "n_ctx": 32, "n_inner": 192,
    "layer_norm_epsilon": 1e-5, "activation_function": "gelu_new",
    "attn_pdrop": 0.0, "embd_pdrop": 0.0, "resid_pdrop": 0.0,
    "tie_word_embeddings": True,
}
QWEN3 = dict(
    LLAMA, architectures=["Qwen3ForCausalLM"], model_type="qwen3",
    rms_norm_eps=1e-6)
QWEN3_MOE = dict(
    QWEN3, architectures=["Qwen3MoeForCausalLM"], model_type="qwen3_moe",
    num_experts=8, num_experts_per_tok=3, moe_intermediate_size=40,
    norm_topk_prob=True, router_aux_loss_coef=0.01)
MIXTRAL = dict(
    LLAMA, architectures=["MixtralForCausalLM"], model_type="mixtral",
    num_local_experts=4, num_experts_per_tok=2, intermediate_size=56,
    router_aux_loss_coef=0.02)
DEEPSEEK = {
    "architectures": ["DeepseekV3ForCausalLM"], "model_type": "deepseek_v3",
    "vocab_size": 256, "hidden_size": 48, "intermediate_size": 80,
    "moe_intermediate_size": 24, "num_hidden_layers": 3,
    "first_k_dense_replace": 1, "num_attention_heads": 4,
    "num_key_value_heads": 4, "q_lora_rank": 24, "kv_lora_rank": 16,
    "qk_nope_head_dim": 16, "qk_rope_head_dim": 8, "v_head_dim": 12,
    "n_routed_experts": 8, "n_shared_experts": 2, "num_experts_per_tok": 2,
    "n_group": 4, "topk_group": 2, "norm_topk_prob": True,
    "routed_scaling_factor": 2.5, "scoring_func": "sigmoid",
    "topk_method": "noaux_tc", "rms_norm_eps": 1e-2, "rope_theta": 100.0,
    "rope_scaling": {
        "type": "yarn", "factor": 4.0, "beta_fast": 32, "beta_slow": 1,
        "mscale": 1.0, "mscale_all_dim": 0.7,
        "original_max_position_embeddings": 390},
    "max_position_embeddings": 256, "tie_word_embeddings": False,
    "attention_bias": False, "hidden_act": "silu",
    "num_nextn_predict_layers": 0, "pretraining_tp": 1,
}
MOONLIGHT = dict(
    DEEPSEEK, num_hidden_layers=2, q_lora_rank=None, n_group=1, topk_group=1,
    rope_scaling=None, rope_theta=10000.0, routed_scaling_factor=1.5,
    norm_topk_prob=False)
GEMMA3 = {
    "architectures": ["Gemma3ForCausalLM"], "model_type": "gemma3_text",
    "vocab_size": 256, "hidden_size": 48, "intermediate_size": 80,
    "num_hidden_layers": 5, "num_attention_heads": 4,
    "num_key_value_heads": 2, "head_dim": 16, "query_pre_attn_scalar": 12,
    "hidden_activation": "gelu_pytorch_tanh", "rms_norm_eps": 1e-6,
    "sliding_window": 8, "sliding_window_pattern": 3, "rope_theta": 100.0,
    "rope_local_base_freq": 1000.0,
    "rope_scaling": {"rope_type": "linear", "factor": 4.0},
    "max_position_embeddings": 128, "attention_bias": False,
    "attn_logit_softcapping": None, "final_logit_softcapping": None,
    "tie_word_embeddings": True, "pad_token_id": None,
}
VIT = {
    "architectures": ["ViTForImageClassification"], "model_type": "vit",
    "hidden_size": 48, "intermediate_size": 96, "num_hidden_layers": 2,
    "num_attention_heads": 3, "image_size": 12, "patch_size": 4,
    "num_channels": 3, "hidden_act": "gelu", "layer_norm_eps": 1e-3,
    "qkv_bias": True, "hidden_dropout_prob": 0.0,
    "attention_probs_dropout_prob": 0.0,
    "id2label": {str(i): str(i) for i in range(256)},
    "label2id": {str(i): i for i in range(256)},
}
CASES = {
    "llama": (LLAMA, decoder_tensors),
    "llama-tied": (dict(LLAMA, tie_word_embeddings=True), decoder_tensors),
    "llama-scaled": (dict(LLAMA, rope_scaling={
        "rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
        "original_max_position_embeddings": 32}), decoder_tensors),
    "gpt2": (GPT2, gpt2_tensors),
    "qwen3": (QWEN3, qwen3_tensors),
    "qwen3-tied": (dict(QWEN3, tie_word_embeddings=True), qwen3_tensors),
    "qwen3-moe": (QWEN3_MOE, qwen3_moe_tensors),
    "mixtral": (MIXTRAL, mixtral_tensors),
    "deepseek_v3": (DEEPSEEK, deepseek_tensors),
    "moonlight": (MOONLIGHT, deepseek_tensors),
    "gemma3": (GEMMA3, gemma3_tensors),
    "vit": (VIT, vit_tensors),
}
TOKENS = 1999  # no multiple of a batch: the sequence wraps


def tokens():
    """A sequence with structure, so that the loss falls."""
    key, out = name_key("tokens"), []
    for i in range(TOKENS):
        r = splitmix64(key ^ i)
        out.append((out[-1] * 5 + 7) % 256 if i and r % 4 else (r >> 8) % 256)
    return out


def write_safetensors(path, tensors):
    header, at, chunks = {}, 0, []
    for name, shape, scale, shift in tensors:
        n = 1
        for s in shape:
            n *= s
        data = struct.pack(f"<{n}f", *uniform(name, n, scale, shift))
        header[name] = {"dtype": "F32", "shape": shape,
                        "data_offsets": [at, at + len(data)]}
        at += len(data)
        chunks.append(data)
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    with open(path, "wb") as f:
        f.write(struct.pack("<Q", len(text)) + text + b"".join(chunks))


def main():
    case, folder = sys.argv[1:]
    config, tensors = CASES[case]
    os.makedirs(folder, exist_ok=True)
    with open(os.path.join(folder, "config.json"), "w") as f:
        json.dump(config, f, indent=2)
    write_safetensors(os.path.join(folder, "model.safetensors"),
                      tensors(config))
    with open(os.path.join(folder, "tokens.u16"), "wb") as f:
        f.write(struct.pack(f"<{TOKENS}H", *tokens()))


if __name__ == "__main__":
    main()
