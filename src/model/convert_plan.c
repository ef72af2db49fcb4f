/* convert_plan.c - rules x layers -> the list of tensors to be written, each from pieces of the checkpoint's.
 *
 * Refuses: a tensor that a rule needs and the checkpoint lacks; a shape that is not what config.json promises; a tensor of
 * the checkpoint that no rule names (leaving it out would compute something else). */
#include <stdio.h>
#include <string.h>

#include "base/err.h"
#include "model/convert_int.h"

static char *fill(qn__cv *c, const char *pattern, int64_t layer, int64_t expert)
{
    char name[256];
    size_t n = 0;
    for (const char *s = pattern; *s && n + 24 < sizeof name; s++) {
        int64_t v = *s == '*' ? layer : expert;
        if (*s == '*' || *s == '#')
            n += (size_t)snprintf(name + n, sizeof name - n, "%lld", (long long)v);
        else
            name[n++] = *s;
    }
    name[n] = 0;
    return qn__cv_printf(c, "%s", name);
}

/* The shape as text: "[4096, 1024]". */
static void shape_text(char *out, size_t cap, const uint64_t *dims, uint32_t n)
{
    size_t at = (size_t)snprintf(out, cap, "[");
    for (uint32_t i = 0; i < n && at < cap; i++)
        at += (size_t)snprintf(out + at, cap - at, "%s%llu", i ? ", " : "", (unsigned long long)dims[i]);
    if (at < cap)
        (void)snprintf(out + at, cap - at, "]");
}

static bool check_shape(qn__cv *c, const qn__cv_entry *e, const char *shape)
{
    uint64_t want[QN_ST_MAX_DIMS];
    uint32_t n = (uint32_t)strcspn(shape, ">");
    bool same = e->t->n_dims == n;
    for (uint32_t i = 0; i < n; i++) {
        int64_t v = c->size[(unsigned char)shape[i]];
        want[i] = v > 0 ? (uint64_t)v : 0;
        same = same && v > 0 && e->t->dims[i] == want[i];
    }
    if (!same) {
        char a[100], b[100], where[160];
        shape_text(a, sizeof a, e->t->dims, e->t->n_dims);
        shape_text(b, sizeof b, want, n);
        (void)snprintf(where, sizeof where, "tensor %.140s", e->t->name);
        return qn__cv_fail(c, QN_EFORMAT, where, "its shape is %s, but by config.json it is %s (0: config.json has no such size)", a, b);
    }
    return true;
}

static bool missing(qn__cv *c, const char *name)
{
    char where[160];
    (void)snprintf(where, sizeof where, "tensor %.140s", name);
    return qn__cv_fail(c, QN_EFORMAT, where, "is missing from the checkpoint; architecture %s needs it", c->family->arch);
}

/* ---- types ---- */

static qn_type own_type(const qn__cv_entry *e)
{
    switch (e->t->dtype) {
    case QN_ST_F16: return QN_F16;
    case QN_ST_BF16:
    case QN_ST_F8_E4M3:
    case QN_ST_F8_E5M2: return QN_BF16;
    default: return QN_F32;
    }
}

/* Vectors and what is read in F32 by every decoder stay F32. */
static bool stays_f32(const qn__cv_out *o, qn__cv_op op, bool vector)
{
    static const char *const names[] = {".bias", "ffn_gate_inp", "ssm_conv1d.", "position_embd.", "token_types."};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        vector |= strstr(o->name, names[i]) != NULL;
    return vector || op == QN_CV_EVEN || op == QN_CV_ODD;
}

