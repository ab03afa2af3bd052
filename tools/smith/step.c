/*
 * step.c: random training steps.
 *
 * Programs of gen.c have no batch, no parameters and no shape that a pass
 * would look for.  These have: blocks of attention (with a mask, a bias, a cap
 * or nothing), of a gated or plain pair of matmuls, of norms and moves, in
 * layers or not; a loss that is a mean over the batch; derivatives by some of
 * the weights; an update.  So `recognise` finds regions, `microbatch` cuts the
 * batch in the parts that the option says, and `precision` has activations to
 * narrow.  Everything here is smooth, or cannot tell a last bit from another.
 *
 * The text is written as a person would write it; what a function computes
 * stands in `out`, the weights it reads are listed on the way.
 */
#include "smith.h"

#include <stdio.h>
#include <string.h>

enum { MOST_WEIGHTS = 64 };

typedef struct Weight {
    const char *axes;
    bool layered; /* one for each turn of the repeat */
    bool frozen;  /* no derivative is asked for */
} Weight;

typedef struct Step {
    World *w;
    Buf main, layer, *out;
    const char *real;
    uint32_t n; /* values so far */
    Weight weights[MOST_WEIGHTS];
    uint32_t nweights;
    uint32_t parts, batch; /* of a step, rows of each */
    uint32_t seq;
    bool tokens;   /* the input is integers */
    bool embedded; /* weight 0 has a row for each */
} Step;

#define PICK(s, list) \
    ((list)[draw_below((s)->w, sizeof(list) / sizeof *(list))])

/* Axes of a value: `+` stands for those of the rows, `*` for the batch. */
static void print_axes(const Step *s, const char *axes, Buf *out)
{
    const char *more = *axes == '+' || *axes == '*' ? axes + 1 : axes;
    if (more != axes)
        buf_printf(out, "batch:%u%s%s", s->batch * s->parts,
                   *axes == '+' ? ", seq" : "", *more ? ", " : "");
    buf_puts(out, more);
}

/* Starts the line of a new value of the function that is being written. */
static uint32_t begin(Step *s, const char *dtype, const char *axes)
{
    buf_printf(s->out, "  %%v%u : %s[", s->n, dtype);
    print_axes(s, axes, s->out);
    buf_puts(s->out, "] = ");
    return s->n++;
}

PRINTF(3, 4)
static uint32_t let(Step *s, const char *axes, const char *format, ...)
{
    va_list args;
    uint32_t v = begin(s, s->real, axes);
    va_start(args, format);
    buf_vprintf(s->out, format, args);
    va_end(args);
    buf_putc(s->out, '\n');
    return v;
}

static uint32_t weight(Step *s, const char *axes)
{
    bool frozen = s->nweights > 0 && draw_chance(s->w, 60);
    s->weights[s->nweights] = (Weight){axes, s->out == &s->layer, frozen};
    return s->nweights++;
}

/* ---------------------------------------------------------------- blocks -- */

/* Bodies of one operand, without jumps. */
static const char *const smooth[] = {
    "tanh(_0)",
    "_0 / (1 + exp(-_0))",
    "_0 * 0.5 * (1 + erf(_0 * 0.7))",
    "max(_0, 0)",
    "where(0 < _0, _0, _0 * 0.125)",
    "_0 * (1 - 0.25 * abs(tanh(_0)))",
    "sin(_0) + 0.5 * _0",
};

static uint32_t norm(Step *s, uint32_t x)
{
    uint32_t centred = x, scale = weight(s, "embed");
    if (draw_chance(s->w, 40)) {
        uint32_t sum = let(s, "+", "reduce %%v%u kind sum axes (embed)", x);
        centred = let(s, "+embed", "map %%v%u, %%v%u { _0 - _1 / 4 }", x, sum);
    }
    uint32_t square = let(s, "+embed", "map %%v%u { _0 * _0 }", centred);
    uint32_t sum = let(s, "+", "reduce %%v%u kind sum axes (embed)", square);
    return let(s, "+embed",
               "map %%v%u, %%v%u, %%w%u { _0 * rsqrt(_1 / 4 + 0.01) * (1 + _2) "
               "}",
               centred, sum, scale);
}

