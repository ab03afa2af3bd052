/*
 * source.c: the model and the training of a task, in the language.
 */
#include "task.h"

static bool is(const Task *t, Choice c, uint32_t way)
{
    return t->way[c] == way;
}

/* ----------------------------------------------------------------- sizes -- */

static int64_t max_of(int64_t a, int64_t b)
{
    return a > b ? a : b;
}

/* What both sides of a layer are multiples of, so that the recipe takes it; of
 * blocks, what its rows are, too. */
static int64_t side(const Task *t)
{
    const Recipe *recipe = task_recipe(t);
    return recipe ? recipe->multiple : 0;
}

/* Chunks of a schedule: stages of a rank. */
static int64_t stages(const Task *t)
{
    bool several = t->way[CHOICE_schedule] >= 2;
    return number(t, CHOICE_pp) * (several ? 2 : 1);
}

static void print_size(const char *name, int64_t n, Buf *out)
{
    buf_printf(out, "%s = %lld, ", name, (long long)n);
}

/* Rows are a multiple of what the batch is split over, and of blocks. */
static void print_rows(const Task *t, Buf *out)
{
    int64_t over = number(t, CHOICE_dp) * number(t, CHOICE_ep);
    int64_t seq = number(t, CHOICE_seq), rows = number(t, CHOICE_rows);
    if (t->gpus) seq = seq * 16 + (t->seed % 3 == 0 ? 8 : 0);
    if (task_has_blocks(t)) {
        seq = t->gpus ? 32 : 8;
        rows = side(t) / seq;
    }
    print_size("batch", rows * over, out);
    print_size("seq", seq, out);
}

/* Sides of tiles and what is beside them; with a recipe multiples of its own.
 */
static void widen(const Task *t, int64_t *embed, int64_t *hd)
{
    static const int64_t heads[] = {64, 32, 48, 128, 20, 96};
    if (task_is_large(t)) *embed = 128;
    if (!side(t) && !task_is_large(t))
        *embed = *embed * 12 + (t->seed % 4 ? 0 : 4);
    if (side(t) && side(t) < 64) *embed = 64;
    if (!side(t)) *hd = heads[t->seed / 5 % 6];
}

static void print_sizes(const Task *t, Buf *out)
{
    int64_t wide = side(t), tp = number(t, CHOICE_tp);
    int64_t embed = wide ? wide : number(t, CHOICE_embed);
    int64_t hd = wide ? wide / 2 / number(t, CHOICE_rep) : 2;
    if (t->gpus) widen(t, &embed, &hd);
    int64_t kv = tp == 3 ? 3 : 2, rep = number(t, CHOICE_rep);
    bool large = wide >= 128 || t->gpus; /* few turns are enough */
    int64_t layers = large ? 1 : number(t, CHOICE_layers);
    if (t->gpus > 1 && wide < 128 && t->way[CHOICE_layers]) layers = 2;
    bool both = t->way[CHOICE_schedule] == SCHEDULE_dual_pipe_v;
    int64_t parts = both ? stages(t) : number(t, CHOICE_pp);
    buf_puts(out, "config c {\n    ");
    print_rows(t, out);
    print_size("embed", embed, out);
    print_size("ff", wide ? wide : task_is_large(t) ? 192 : embed + 2, out);
    print_size("kv", kv, out);
    print_size("rep", rep, out);
    print_size("hd", hd, out);
    print_size("vocab", wide ? 16 : task_is_large(t) ? 64 : 6, out);
    print_size("layer", max_of(layers, stages(t)), out);
    buf_puts(out, "first = 2, expert = 4,\n    ");
    print_size("choice", number(t, CHOICE_chosen), out);
    print_size("accumulate",
               large ? parts : max_of(number(t, CHOICE_accumulate), parts),
               out);
    buf_puts(out, "norm_eps = 1e-5, steps = 10\n}\n");
}

/* ---------------------------------------------------------------- mixers -- */

static void print_attention(const Task *t, Buf *out)
{
    static const char *const masks[] = {
        "where(causal[seq, ctx](), s, -inf)",
        "where(same_document[seq, ctx](doc), s, -inf)",
        "where(window[seq, ctx](2), s, -inf)",
        "s",
        "where(causal[seq, ctx](), s + alibi[kv, seq, ctx](), -inf)",
        "where(causal[seq, ctx](), soft_cap(s, 5), -inf)",
    };
    bool rotary = is(t, CHOICE_positions, 2);
    buf_puts(out, "module mix(x: [.., seq, embed], doc: i32[.., seq]) -> "
                  "[.., seq, embed] {\n"
                  "    param wq: [embed -> kv, rep, hd] = normal(0.3)\n"
                  "    param wk: [embed -> kv, hd] = normal(0.3)\n"
                  "    param wv: [embed -> kv, hd] = normal(0.3)\n"
                  "    param wo: [kv, rep, hd -> embed] = normal(0.3)\n");
    buf_printf(out, "    q = %s\n",
               rotary ? "rope[seq, hd](x @embed wq, 100)" : "x @embed wq");
    buf_printf(out, "    k = %s\n",
               rotary ? "rope[seq, hd](x @embed wk, 100)" : "x @embed wk");
    buf_puts(out, "    k, v = k[seq -> ctx], (x @embed wv)[seq -> ctx]\n"
                  "    s = q @hd k / sqrt(size(hd))\n");
    buf_printf(out,
               "    p = softmax[ctx](%s)\n"
               "    return p @ctx v @(kv, rep, hd) wo\n}\n",
               masks[t->way[CHOICE_mask]]);
}