static qn_type out_type(const qn__cv *c, const qn__cv_out *o, const qn__cv_entry *e, bool vector)
{
    if (o->op >= QN_CV_MXFP4 && o->op <= QN_CV_MXFP4_ODD)
        return QN_MXFP4;
    if (stays_f32(o, o->op, vector))
        return QN_F32;
    switch (c->o->type) {
    case QN_CONVERT_F32: return QN_F32;
    case QN_CONVERT_F16: return QN_F16;
    case QN_CONVERT_BF16: return QN_BF16;
    case QN_CONVERT_Q8_0: return o->dims[0] % 32 == 0 ? QN_Q8_0 : QN_F16;
    case QN_CONVERT_AUTO: break;
    }
    return own_type(e);
}

static bool numeric(qn__cv *c, const qn__cv_entry *e)
{
    switch (e->t->dtype) {
    case QN_ST_F32:
    case QN_ST_F16:
    case QN_ST_BF16:
    case QN_ST_F8_E4M3:
    case QN_ST_F8_E5M2: return true;
    default: {
        char where[160];
        (void)snprintf(where, sizeof where, "tensor %.140s", e->t->name);
        return qn__cv_fail(c, QN_EUNSUPPORTED, where, "its dtype %s holds no weights that this build converts; take a checkpoint in F32, F16, BF16 or FP8 with scales", qn__st_dtype_name(e->t->dtype));
    }
    }
}

/* ---- pieces ---- */

/* Source rows of a tensor: all but its last dimension; a vector that is cut or permuted has rows of one element. */
typedef struct rows {
    uint64_t n, cols, outer; /* outer: the first dimension when there are three or more, else 1 */
} rows;

static rows rows_of(const qn__cv_entry *e, qn__cv_op op)
{
    rows r = {.n = 1, .cols = 1, .outer = 1};
    uint32_t n = e->t->n_dims;
    bool tile = op == QN_CV_TILE || op == QN_CV_TILE_A;
    bool column = n == 1 ? op == QN_CV_Q || tile : op == QN_CV_EVEN || op == QN_CV_ODD;
    bool blocks = op >= QN_CV_MXFP4 && op <= QN_CV_MXFP4_ODD;
    uint32_t last = column ? 0 : blocks ? 2 : 1; /* how many dimensions make a row */
    for (uint32_t i = 0; i < n; i++)
        *(i + last < n ? &r.n : &r.cols) *= e->t->dims[i];
    if (n > last + 1 && !tile)
        r.outer = e->t->dims[0];
    return r;
}

/* Rows of a layer with a state: see the operations' words. Each key head has `per` value heads of `d` values. */
static bool add_state_pieces(qn__cv *c, qn__cv_out *o, qn__cv_entry *e, rows r)
{
    uint64_t keys = (uint64_t)c->key_heads, per = (uint64_t)c->size['h'] / keys, d = (uint64_t)c->size['d'], n = 0;
    uint64_t dk = (uint64_t)(c->size['Z'] - c->size['R']) / 2 / keys, all = 2 * dk + 2 * per * d; /* rows of a key head: q, k, v, z */
    uint64_t block = r.n == keys * per ? 1 : d, lead = r.n - keys * per * block;
    qn__cv_piece *p = o->pieces = qn__cv_alloc(c, (size_t)(keys * (per + 3) + 1) * sizeof *p);
    if (!p)
        return false;
    for (uint64_t k = 0; o->op == QN_CV_QKV && k < 3 * keys; k++) {
        uint64_t part = k / keys, first = k % keys * all + part * dk;
        p[n++] = (qn__cv_piece){e, first, 1, part < 2 ? dk : per * d};
    }
    for (uint64_t k = 0; o->op == QN_CV_Z && k < keys; k++)
        p[n++] = (qn__cv_piece){e, k * all + 2 * dk + per * d, 1, per * d};
    if (o->op != QN_CV_QKV && o->op != QN_CV_Z) {
        if (lead)
            p[n++] = (qn__cv_piece){e, 0, 1, lead};
        for (uint64_t v = 0; v < per; v++)
            for (uint64_t k = 0; k < keys; k++)
                p[n++] = (qn__cv_piece){e, lead + (k * per + v) * block, 1, block};
    }
    o->n_pieces = (size_t)n;
    return true;
}

