"""gathered.py MESH: writes plans that keep what turns gather, for each recipe: MESH_RECIPE alone, and with _kept, _first and so on."""
import sys

WHERE = {"dp": ["mesh dp = 2", "shard batch over dp", "shard embed over dp for param, grad, state"],
         "tp": ["mesh tp = 2", "shard seq over tp", "shard embed over tp for param, grad, state"],
         "both": ["mesh dp = 2, tp = 2", "shard batch over dp", "shard kv, ff over tp",
                  "shard embed over dp for param, grad, state"],
         "pp": ["mesh pp = 2, dp = 2", "shard batch over dp", "shard layer over pp schedule 1f1b microbatch 1",
                "shard embed over dp for param, grad, state"]}
RECIPES = {"bf16": [], "tensorwise": ["float8 attention, swiglu"], "rowwise": ["float8 attention, swiglu recipe rowwise"],
           "gw_hp": ["float8 attention, swiglu recipe rowwise_with_gw_hp"], "blockwise": ["float8 attention, swiglu recipe blockwise"],
           "mxfp8": ["mx attention, swiglu recipe mxfp8"]}
RULES = {"": [], "_kept": ["remat layer gathered param"], "_first": ["remat repeat none gathered param first 1"],
         "_full": ["remat layer full gathered param"], "_some": ["remat layer gathered attention.wq, swiglu.wd first 1"],
         "_budget": ["remat repeat budget 1 GiB"]}

mesh = sys.argv[1]
for recipe, quantised in RECIPES.items():
    for rule, kept in RULES.items():
        print(f"plan {mesh}_{recipe}{rule} of pretrain {{")
        print("".join(f"    {line}\n" for line in WHERE[mesh] + quantised + kept) + "}")