static uint32_t feedforward(Step *s, uint32_t x)
{
    uint32_t up = weight(s, "embed, ff"), down = weight(s, "ff, embed");
    uint32_t h = let(s, "+ff", "einsum %%v%u, %%w%u sum (embed)", x, up);
    if (draw_chance(s->w, 50)) {
        uint32_t gate = weight(s, "embed, ff");
        uint32_t g = let(s, "+ff", "einsum %%v%u, %%w%u sum (embed)", x, gate);
        h = let(s, "+ff", "map %%v%u, %%v%u { _1 * _0 / (1 + exp(-_0)) }", g,
                h);
    } else {
        h = let(s, "+ff", "map %%v%u { %s }", h, PICK(s, smooth));
    }
    return let(s, "+embed", "einsum %%v%u, %%w%u sum (ff)", h, down);
}

/* What is done to scores before their softmax. */
static uint32_t mask(Step *s, uint32_t x)
{
    static const char *const alone[] = {
        "where(index(ctx) <= index(seq), _0 * 0.5, -inf)",
        "where(index(ctx) <= index(seq), 5 * tanh(_0 * 0.2), -inf)",
        "_0 * 0.5",
    };
    uint32_t kind = draw_below(s->w, 6);
    if (kind == 0) {
        uint32_t bias = weight(s, "head, seq, ctx");
        return let(s, "+head, ctx", "map %%v%u, %%w%u { _0 + _1 }", x, bias);
    }
    if (kind == 1) {
        uint32_t other = begin(s, "i32", "*ctx");
        buf_puts(s->out, "rename %doc from (seq) to (ctx)\n");
        return let(s, "+head, ctx",
                   "map %%v%u, %%doc, %%v%u { where(_1 == _2, _0, -inf) }", x,
                   other);
    }
    if (kind == 2)
        return let(s, "+head, ctx",
                   "map %%v%u { _0 - 0.25 * %s(abs(index(seq) - index(ctx))) }",
                   x, s->real);
    return let(s, "+head, ctx", "map %%v%u { %s }", x, PICK(s, alone));
}

/* The weights of a softmax over ctx; its sum comes apart. */
static uint32_t exponentials(Step *s, uint32_t scores, uint32_t *sum)
{
    uint32_t m, e;
    m = let(s, "+head", "reduce %%v%u kind max axes (ctx)", scores);
    e = let(s, "+head, ctx", "map %%v%u, %%v%u { exp(_0 - %s) }", scores, m,
            draw_chance(s->w, 50) ? "stop(_1)" : "_1");
    *sum = let(s, "+head", "reduce %%v%u kind sum axes (ctx)", e);
    return e;
}

static uint32_t attention(Step *s, uint32_t x)
{
    uint32_t v[3], sum;
    for (int i = 0; i < 3; i++) {
        uint32_t w = weight(s, "embed, head, hd");
        v[i] = let(s, "+head, hd", "einsum %%v%u, %%w%u sum (embed)", x, w);
    }
    if (draw_chance(s->w, 30))
        v[0] =
            let(s, "+head, hd", "map %%v%u { _0 * cos(0.5 * %s(index(seq))) }",
                v[0], s->real);
    for (int i = 1; i < 3; i++)
        v[i] =
            let(s, "*head, hd, ctx", "rename %%v%u from (seq) to (ctx)", v[i]);
    uint32_t raw =
        let(s, "+head, ctx", "einsum %%v%u, %%v%u sum (hd)", v[0], v[1]);
    uint32_t e = exponentials(s, mask(s, raw), &sum), o;
    if (draw_chance(s->w, 50)) {
        e = let(s, "+head, ctx", "map %%v%u, %%v%u { _0 / _1 }", e, sum);
        o = let(s, "+head, hd", "einsum %%v%u, %%v%u sum (ctx)", e, v[2]);
    } else {
        o = let(s, "+head, hd", "einsum %%v%u, %%v%u sum (ctx)", e, v[2]);
        o = let(s, "+head, hd", "map %%v%u, %%v%u { _0 / _1 }", o, sum);
    }
    uint32_t back = weight(s, "head, hd, embed");
    return let(s, "+embed", "einsum %%v%u, %%w%u sum (head, hd)", o, back);
}