static bool add_pieces(qn__cv *c, qn__cv_out *o, qn__cv_entry *e, rows r)
{
    if (o->op == QN_CV_QKV || o->op == QN_CV_Z || o->op == QN_CV_TILE || o->op == QN_CV_TILE_A)
        return add_state_pieces(c, o, e, r);
    uint64_t n = r.n / r.outer, half = n / 2; /* rows of one expert */
    bool whole = o->op == QN_CV_COPY || o->op == QN_CV_NORM || o->op == QN_CV_Q || o->op == QN_CV_MXFP4 || o->op == QN_CV_A ||
                 o->op == QN_CV_TILE_COLS || o->op == QN_CV_TAIL;
    uint64_t count = whole ? 1 : r.outer, nope = (uint64_t)c->size['n'], v = (uint64_t)c->size['v'];
    if (o->op == QN_CV_K_B || o->op == QN_CV_V_B)
        count = (uint64_t)c->size['H'];
    o->pieces = qn__cv_alloc(c, (size_t)count * sizeof *o->pieces);
    if (!o->pieces)
        return false;
    for (uint64_t i = 0; i < count; i++) {
        qn__cv_piece p = {e, i * n, 1, half};
        switch (o->op) {
        case QN_CV_GATE: break;
        case QN_CV_UP: p.row0 += half; break;
        case QN_CV_EVEN:
        case QN_CV_MXFP4_EVEN: p.stride = 2; break;
        case QN_CV_ODD:
        case QN_CV_MXFP4_ODD: p.stride = 2, p.row0++; break;
        case QN_CV_K_B: p = (qn__cv_piece){e, i * (nope + v), 1, nope}; break;
        case QN_CV_V_B: p = (qn__cv_piece){e, i * (nope + v) + nope, 1, v}; break;
        case QN_CV_TAIL: p = (qn__cv_piece){e, (uint64_t)c->skip, 1, r.n - (uint64_t)c->skip}; break;
        default: p.n = r.n; break;
        }
        o->pieces[i] = p;
    }
    o->n_pieces = (size_t)count;
    return true;
}

/* The shape to be written, fastest first. */
static void set_dims(const qn__cv *c, qn__cv_out *o, const qn__cv_entry *e, rows r, uint64_t n_experts)
{
    uint64_t made = 0;
    for (size_t i = 0; i < o->n_pieces; i++)
        made += o->pieces[i].n;
    for (int i = 0; i < QN_MAX_DIMS; i++)
        o->dims[i] = 1;
    if (o->op == QN_CV_K_B || o->op == QN_CV_V_B) {
        bool k = o->op == QN_CV_K_B;
        o->n_dims = 3;
        o->dims[0] = k ? (uint64_t)c->size['n'] : r.cols;
        o->dims[1] = k ? r.cols : (uint64_t)c->size['v'];
        o->dims[2] = (uint64_t)c->size['H'];
    } else if (r.cols == 1 && e->t->n_dims <= 2) { /* elements */
        o->n_dims = e->t->n_dims;
        o->dims[0] = made / r.outer;
        o->dims[1] = r.outer;
    } else {
        uint64_t outer = n_experts ? n_experts : r.outer;
        o->dims[0] = o->op >= QN_CV_MXFP4 && o->op <= QN_CV_MXFP4_ODD ? r.cols * 2 : r.cols;
        o->dims[1] = made / outer;
        o->dims[2] = outer;
        o->n_dims = n_experts || e->t->n_dims - (o->dims[0] != r.cols) > 2 ? 3 : e->t->n_dims;
    }
}

/* Behind '>' in a rule's shape: what is written, when the same numbers get another shape. */
static void reshape(const qn__cv *c, qn__cv_out *o, const char *shape)
{
    const char *to = strchr(shape, '>');
    uint32_t n = to ? (uint32_t)strlen(to + 1) : 0;
    if (!to)
        return;
    for (uint32_t i = 0; i < QN_MAX_DIMS; i++)
        o->dims[i] = i < n ? (uint64_t)c->size[(unsigned char)to[n - i]] : 1;
    o->n_dims = n;
}

