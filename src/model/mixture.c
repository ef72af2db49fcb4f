/* mixture.c - which type each tensor gets: see mixture.h.
 *
 * A file type is a row of `mixtures`: a type for most tensors, and exceptions for the few whose error costs most:
 * attention values, the FFN's way down, attention output, and the embedding or output matrix. The rules are those that
 * published files of each name follow, so that a file named Q4_K_M here holds what one holds elsewhere; they were
 * chosen by others, by measuring perplexities, and are not argued here. Left out: what holds for Falcon alone.
 *
 * A tensor whose rows are not whole blocks of the type falls back to one of about the same size with blocks of 32, and
 * failing that to F16. */
#include "model/mixture.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/err.h"
#include "base/mem.h"

/* Which of a model's tensors of a kind an exception is for: by their place i among n. */
typedef enum when {
    NEVER,
    ALWAYS,
    SHARED_4, /* each key-value head serves four query heads or more */
    FIRST_2,
    FIRST_4,
    SIXTEENTH, /* the first sixteenth of the layers */
    EIGHTH,
    EIGHTH_P, /* ... when there is no importance matrix */
    EIGHTH_W, /* ... when there is one */
    MORE      /* the first and last eighth, and every third layer between */
} when;

typedef struct exception {
    when when;
    qn_type then;
    qn_type otherwise; /* QN_F32 (0): the base */
} exception;

struct qn_mixture {
    const char *name;
    uint32_t file_type;
    qn_type base;
    exception value, down;   /* attn_v (and its fused forms), ffn_down */
    qn_type output, output8; /* attn_output; the same in models of eight experts. 0: the base */
    qn_type embedding;       /* token_embd where it is not the output matrix too. 0: the base */
    bool experts_only;       /* the base is for experts, everything else Q8_0 */
};

static const qn_mixture mixtures[] = {
    /* clang-format off */
    /* name         base       value                         down                          output   in 8     embedding */
    {"Q8_0",       7, QN_Q8_0,   {NEVER, 0, 0},                {NEVER, 0, 0},                0,       0,       0,       false},
    {"Q6_K",      18, QN_Q6_K,   {NEVER, 0, 0},                {NEVER, 0, 0},                0,       0,       0,       false},
    {"Q5_K_M",    17, QN_Q5_K,   {MORE, QN_Q6_K, 0},           {MORE, QN_Q6_K, 0},           0,       0,       0,       false},
    {"Q5_K_S",    16, QN_Q5_K,   {NEVER, 0, 0},                {NEVER, 0, 0},                0,       0,       0,       false},
    {"Q5_1",       9, QN_Q5_1,   {NEVER, 0, 0},                {NEVER, 0, 0},                0,       0,       0,       false},
    {"Q5_0",       8, QN_Q5_0,   {NEVER, 0, 0},                {EIGHTH_W, QN_Q5_1, 0},       0,       0,       0,       false},
    {"Q4_K_M",    15, QN_Q4_K,   {MORE, QN_Q6_K, 0},           {MORE, QN_Q6_K, 0},           0,       QN_Q5_K, 0,       false},
    {"Q4_K_S",    14, QN_Q4_K,   {FIRST_4, QN_Q5_K, 0},        {EIGHTH, QN_Q5_K, 0},         0,       QN_Q5_K, 0,       false},
    {"Q4_1",       3, QN_Q4_1,   {NEVER, 0, 0},                {NEVER, 0, 0},                0,       0,       0,       false},
    {"Q4_0",       2, QN_Q4_0,   {NEVER, 0, 0},                {EIGHTH_W, QN_Q4_1, 0},       0,       0,       0,       false},
    {"IQ4_NL",    25, QN_IQ4_NL, {SHARED_4, QN_Q5_K, 0},       {EIGHTH_P, QN_Q5_K, 0},       0,       QN_Q5_K, 0,       false},
    {"IQ4_XS",    30, QN_IQ4_XS, {SHARED_4, QN_Q5_K, 0},       {EIGHTH_P, QN_Q5_K, 0},       0,       QN_Q5_K, 0,       false},
    {"MXFP4",     38, QN_MXFP4,  {NEVER, 0, 0},                {NEVER, 0, 0},                0,       0,       0,       true},
    {"MXFP4_MOE", 38, QN_MXFP4,  {NEVER, 0, 0},                {NEVER, 0, 0},                0,       0,       0,       true},
    {"Q3_K_L",    13, QN_Q3_K,   {ALWAYS, QN_Q5_K, 0},         {ALWAYS, QN_Q5_K, 0},         QN_Q5_K, 0,       0,       false},
    {"Q3_K_M",    12, QN_Q3_K,   {FIRST_2, QN_Q5_K, QN_Q4_K},  {SIXTEENTH, QN_Q5_K, QN_Q4_K}, QN_Q4_K, QN_Q5_K, 0,       false},
    {"Q3_K_S",    11, QN_Q3_K,   {NEVER, 0, 0},                {NEVER, 0, 0},                0,       QN_Q5_K, 0,       false},
    {"Q2_K",      10, QN_Q2_K,   {SHARED_4, QN_Q4_K, QN_Q3_K}, {ALWAYS, QN_Q3_K, 0},         QN_Q3_K, QN_Q5_K, 0,       false},
    {"Q2_K_S",    21, QN_Q2_K,   {SHARED_4, QN_Q4_K, 0},       {EIGHTH, QN_Q4_K, 0},         0,       0,       0,       false},
    {"TQ2_0",     37, QN_TQ2_0,  {NEVER, 0, 0},                {NEVER, 0, 0},                0,       0,       QN_Q4_K, false},
    {"TQ1_0",     36, QN_TQ1_0,  {NEVER, 0, 0},                {NEVER, 0, 0},                0,       0,       QN_Q4_K, false},
    {"BF16",      32, QN_BF16,   {NEVER, 0, 0},                {NEVER, 0, 0},                0,       0,       0,       false},
    {"F16",        1, QN_F16,    {NEVER, 0, 0},                {NEVER, 0, 0},                0,       0,       0,       false},
    {"F32",        0, QN_F32,    {NEVER, 0, 0},                {NEVER, 0, 0},                0,       0,       0,       false},
}; /* clang-format on */
enum { N_MIXTURES = sizeof mixtures / sizeof *mixtures };

