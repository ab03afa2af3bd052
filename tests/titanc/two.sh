# usage: two.sh TITANC MODEL PLANS: what steps of two cards take, a JSON line each
for p in fsdp dp tp; do
    $1 $2 $3 --plan $p --target sm_90a --config 1b --dtype bf16 -D batch=4 -D seq=8192 --stats=json
done
$1 $2 $3 --plan fsdp --target sm_90a --config 8b --dtype bf16 -D batch=2 -D seq=8192 --stats=json