static bool begin_out(qn__cv *c, const qn__cv_rule *rule, int64_t layer, qn__cv_out *o)
{
    bool permutes = c->family->flags & QN_CV_PERMUTES;
    *o = (qn__cv_out){.op = rule->op, .name = fill(c, rule->gguf, layer, 0)};
    o->plus_one = rule->op == QN_CV_NORM && c->family->flags & QN_CV_PLUS_ONE;
    o->neg_exp = rule->op == QN_CV_A || rule->op == QN_CV_TILE_A;
    if (rule->op == QN_CV_TILE_COLS)
        o->col_block = (uint64_t)c->size['d'];
    if (rule->op == QN_CV_Q && permutes)
        o->swap = (uint64_t)c->size['D'];
    if (rule->op == QN_CV_Q && !permutes)
        o->op = QN_CV_COPY;
    return o->name != NULL;
}

static bool push_out(qn__cv *c, const qn__cv_out *o)
{
    if (!qn__grow((void **)&c->outs, &c->cap_outs, c->n_outs + 1, sizeof *o))
        return qn__cv_memory(c);
    c->outs[c->n_outs++] = *o;
    for (size_t i = 0; i < o->n_pieces; i++)
        c->bytes_total += o->pieces[i].n * o->cols * qn__st_dtype_size(o->pieces[i].from->t->dtype);
    return true;
}

/* MXFP4's numbers come in two tensors; the blocks' is e. */
static bool find_mxfp4_scales(qn__cv *c, qn__cv_entry *e)
{
    size_t n = strlen(e->name) - strlen("_blocks");
    char name[300];
    (void)snprintf(name, sizeof name, "%.*s_scales", (int)(n < 250 ? n : 250), e->name);
    qn__cv_entry *s = qn__cv_find(c, name);
    if (!s)
        return missing(c, name);
    bool fits = s->t->dtype == QN_ST_U8 && e->t->dtype == QN_ST_U8 && s->t->n_dims == 3 && e->t->n_dims == 4;
    for (int i = 0; i < 3; i++)
        fits = fits && s->t->dims[i] == e->t->dims[i];
    if (!fits)
        return qn__cv_fail(c, QN_EFORMAT, name, "must be U8 with one byte for every 16 bytes of its blocks");
    s->used = true;
    e->scale = s;
    return true;
}

static bool plan_one(qn__cv *c, const qn__cv_rule *rule, int64_t layer, qn__cv_entry *e)
{
    qn__cv_out o;
    bool mxfp4 = rule->op >= QN_CV_MXFP4 && rule->op <= QN_CV_MXFP4_ODD;
    if (!check_shape(c, e, rule->shape) || !(mxfp4 ? find_mxfp4_scales(c, e) : numeric(c, e)) || !begin_out(c, rule, layer, &o))
        return false;
    e->used = true;
    rows r = rows_of(e, o.op);
    o.cols = r.cols;
    if (!add_pieces(c, &o, e, r))
        return false;
    set_dims(c, &o, e, r, 0);
    reshape(c, &o, rule->shape);
    o.type = out_type(c, &o, e, e->t->n_dims <= 1);
    return push_out(c, &o);
}