const qn_mixture *qn__mixture_find(const char *name)
{
    for (size_t i = 0; i < N_MIXTURES; i++)
        if (strcasecmp(mixtures[i].name, name) == 0)
            return &mixtures[i];
    return NULL;
}

const char *qn__mixture_name(size_t k)
{
    return k < N_MIXTURES ? mixtures[k].name : NULL;
}

uint32_t qn__mixture_file_type(const qn_mixture *m)
{
    return m->file_type;
}

/* ---- names ------------------------------------------------------------------------------------------------------- */

static bool contains(qn_slice s, const char *part)
{
    return memmem(s.p, s.n, part, strlen(part)) != NULL;
}

static bool equals(qn_slice s, const char *what)
{
    return s.n == strlen(what) && memcmp(s.p, what, s.n) == 0;
}

/* N of "blk.N.", or -1. */
static int layer_of(qn_slice s)
{
    int layer = 0;
    size_t i = 4;
    if (s.n < 6 || memcmp(s.p, "blk.", 4) != 0)
        return -1;
    for (; i < s.n && s.p[i] >= '0' && s.p[i] <= '9' && layer < 100000; i++)
        layer = layer * 10 + (s.p[i] - '0');
    return i > 4 && i < s.n && s.p[i] == '.' ? layer : -1;
}

typedef enum role { OTHER, OUTPUT, EMBEDDING, VALUE, KEY, ATTN_OUTPUT, DOWN } role;

/* The order matters: the first that is found is the one. */
static role role_of(qn_slice name)
{
    static const struct {
        const char *part;
        role role;
    } parts[] = {{"attn_qkv.weight", VALUE}, {"attn_kv_b.weight", VALUE}, {"attn_v.weight", VALUE},
                 {"attn_k.weight", KEY},     {"attn_q.weight", OTHER},    {"attn_output.weight", ATTN_OUTPUT},
                 {"ffn_up", OTHER},          {"ffn_gate", OTHER},         {"ffn_down", DOWN}};
    if (equals(name, "output.weight"))
        return OUTPUT;
    if (equals(name, "token_embd.weight") || equals(name, "per_layer_token_embd.weight"))
        return EMBEDDING;
    for (size_t i = 0; i < sizeof parts / sizeof *parts; i++)
        if (contains(name, parts[i].part))
            return parts[i].role;
    return OTHER;
}