static void print_scan(Buf *out)
{
    buf_puts(out, "module mix(x: [.., seq, embed], doc: i32[.., seq]) -> "
                  "[.., seq, embed] {\n"
                  "    param a: [embed] = normal(0.5)\n"
                  "    param win: [embed -> ff] = normal(0.3)\n"
                  "    param wout: [ff -> embed] = normal(0.3)\n"
                  "    g = sigmoid(x * a) @embed win\n"
                  "    u = x @embed win\n"
                  "    h = 0.0\n"
                  "    repeat seq {\n"
                  "        h = 0.5 * tanh(g) * h + u\n"
                  "        y = h * sigmoid(u)\n"
                  "    }\n"
                  "    return y @ff wout\n}\n");
}

static void print_convolution(Buf *out)
{
    buf_puts(out,
             "module mix(x: [.., seq, embed], doc: i32[.., seq]) -> "
             "[.., seq, embed] {\n"
             "    axis tap = 3\n"
             "    param w: [embed, tap] = normal(0.3)\n"
             "    param b: [embed] = zeros\n"
             "    y = sum[tap](x[seq = index(seq) - index(tap) else 0] * w)\n"
             "    return silu(y + b)\n}\n");
}

static void print_mixer(const Task *t, Buf *out)
{
    if (is(t, CHOICE_mixer, MIXER_attention)) print_attention(t, out);
    if (is(t, CHOICE_mixer, MIXER_scan)) print_scan(out);
    if (is(t, CHOICE_mixer, MIXER_convolution)) print_convolution(out);
}

/* -------------------------------------------------- what each row does -- */

static void print_dense(const char *name, bool gated, Buf *out)
{
    buf_printf(out,
               "module %s(x: [.., seq, embed]) -> [.., seq, embed] {\n"
               "    param w1: [embed -> ff] = normal(0.3)\n"
               "    param w2: [ff -> embed] = normal(0.3)\n",
               name);
    if (gated)
        buf_puts(out, "    param w3: [embed -> ff] = normal(0.3)\n"
                      "    return (silu(x @embed w1) * (x @embed w3)) @ff "
                      "w2\n}\n");
    else
        buf_puts(out, "    param b1: [ff] = zeros\n"
                      "    return gelu_tanh(x @embed w1 + b1) @ff w2\n}\n");
}

/* A bias that only selects moves by how often each expert was chosen. */
static void print_router(const Task *t, Buf *out)
{
    bool biased = is(t, CHOICE_router, 2), soft = is(t, CHOICE_router, 0);
    buf_puts(out, "module router(x: [.., seq, embed]) -> (ids: i32[.., seq, "
                  "choice], weight: f32[.., seq, choice]) {\n"
                  "    param gate: [embed -> expert] = normal(0.5)\n");
    if (biased) buf_puts(out, "    state bias: f32[expert] = zeros\n");
    buf_printf(out,
               "    score: f32[.., seq, expert] = %s(x @embed gate)\n"
               "    _, ids = top[expert -> choice](stop(score)%s)\n"
               "    weight = score[expert = ids]\n",
               soft ? "softmax[expert]" : "sigmoid", biased ? " + bias" : "");
    if (!soft)
        buf_puts(out, "    weight = weight / (sum[choice](weight) + 1e-20)\n");
    if (biased)
        buf_puts(out, "    if training {\n"
                      "        n = sum[.., seq, choice](f32(ids == "
                      "index(expert)))\n"
                      "        bias = bias + 0.01 * sign(mean[expert](n) - n)\n"
                      "    }\n");
    buf_puts(out, "    return ids, weight\n}\n");
}

static void print_experts(const Task *t, Buf *out)
{
    bool shared = is(t, CHOICE_feed, FEED_shared);
    print_router(t, out);
    if (shared) print_dense("shared", true, out);
    buf_printf(out,
               "module feed(x: [.., seq, embed]) -> [.., seq, embed] {\n"
               "    param w1: [expert; embed -> ff] = normal(0.3)\n"
               "    param w3: [expert; embed -> ff] = normal(0.3)\n"
               "    param w2: [expert; ff -> embed] = normal(0.3)\n"
               "    ids, weight = router(x)\n"
               "    h = silu(x @embed w1[expert = ids]) * (x @embed w3[expert "
               "= ids])\n"
               "    return sum[choice](weight * (h @ff w2[expert = ids]))%s\n"
               "}\n",
               shared ? " + shared(x)" : "");
}

static void print_feed(const Task *t, Buf *out)
{
    if (t->way[CHOICE_feed] >= FEED_experts)
        print_experts(t, out);
    else if (t->way[CHOICE_feed])
        print_dense("feed", is(t, CHOICE_feed, FEED_gated), out);
}

