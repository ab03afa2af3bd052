#!/bin/sh
# cached.sh TITANC SOURCE DIR MODEL SIZES...: what a model makes with its cache is what it makes when it reads the whole
# text anew for each token; texts of several lengths, more than rows, longer than chunks, greedy and drawn.
set -e
titanc=$1 source=$2 dir=$3 model=$4
shift 4
mkdir -p "$dir"
cd "$dir"
sed '/^entry generate/,$d' "$source/models/$model.tt" > naive.tt
sed "s/MODEL/$model/" "$source/tests/generate/Inputs/naive.tt" >> naive.tt
sizes="--config debug --dtype f32 -D batch=8 -D seq=48 -D embed=32 -D hd=8 -D ff=64 -D layer=2 -D lr=5e-3 -D steps=60 -D row=3 -D chunk=7 $*"
"$titanc" "$source/models/$model.tt" $sizes --entries all -o all
"$titanc" naive.tt $sizes --entries generate -o naive
./all --data "$source/README.md" --export weights --quiet
for how in "--temperature 0" "--seed 1" "--temperature 0.8 --top-k 5 --seed 2" "--temperature 1.2 --top-p 0.8 --seed 3"; do
    for program in all naive; do
        ./$program --generate --init-from weights --quiet --json --max-tokens 16 $how --prompt "The compiler " \
            --prompt a --prompt "A model is written as mathematics" --prompt "x = " > $program.json
    done
    cmp all.json naive.json
done
