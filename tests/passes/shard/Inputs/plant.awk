# Drops the first instruction that matches WHAT; its operand is used instead.
!gone && $0 ~ what {
    gone = 1
    made = $1
    match($0, /(all_reduce|all_gather|reduce_scatter|pending) %[A-Za-z0-9_.]+/)
    split(substr($0, RSTART, RLENGTH), words, " ")
    from = words[2]
    next
}
gone {
    line = ""
    rest = $0
    while ((i = index(rest, made)) > 0) {
        after = substr(rest, i + length(made), 1)
        whole = after !~ /[A-Za-z0-9_.]/
        line = line substr(rest, 1, i - 1) (whole ? from : made)
        rest = substr(rest, i + length(made))
    }
    $0 = line rest
}
{ print }
END { exit !gone }