/* Along the sequence, without weights. */
static uint32_t moves(Step *s, uint32_t x)
{
    uint32_t y;
    char longer[32];
    switch (draw_below(s->w, 3)) {
    case 0:
        y = let(s, "+embed", "cumsum %%v%u axis seq", x);
        return let(s, "+embed", "map %%v%u { 0.25 * _0 }", y);
    case 1:
        snprintf(longer, sizeof longer, "*seq:%u, embed", s->seq + 1);
        y = let(s, longer, "pad %%v%u axis seq low 1 high 0", x);
        y = let(s, "+embed", "slice %%v%u axis seq start 0", y);
        return let(s, "+embed", "map %%v%u, %%v%u { _0 - 0.5 * _1 }", x, y);
    default:
        y = let(s, "+embed", "map %%v%u { %s }", x, PICK(s, smooth));
        return let(s, "+embed",
                   "map %%v%u { _0 * (1 + 0.1 * %s(index(batch))) }", y,
                   s->real);
    }
}

static uint32_t block(Step *s, uint32_t x)
{
    uint32_t in = draw_chance(s->w, 60) ? norm(s, x) : x, y;
    uint32_t kind = draw_below(s->w, 7);
    if (kind < 3)
        y = attention(s, in);
    else if (kind < 5)
        y = feedforward(s, in);
    else
        y = moves(s, in);
    return let(s, "+embed", "map %%v%u, %%v%u { _0 + _1 }", x, y);
}

/* --------------------------------------------------------------- layers -- */

/* The signature of the layer, in front of its body. */
static void layer_head(Step *s, uint32_t first, uint32_t in)
{
    Buf head = {0};
    buf_printf(&head, "fn global @layer(%%v%u : %s[", in, s->real);
    print_axes(s, "+embed", &head);
    buf_puts(&head, "], %doc : i32[");
    print_axes(s, "+", &head);
    for (uint32_t i = first; i < s->nweights; i++)
        buf_printf(&head, "], %%w%u : %s[%s", i, s->real, s->weights[i].axes);
    buf_printf(&head, "], %%turn : i32[]) -> %s[", s->real);
    print_axes(s, "+embed", &head);
    buf_printf(&head, "] {\n%s", s->layer.at);
    buf_release(&s->layer);
    s->layer = head;
}

/* The blocks as a repeat: what they read of weights is stacked. */
static uint32_t layers(Step *s, uint32_t x, uint32_t nblocks)
{
    Buf *outer = s->out;
    uint32_t first = s->nweights, in = s->n++, y = in;
    s->out = &s->layer;
    for (uint32_t i = 0; i < nblocks; i++)
        y = block(s, y);
    buf_printf(s->out, "  ret %%v%u\n}\n", y);
    s->out = outer;
    layer_head(s, first, in);
    uint32_t t = s->n++;
    buf_printf(s->out, "  %%v%u : (%s[", t, s->real);
    print_axes(s, "+embed", s->out);
    buf_printf(s->out, "]) = repeat %%v%u, %%doc", x);
    for (uint32_t i = first; i < s->nweights; i++)
        buf_printf(s->out, ", %%w%u", i);
    buf_puts(s->out, " fn @layer axis layer count 2 carry 1 invariant 1\n");
    return let(s, "+embed", "proj %%v%u index 0", t);
}

/* ----------------------------------------------------------------- loss -- */

static uint32_t cross_entropy(Step *s, uint32_t logits)
{
    uint32_t m = let(s, "+", "reduce %%v%u kind max axes (vocab)", logits);
    uint32_t e = let(s, "+vocab", "map %%v%u, %%v%u { exp(_0 - %s) }", logits,
                     m, draw_chance(s->w, 50) ? "stop(_1)" : "_1");
    uint32_t z = let(s, "+", "reduce %%v%u kind sum axes (vocab)", e), at;
    if (draw_chance(s->w, 60)) {
        at = let(s, "+", "gather %%v%u, %%label axis vocab", logits);
    } else {
        at = let(s, "+vocab",
                 "map %%v%u, %%label { where(index(vocab) == _1, _0, 0) }",
                 logits);
        at = let(s, "+", "reduce %%v%u kind sum axes (vocab)", at);
    }
    static const char *const ends[] = {
        "log(_0) + _1 - _2",
        "log(_0) + _1 - _2 + 0.01 * (log(_0) + _1) * (log(_0) + _1)",
    };
    return let(s, "+", "map %%v%u, %%v%u, %%v%u { %s }", z, m, at,
               PICK(s, ends));
}