/* Experts of their own, stacked. */
static bool plan_stack(qn__cv *c, const qn__cv_rule *rule, int64_t layer)
{
    qn__cv_out o;
    uint64_t n = (uint64_t)c->n_experts;
    if (!begin_out(c, rule, layer, &o) || !(o.pieces = qn__cv_alloc(c, n * sizeof *o.pieces)))
        return false;
    qn__cv_entry *e = NULL;
    for (uint64_t i = 0; i < n; i++) {
        char *name = fill(c, rule->hf, layer, (int64_t)i);
        e = name ? qn__cv_find(c, name) : NULL;
        if (!e)
            return c->status == QN_OK ? missing(c, name) : false;
        if (!check_shape(c, e, rule->shape) || !numeric(c, e))
            return false;
        e->used = true;
        o.pieces[i] = (qn__cv_piece){e, 0, 1, e->t->dims[0]};
        o.n_pieces++;
    }
    rows r = rows_of(e, o.op);
    o.cols = r.cols;
    set_dims(c, &o, e, r, n);
    o.type = out_type(c, &o, e, false);
    return push_out(c, &o);
}

/* Is there another rule for the same tensor that takes packed experts, and are they there? */
static bool is_packed(qn__cv *c, const qn__cv_rule *rule, int64_t layer)
{
    for (size_t k = 0; c->family->rules[k]; k++)
        for (const qn__cv_rule *r = c->family->rules[k]; r->hf; r++)
            if (r->need == QN_CV_PACKED && strcmp(r->gguf, rule->gguf) == 0) {
                char *name = fill(c, r->hf, layer, 0);
                return name && qn__cv_find(c, name);
            }
    return false;
}

static bool tied(qn__cv *c, bool there)
{
    bool fallback = !there || c->family->flags & QN_CV_TIED;
    return qn__cv_bool(c, "tie_word_embeddings", fallback);
}

/* Does the layer have what rules of this need are for? */
static bool concerns(const qn__cv *c, qn__cv_need need, int64_t layer)
{
    unsigned has = c->kind ? c->kind[layer] : layer < c->first_moe ? QN_CV_HAS_ATTN | QN_CV_HAS_DENSE : QN_CV_HAS_ATTN | QN_CV_HAS_EXPERTS;
    switch (need) {
    case QN_CV_DENSE: return has & QN_CV_HAS_DENSE;
    case QN_CV_MOE:
    case QN_CV_MOE_MAYBE:
    case QN_CV_PACKED: return has & QN_CV_HAS_EXPERTS;
    case QN_CV_ATTN:
    case QN_CV_ATTN_MAYBE: return has & QN_CV_HAS_ATTN;
    case QN_CV_STATE:
    case QN_CV_STATE_MAYBE: return has & QN_CV_HAS_STATE;
    case QN_CV_KEYS: return has & QN_CV_HAS_KEYS;
    case QN_CV_VALUES: return has & QN_CV_HAS_VALUES;
    case QN_CV_PLE: return has & QN_CV_HAS_PLE;
    default: return true;
    }
}

static bool plan_rule(qn__cv *c, const qn__cv_rule *rule, int64_t layer)
{
    if (!concerns(c, rule->need, layer))
        return true;
    char *name = fill(c, rule->hf, layer, 0);
    if (!name)
        return false;
    if (strchr(rule->hf, '#'))
        return is_packed(c, rule, layer) || plan_stack(c, rule, layer);
    qn__cv_entry *e = qn__cv_find(c, name);
    bool optional = rule->need == QN_CV_MAYBE || rule->need == QN_CV_MOE_MAYBE || rule->need == QN_CV_PACKED ||
                    rule->need == QN_CV_ATTN_MAYBE || rule->need == QN_CV_STATE_MAYBE;
    if (rule->need == QN_CV_HEAD && tied(c, e != NULL)) {
        if (e)
            e->used = true; /* the embeddings once more */
        return c->status == QN_OK;
    }
    if (!e)
        return optional || missing(c, name);
    return plan_one(c, rule, layer, e);
}

static bool plan_rules(qn__cv *c, const qn__cv_rule *rules, int64_t layer, bool globals)
{
    for (const qn__cv_rule *r = rules; r->hf; r++)
        if ((strchr(r->hf, '*') == NULL) == globals && !plan_rule(c, r, layer))
            return false;
    return true;
}

/* ---- what is left ---- */

