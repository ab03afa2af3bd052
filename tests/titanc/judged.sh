# usage: judged.sh TITANC MODEL PLANS OUT: plans that --check and a compilation
# refuse in the same words, with the same code
for p in turns name matmul offloaded gathered unused late two others beside; do
    $1 $2 $3 --plan $p --config debug --target sm_90a --check > $4.check 2>&1
    checked=$?
    $1 $2 $3 --plan $p --config debug -o $4.ptx > $4.made 2>&1
    made=$?
    cmp $4.check $4.made && test $checked = $made && echo "$p: $made"
    head -n 1 $4.check
done