/* Of each row; rows whose label is 0 count or not. */
static uint32_t mean(Step *s, uint32_t each)
{
    uint32_t sum, n;
    if (draw_chance(s->w, 50)) {
        sum = let(s, "", "reduce %%v%u kind sum axes (batch, seq)", each);
        return let(s, "", "map %%v%u { _0 / 12 }", sum);
    }
    uint32_t v =
        let(s, "+", "map %%v%u, %%label { where(_1 != 0, _0, 0) }", each);
    sum = let(s, "", "reduce %%v%u kind sum axes (batch, seq)", v);
    v = let(s, "+", "map %%label { where(_0 != 0, 1, 0) }");
    n = let(s, "", "reduce %%v%u kind sum axes (batch, seq)", v);
    return let(s, "", "map %%v%u, %%v%u { _0 / max(_1, 1) }", sum, n);
}

static uint32_t loss(Step *s, uint32_t x)
{
    uint32_t table =
        s->embedded && draw_chance(s->w, 50) ? 0 : weight(s, "vocab, embed");
    uint32_t y = let(s, "+vocab", "einsum %%v%u, %%w%u sum (embed)", x, table);
    if (draw_chance(s->w, 75)) return mean(s, cross_entropy(s, y));
    y = let(s, "+vocab", "map %%v%u, %%label { tanh(_0) - 0.25 * %s(_1) }", y,
            s->real);
    y = let(s, "+vocab", "map %%v%u { _0 * _0 }", y);
    return mean(s, let(s, "+", "reduce %%v%u kind sum axes (vocab)", y));
}

/* --------------------------------------------------------------- update -- */

static void print_weight_type(const Step *s, uint32_t i, Buf *out)
{
    const Weight *w = &s->weights[i];
    buf_printf(out, "%s[%s%s]", s->real, w->axes, w->layered ? ", layer" : "");
}

/* The derivatives by the weights that are not frozen. */
static uint32_t derive(Step *s, uint32_t loss_value)
{
    uint32_t t = s->n++;
    const char *comma = "";
    buf_printf(s->out, "  %%v%u : (", t);
    for (uint32_t i = 0; i < s->nweights; i++) {
        if (s->weights[i].frozen) continue;
        buf_puts(s->out, comma);
        print_weight_type(s, i, s->out);
        comma = ", ";
    }
    buf_printf(s->out, ") = grad %%v%u", loss_value);
    for (uint32_t i = 0; i < s->nweights; i++)
        if (!s->weights[i].frozen) buf_printf(s->out, ", %%w%u", i);
    buf_putc(s->out, '\n');
    return t;
}

/* Plain descent of weight `i`; returns its next value. */
static uint32_t descend(Step *s, uint32_t i, uint32_t grads, uint32_t index)
{
    uint32_t grad = s->n++, next = s->n++;
    buf_printf(s->out, "  %%v%u : ", grad);
    print_weight_type(s, i, s->out);
    buf_printf(s->out, " = proj %%v%u index %u\n  %%v%u : ", grads, index,
               next);
    print_weight_type(s, i, s->out);
    buf_printf(s->out, " = update map %%w%u, %%v%u { _0 - 0.125 * _1 }\n", i,
               grad);
    return next;
}

/* The results' types go to RESULTS. */
static void update(Step *s, uint32_t loss_value, Buf *results)
{
    Buf ret = {0};
    uint32_t grads = derive(s, loss_value), n = 0;
    buf_printf(results, "%s[] record \"loss\"", s->real);
    buf_printf(&ret, "  ret %%v%u", loss_value);
    for (uint32_t i = 0; i < s->nweights; i++) {
        if (s->weights[i].frozen) continue;
        buf_printf(&ret, ", %%v%u", descend(s, i, grads, n++));
        buf_puts(results, ", ");
        print_weight_type(s, i, results);
        buf_printf(results, " param \"w%u\"", i);
    }
    buf_printf(s->out, "%s\n}\n", ret.at);
    buf_release(&ret);
}

/* ------------------------------------------------------------------ step -- */