/* Matrices that stay as they are: small ones, routers, convolutions, positions, parts of vision and audio encoders. */
static bool stays(qn_slice name)
{
    static const char *const parts[] = {"_norm.weight",
                                        "ffn_gate_inp.weight",
                                        "ffn_gate_tid2eid",
                                        "altup",
                                        "laurel",
                                        "per_layer_model_proj",
                                        "ssm_conv1d",
                                        "shortconv.conv.weight",
                                        "indexer.k_proj.weight",
                                        "indexer.q_proj.weight",
                                        "attn_rel_b.weight",
                                        "time_mix_first.weight",
                                        "time_mix_w0.weight",
                                        "time_mix_w1.weight",
                                        "time_mix_w2.weight",
                                        "time_mix_v0.weight",
                                        "time_mix_v1.weight",
                                        "time_mix_v2.weight",
                                        "time_mix_a0.weight",
                                        "time_mix_a1.weight",
                                        "time_mix_a2.weight",
                                        "time_mix_g1.weight",
                                        "time_mix_g2.weight",
                                        "time_mix_decay_w1.weight",
                                        "time_mix_decay_w2.weight",
                                        "time_mix_lerp_fused.weight",
                                        ".position_embd",
                                        "sam.pos_embd",
                                        "sam.neck.",
                                        "sam.net_",
                                        ".rel_pos",
                                        ".patch_embd",
                                        ".patch_merger",
                                        "a.rvq.codebook",
                                        "mm.a.code_embd"};
    for (size_t i = 0; i < sizeof parts / sizeof *parts; i++)
        if (contains(name, parts[i]))
            return true;
    return equals(name, "position_embd.weight") || equals(name, "token_types.weight");
}

static bool is_integer(qn_type t)
{
    return t == QN_I8 || t == QN_I16 || t == QN_I32 || t == QN_I64;
}

/* Two dimensions or more, not counting trailing ones; floating point; a name that ends in "weight". */
static bool wanted(const qn_gguf_tensor *t)
{
    bool matrix = t->dims[1] > 1 || t->dims[2] > 1 || t->dims[3] > 1;
    return matrix && !is_integer(t->type) && t->type != QN_F64 && t->name.n >= 6 &&
           memcmp(t->name.p + t->name.n - 6, "weight", 6) == 0 && !stays(t->name);
}

/* ---- the plan ---------------------------------------------------------------------------------------------------- */

typedef struct facts {
    const qn_mixture *m;
    qn_mixture_model is;
    int n_values, i_value, i_down;
} facts;

static bool holds(when w, const facts *f, int i, int n)
{
    switch (w) {
    case NEVER: return false;
    case ALWAYS: return true;
    case SHARED_4: return f->is.shared >= 4;
    case FIRST_2: return i < 2;
    case FIRST_4: return i < 4;
    case SIXTEENTH: return i < n / 16;
    case EIGHTH: return i < n / 8;
    case EIGHTH_P: return i < n / 8 && !f->is.weighted;
    case EIGHTH_W: return i < n / 8 && f->is.weighted;
    case MORE: return i < n / 8 || i >= 7 * n / 8 || (i - n / 8) % 3 == 2;
    }
    return false;
}

static qn_type except(const exception *e, const facts *f, int i, int n)
{
    qn_type t = holds(e->when, f, i, n) ? e->then : e->otherwise;
    return t ? t : f->m->base;
}

static qn_type choose_value(facts *f)
{
    qn_type t = except(&f->m->value, f, f->i_value++, f->n_values);
    if (f->is.seventy && (t == QN_Q3_K || t == QN_Q4_K))
        t = QN_Q5_K;
    return f->is.experts == 8 ? QN_Q8_0 : t;
}

/* In models with experts the tensors of a layer are several, and not in order in every file: their name counts. */
static qn_type choose_down(facts *f, qn_slice name)
{
    int place = f->i_down++;
    return except(&f->m->down, f, f->is.experts > 1 && layer_of(name) >= 0 ? layer_of(name) : place, (int)f->is.layers);
}

static qn_type choose(facts *f, const qn_gguf_tensor *t)
{
    const qn_mixture *m = f->m;
    role r = role_of(t->name);
    if (m->base == QN_F32 || m->base == QN_F16 || m->base == QN_BF16)
        return m->base;
    if (r == OUTPUT || (r == EMBEDDING && f->is.tied)) {
        bool divides = t->dims[0] % qn__type_info((uint32_t)m->base)->block == 0;
        return m->experts_only || !divides || m->base == QN_Q8_0 ? QN_Q8_0 : QN_Q6_K;
    }
    if (m->experts_only)
        return t->dims[2] > 1 ? m->base : QN_Q8_0;
    switch (r) {
    case EMBEDDING: return m->embedding ? m->embedding : m->base;
    case VALUE: return choose_value(f);
    case KEY: return f->is.experts == 8 ? QN_Q8_0 : m->base;
    case DOWN: return choose_down(f, t->name);
    case ATTN_OUTPUT: {
        qn_type o = f->is.experts == 8 ? m->output8 : m->output;
        return o ? o : m->base;
    }
    default: return m->base;
    }
}