/* ----------------------------------------------------------------- model -- */

static const char *norm_of(const Task *t)
{
    static const char *const norms[] = {NULL, "rmsnorm[embed]",
                                        "layernorm[embed]"};
    return norms[t->way[CHOICE_norm]];
}

/* x = x + what(norm(x)), in a turn of a repeat. */
static void print_block(const Task *t, const char *what, const char *more,
                        Buf *out)
{
    const char *norm = norm_of(t);
    buf_printf(out, "        use b_%s = %s\n", what, what);
    if (norm) buf_printf(out, "        use n_%s = %s\n", what, norm);
    buf_printf(out,
               norm ? "        x = x + b_%s(n_%s(x)%s)\n"
                    : "        x = x + b_%s(%.0s0.5 * x%s)\n",
               what, what, more);
}

static void print_layers(const Task *t, Buf *out)
{
    if (t->way[CHOICE_dense]) {
        buf_puts(out, "    repeat first {\n");
        print_block(t, "mlp", "", out);
        buf_puts(out, "    }\n");
    }
    buf_puts(out, "    repeat layer {\n");
    if (t->way[CHOICE_mixer]) print_block(t, "mix", ", doc", out);
    if (t->way[CHOICE_feed]) print_block(t, "feed", "", out);
    if (!t->way[CHOICE_mixer] && !t->way[CHOICE_feed])
        buf_puts(out, "        param scale: [embed] = ones\n"
                      "        x = x * (1 + 0.5 * tanh(scale))\n");
    if (t->way[CHOICE_records])
        buf_puts(out, "        record rms = sqrt(mean(x * x))\n");
    buf_puts(out, "    }\n");
}

static void print_model(const Task *t, Buf *out)
{
    bool tied = t->way[CHOICE_tied] > 0;
    const char *norm = norm_of(t);
    buf_puts(out, "model net(tokens: i32[.., seq]) -> f32[.., seq, vocab] {\n"
                  "    param table: [vocab, embed] = normal(0.5)\n"
                  "    x = table[vocab = tokens]\n");
    if (is(t, CHOICE_positions, 1))
        buf_puts(out, "    param place: [seq, embed] = normal(0.5)\n"
                      "    x = x + place\n");
    buf_puts(out, "    doc = documents[seq](tokens, 0)\n");
    print_layers(t, out);
    if (norm)
        buf_printf(out,
                   "    use last = %s%s\n"
                   "    x = last(x)\n",
                   norm, t->way[CHOICE_frozen] ? " frozen" : "");
    if (!tied)
        buf_puts(out, "    param head: [embed -> vocab] = normal(0.5)\n");
    buf_printf(out, "    return x @embed %s\n}\n", tied ? "table" : "head");
}

/* -------------------------------------------------------------- training -- */

static void print_training(const Task *t, Buf *out)
{
    static const char *const losses[] = {
        "mean[batch, seq](cross_entropy[vocab](z, labels))",
        "mean_valid[batch, seq](cross_entropy[vocab](z, labels), labels != 1)",
        "mean[batch, seq](cross_entropy[vocab](z, labels) + 0.01 * "
        "z_loss[vocab](z))",
        "mean_of_means[batch, seq](cross_entropy[vocab](z, labels), labels != "
        "1)",
    };
    static const char *const updates[] = {
        "sgd(0.1)",
        "sgd(0.1, momentum = 0.9, decay = 0.01)",
        "adamw(0.01, eps = 0.01)",
        "adopt(0.01, eps = 0.1)",
        "sgd(0.1)",
    };
    buf_puts(out,
             "train fit(tokens: i32[batch, seq], labels: i32[batch, seq]) {\n"
             "    z = net(tokens)\n");
    buf_printf(out, "    loss = %s\n", losses[t->way[CHOICE_loss]]);
    if (t->way[CHOICE_clip]) buf_puts(out, "    grads = clip_norm(grads, 1)\n");
    if (t->way[CHOICE_records])
        buf_puts(out, "    record size = norm(params)\n");
    if (is(t, CHOICE_optimizer, 4) && t->way[CHOICE_feed])
        buf_puts(out, "    update feed = muon(0.02, 0.01)\n");
    buf_printf(out, "    update = %s\n", updates[t->way[CHOICE_optimizer]]);
    if (t->way[CHOICE_average])
        buf_puts(out, "    state shadow = params\n"
                      "    shadow = lerp(params, shadow, 0.9)\n");
    buf_puts(out, "}\n");
}

void source_print(const Task *t, Buf *out)
{
    buf_puts(out, "import std.nn, std.loss, std.optim, std.rope\n\n"
                  "axis batch, seq\naxis ctx = seq\n"
                  "axis vocab, expert, choice, kv, rep, hd, ff, embed, first, "
                  "layer\n");
    print_sizes(t, out);
    print_mixer(t, out);
    if (t->way[CHOICE_dense]) print_dense("mlp", true, out);
    print_feed(t, out);
    print_model(t, out);
    print_training(t, out);
    rules_print(t, out);
}