static bool ends(const char *s, const char *with)
{
    size_t n = strlen(s), m = strlen(with);
    return n >= m && strcmp(s + n - m, with) == 0;
}

/* Tables that are computed anyway, scales of activations and caches, keys of layers that read others', layers that guess further
 * tokens, other modalities. */
static bool needless(qn__cv *c, const qn__cv_entry *e)
{
    unsigned layer;
    static const char *const suffixes[] = {".rotary_emb.inv_freq", ".input_scale", ".activation_scale", ".k_scale", ".v_scale", ".masked_bias"};
    static const char *const modal[] = {"vision_tower.", "multi_modal_projector.", "vision_model.", "visual.", "audio_tower.", "embed_vision.", "embed_audio.", "vision_embedder."};
    for (size_t i = 0; i < sizeof suffixes / sizeof *suffixes; i++)
        if (ends(e->name, suffixes[i]))
            return true;
    if (c->family->flags & QN_CV_VISION)
        for (size_t i = 0; i < sizeof modal / sizeof *modal; i++)
            if (strncmp(e->name, modal[i], strlen(modal[i])) == 0)
                return true;
    static const char *const training[] = {"pooler.", "cls.predictions.", "cls.seq_relationship.", "embeddings.position_ids", "lm_head."};
    for (size_t i = 0; c->family->flags & QN_CV_ENCODER && i < sizeof training / sizeof *training; i++)
        if (strncmp(e->name, training[i], strlen(training[i])) == 0)
            return true;
    if (c->family->flags & QN_CV_MTP && strncmp(e->name, "mtp.", 4) == 0)
        return true;
    static const char *const of_keys[] = {".self_attn.k_proj.weight", ".self_attn.v_proj.weight", ".self_attn.k_norm.weight", ".self_attn.v_norm.weight"};
    for (size_t i = 0; c->first_shared > 0 && i < sizeof of_keys / sizeof *of_keys; i++)
        if (ends(e->name, of_keys[i]) && sscanf(e->name, "layers.%5u.", &layer) == 1 && layer >= c->first_shared && layer < c->n_layers)
            return true;
    int64_t further = qn__cv_int(c, "num_nextn_predict_layers", 0, 64, 0);
    if (further > 0 && sscanf(e->name, "layers.%5u.", &layer) == 1)
        return layer >= c->n_layers && layer < c->n_layers + further;
    return false;
}

static bool account(qn__cv *c)
{
    for (size_t i = 0; i < c->n_entries && c->status == QN_OK; i++) {
        qn__cv_entry *e = &c->entries[i];
        if (e->used)
            continue;
        if (!needless(c, e)) {
            char where[160];
            (void)snprintf(where, sizeof where, "tensor %.140s", e->t->name);
            return qn__cv_fail(c, QN_EUNSUPPORTED, where, "has no place in architecture %s as this build knows it; leaving it out would compute something else", c->family->arch);
        }
        if (c->result->n_left_out++ == 0)
            (void)snprintf(c->result->left_out, sizeof c->result->left_out, "%.90s", e->t->name);
    }
    return c->status == QN_OK;
}

bool qn__cv_plan_made(qn__cv *c, const char *name, const float *v, uint64_t n)
{
    qn__cv_out o = {.name = name, .type = QN_F32, .n_dims = 1, .dims = {n, 1, 1, 1}, .cols = n, .made = v};
    return push_out(c, &o);
}

bool qn__cv_plan(qn__cv *c)
{
    for (int pass = 0; pass < 2; pass++)
        for (int64_t layer = 0; layer < (pass ? c->n_layers : 1); layer++) {
            if (c->layer && pass)
                c->layer(c, layer);
            for (size_t k = 0; c->family->rules[k] && c->status == QN_OK; k++)
                (void)plan_rules(c, c->family->rules[k], layer, pass == 0);
        }
    return c->status == QN_OK && account(c);
}