/* A type whose blocks divide a row of n elements. */
static qn_type fit_row(qn_type t, uint64_t n)
{
    if (n % qn__type_info((uint32_t)t)->block == 0)
        return t;
    switch (t) {
    case QN_IQ4_XS: t = QN_IQ4_NL; break;
    case QN_Q2_K:
    case QN_Q3_K:
    case QN_TQ1_0:
    case QN_TQ2_0: t = QN_Q4_0; break;
    case QN_Q4_K: t = QN_Q5_0; break;
    case QN_Q5_K: t = QN_Q5_1; break;
    case QN_Q6_K: t = QN_Q8_0; break;
    default: break;
    }
    return n % qn__type_info((uint32_t)t)->block == 0 ? t : QN_F16;
}

/* Those outside layers first, then layer by layer; by name within. */
static int by_layer(const void *a, const void *b)
{
    qn_slice x = ((const qn_planned *)a)->tensor->name, y = ((const qn_planned *)b)->tensor->name;
    int lx = layer_of(x), ly = layer_of(y);
    if (lx != ly)
        return lx < ly ? -1 : 1;
    int c = memcmp(x.p, y.p, x.n < y.n ? x.n : y.n);
    return c ? c : (x.n > y.n) - (x.n < y.n);
}

enum { LARGEST = 1 << 20 };

/* ARCH.key as an integer; of an array, its first element. */
static qn_status number(const qn_gguf *g, qn_slice arch, const char *key, int64_t fallback, int64_t *out, qn_err *err)
{
    char full[128];
    (void)snprintf(full, sizeof full, "%.*s.%s", (int)(arch.n < 60 ? arch.n : 60), arch.p, key);
    const qn_gguf_kv *kv = qn__gguf_kv(g, full);
    if (kv && kv->kind == QN_GGUF_ARR && kv->n > 0 && kv->elem < QN_GGUF_STR && kv->elem != QN_GGUF_F32) {
        int64_t v = qn__gguf_arr_int(kv, 0);
        *out = v < 0 ? 0 : v > LARGEST ? LARGEST : v;
        return QN_OK;
    }
    return qn__gguf_int(g, full, 0, LARGEST, fallback, out, err);
}

static qn_status read_model(const qn_gguf *g, qn_mixture_model *f, qn_err *err)
{
    qn_slice arch = {0};
    int64_t heads, kv_heads;
    qn_status s = qn__gguf_str(g, "general.architecture", &arch, err);
    if (s != QN_OK)
        return s;
    if (!arch.p)
        return qn__fail(err, QN_EFORMAT, qn__gguf_name(g), "general.architecture is missing; is this a model?");
    if ((s = number(g, arch, "block_count", 0, &f->layers, err)) != QN_OK ||
        (s = number(g, arch, "expert_count", 0, &f->experts, err)) != QN_OK ||
        (s = number(g, arch, "attention.head_count", 0, &heads, err)) != QN_OK ||
        (s = number(g, arch, "attention.head_count_kv", heads, &kv_heads, err)) != QN_OK)
        return s;
    f->shared = kv_heads > 0 ? heads / kv_heads : 0;
    f->seventy =
        f->layers == 80 && f->shared > 1 && (equals(arch, "llama") || equals(arch, "qwen2") || equals(arch, "deci"));
    f->tied = !qn__gguf_find(g, "output.weight");
    return QN_OK;
}

void qn__mixture_assign(const qn_mixture *m, const qn_mixture_model *model, qn_planned *plan, size_t n)
{
    facts f = {.m = m, .is = *model};
    for (size_t i = 0; i < n; i++)
        f.n_values += role_of(plan[i].tensor->name) == VALUE;
    qsort(plan, n, sizeof *plan, by_layer);
    for (size_t i = 0; i < n; i++) {
        const qn_gguf_tensor *t = plan[i].tensor;
        plan[i].type = t->type;
        if (!wanted(t))
            continue;
        qn_type ideal = choose(&f, t);
        plan[i].type = fit_row(ideal, t->dims[0]);
        plan[i].fallback = plan[i].type != ideal;
    }
}

qn_status qn__mixture_plan(const qn_mixture *m, const qn_gguf *g, bool weighted, qn_planned **out, qn_err *err)
{
    size_t n = qn__gguf_n_tensors(g);
    qn_mixture_model model = {.weighted = weighted};
    qn_status s = read_model(g, &model, err);
    if (s != QN_OK)
        return s;
    qn_planned *plan = qn__calloc(n ? n : 1, sizeof *plan);
    if (!plan)
        return qn__fail_mem(err, qn__gguf_name(g));
    for (size_t i = 0; i < n; i++)
        plan[i].tensor = qn__gguf_tensor(g, i);
    qn__mixture_assign(m, &model, plan, n);
    *out = plan;
    return QN_OK;
}