static uint32_t input(Step *s)
{
    if (!s->tokens) return let(s, "+embed", "map %%x { _0 }");
    if (draw_chance(s->w, 25)) /* the tokens are numbers */
        return let(s, "+embed",
                   "map %%tokens { %s(imod(_0, 7)) * 0.25 - 0.125 * "
                   "%s(index(embed)) }",
                   s->real, s->real);
    uint32_t table = weight(s, "vocab, embed");
    s->embedded = true;
    return let(s, "+embed", "gather %%w%u, %%tokens axis vocab", table);
}

static void write_main(Step *s, Buf *results)
{
    uint32_t nblocks = 1 + draw_below(s->w, 3);
    uint32_t x = input(s);
    s->out = &s->main;
    if (draw_chance(s->w, 35))
        x = layers(s, x, nblocks);
    else
        while (nblocks-- > 0)
            x = block(s, x);
    update(s, loss(s, x), results);
}

/* Sizes of axes, `embed` apart. */
typedef struct Sizes {
    uint32_t embed, ff, head, hd, vocab;
} Sizes;

/* Of wide steps: those that tensor cores take and those beside them. */
static Sizes sizes_of(World *w, bool wide)
{
    static const uint32_t sides[] = {16, 20, 32, 48, 64};
    static const uint32_t heads[] = {16, 24, 32, 64};
    if (!wide) return (Sizes){4, 3, 2, 2, 5};
    return (Sizes){sides[draw_below(w, 5)], sides[draw_below(w, 5)] + 4,
                   1 + draw_below(w, 2), heads[draw_below(w, 4)],
                   5 + draw_below(w, 60)};
}

/* The weights lie with `embed` inside of them, or outside. */
static void write_head(const Step *s, const char *dtype, bool wide, Buf *out)
{
    bool inner = draw_chance(s->w, 50);
    Sizes z = sizes_of(s->w, wide);
    char embed[32];
    snprintf(embed, sizeof embed, "embed = %u, ", z.embed);
    buf_printf(out,
               "option accumulate \"%u\"\noption batch_axis \"batch\"\n"
               "option dtype \"%s\"\n"
               "axes (batch = %u, seq = %u, %sff = %u, head = %u, hd = %u, "
               "ctx = %u, vocab = %u, %slayer = 2)\n",
               s->parts, dtype, s->batch, s->seq, inner ? "" : embed, z.ff,
               z.head, z.hd, s->seq, z.vocab, inner ? embed : "");
    for (uint32_t i = 0; i < s->nweights; i++) {
        buf_printf(out, "param \"w%u\" : ", i);
        print_weight_type(s, i, out);
        buf_putc(out, '\n');
    }
    buf_printf(out, "%sentry fn global @train(", s->layer.n ? s->layer.at : "");
    buf_printf(out, s->tokens ? "%%tokens : i32[" : "%%x : %s[", s->real);
    print_axes(s, s->tokens ? "+" : "+embed", out);
    buf_printf(out, "] input \"%s\", %%label : i32[",
               s->tokens ? "tokens" : "x");
    print_axes(s, "+", out);
    buf_puts(out, "] input \"label\", %doc : i32[");
    print_axes(s, "+", out);
    buf_puts(out, "] input \"doc\"");
    for (uint32_t i = 0; i < s->nweights; i++) {
        buf_printf(out, ", %%w%u : ", i);
        print_weight_type(s, i, out);
        buf_printf(out, " param \"w%u\"", i);
    }
}

void step_text(World *w, bool wide, Buf *out)
{
    static const char *const dtypes[] = {"f32",  "f32",  "f32",
                                         "bf16", "bf16", "bf16-states"};
    Step s = {
        .w = w, .parts = 1 + draw_below(w, 3), .batch = 1 + draw_below(w, 2)};
    const char *dtype = PICK(&s, dtypes);
    static const uint32_t lengths[] = {20, 33, 64, 72, 130};
    Buf results = {0};
    s.seq = wide ? PICK(&s, lengths) : 3;
    s.real = !strcmp(dtype, "f32") && draw_chance(w, 30) ? "f64" : "f32";
    s.tokens = draw_chance(w, 60);
    s.out = &s.main;
    write_main(&s, &results);
    write_head(&s, dtype, wide, out);
    buf_printf(out, ") -> (%s) {\n%s", results.at, s.main.at);
    buf_release(&results);
    buf_release(&s.main);
    buf_release(&s.layer);
}
