"""Plans for N GPUs as text: each parallelism over all of them, and two beside each other, halves of two."""

SCHEDULES = {"gpipe": "gpipe", "1f1b": "1f1b", "interleaved": "interleaved_1f1b", "looped": "looped_bfs", "zero": "interleaved_zero_bubble",
             "zbv": "zbv_zero_bubble"}
SPLIT = "shard embed over dp for param, grad, state"
BATCH = "shard batch over dp"
TENSOR = "shard kv, ff, vocab over tp"
SEQUENCE = "shard seq over tp for residual"


def plan(name, of, mesh, *rules):
    axes = ", ".join(f"{axis} = {n}" for axis, n in mesh.items())
    return "\n".join([f"plan {name} of {of} {{", f"    mesh {axes}", *(f"    {r}" for r in rules), "}"])


def alone(n):
    """Those that `ranks` compares with one GPU."""
    yield plan("dp", "pretrain", {"dp": n}, BATCH)
    yield plan("fsdp", "pretrain", {"dp": n}, BATCH, SPLIT)
    yield plan("tp", "pretrain", {"tp": n}, TENSOR)
    yield plan("cp", "pretrain", {"cp": n}, "shard seq over cp")
    yield plan("ring", "pretrain", {"cp": n}, "shard seq over cp order zigzag", "gather ctx by ring")
    yield plan("fsdp_float8", "pretrain", {"dp": n}, BATCH, SPLIT, "float8 attention, swiglu")
    for short, name in SCHEDULES.items():
        yield plan(f"pp_{short}", "pretrain", {"pp": n}, f"shard layer over pp schedule {name}")


def together(n):
    half = n // 2
    yield plan("dp_tp", "pretrain", {"dp": half, "tp": 2}, BATCH, TENSOR)
    yield plan("fsdp_tp", "pretrain", {"dp": half, "tp": 2}, BATCH, TENSOR, SEQUENCE, SPLIT)
    yield plan("fsdp_tp_plain", "pretrain", {"dp": half, "tp": 2}, BATCH, TENSOR, SPLIT)
    yield plan("fsdp_cp", "pretrain", {"dp": half, "cp": 2}, BATCH, "shard seq over cp", SPLIT)
    yield plan("fsdp_ring", "pretrain", {"dp": half, "cp": 2}, BATCH, "shard seq over cp order zigzag", "gather ctx by ring", SPLIT)
    yield plan("pp_fsdp", "pretrain", {"pp": 2, "dp": half}, BATCH, SPLIT, "shard layer over pp schedule 1f1b")
    yield plan("pp_dp", "pretrain", {"pp": 2, "dp": half}, BATCH, "shard layer over pp schedule interleaved_1f1b chunks 2")


def routed(n):
    """Of the model with experts."""
    yield plan("gpus_ep", "fit", {"ep": n}, "shard batch over ep", "shard expert over ep bound 2 for param, grad, state")
    if n > 2:
        yield plan("gpus_fsdp_ep", "fit", {"dp": n // 2, "ep": 2}, "shard batch over (dp ep)",
                   "shard expert over ep bound 2 for param, grad, state", SPLIT)


def llama_text(n):
    return "\n".join([*alone(n), *(together(n) if n > 2 else [])]) + "\n"


def routed_text(n):
    return "\n".join(routed(n)) + "\n"
