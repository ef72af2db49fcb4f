/* grammar_spell.c - an expression becomes a nondeterministic automaton over bytes: characters are spelled in UTF-8, or as in
 * a JSON string (raw, with the escapes that serialisers write where a raw one is not allowed). */
#include "text/grammar_compile.h"

/* ---- characters ---- */

/* All characters of `n` bytes between those spelled lo and hi. */
static void spell_run(qn_nfa *a, int32_t from, int32_t to, const uint8_t *lo, const uint8_t *hi, int n)
{
    if (n == 1) {
        qn__nfa_step(a, from, lo[0], hi[0], to);
        return;
    }
    static const uint8_t low[3] = {0x80, 0x80, 0x80}, high[3] = {0xBF, 0xBF, 0xBF};
    bool from_low = !memcmp(lo + 1, low, (size_t)n - 1), to_high = !memcmp(hi + 1, high, (size_t)n - 1);
    unsigned a0 = lo[0], b0 = hi[0];
    if (a0 == b0 || (from_low && to_high)) {
        int32_t mid = qn__nfa_node(a);
        qn__nfa_step(a, from, a0, b0, mid);
        spell_run(a, mid, to, lo + 1, hi + 1, n - 1);
        return;
    }
    if (!from_low) {
        int32_t mid = qn__nfa_node(a);
        qn__nfa_step(a, from, a0, a0, mid);
        spell_run(a, mid, to, lo + 1, high, n - 1);
        a0++;
    }
    if (!to_high) {
        int32_t mid = qn__nfa_node(a);
        qn__nfa_step(a, from, b0, b0, mid);
        spell_run(a, mid, to, low, hi + 1, n - 1);
        b0--;
    }
    if (a0 <= b0) {
        int32_t mid = qn__nfa_node(a);
        qn__nfa_step(a, from, a0, b0, mid);
        spell_run(a, mid, to, low, high, n - 1);
    }
}

static void spell_utf8(qn_nfa *a, int32_t from, int32_t to, uint32_t lo, uint32_t hi)
{
    static const uint32_t last[] = {0x7F, 0x7FF, 0xFFFF, QN_CHAR_MAX};
    for (int i = 0; i < 4 && lo <= hi; i++) {
        if (lo > last[i])
            continue;
        uint32_t end = hi < last[i] ? hi : last[i];
        char x[4], y[4];
        size_t n = qn__utf8_encode((int32_t)lo, x);
        (void)qn__utf8_encode((int32_t)end, y);
        spell_run(a, from, to, (const uint8_t *)x, (const uint8_t *)y, (int)n);
        lo = last[i] + 1;
    }
}

static int32_t spell_bytes(qn_nfa *a, int32_t from, const char *s, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        int32_t to = qn__nfa_node(a);
        qn__nfa_step(a, from, (uint8_t)s[i], (uint8_t)s[i], to);
        from = to;
    }
    return from;
}

/* A character below 0x20, a quote or a backslash, as serialisers write it inside a string. */
static void spell_escape(qn_nfa *a, int32_t from, int32_t to, uint32_t c)
{
    static const char in[] = "\b\t\n\f\r\"\\", out[] = "btnfr\"\\";
    int32_t slash = spell_bytes(a, from, "\\", 1);
    const char *p = memchr(in, (int)c, sizeof in - 1);
    if (p && *p) {
        qn__nfa_step(a, slash, (uint8_t)out[p - in], (uint8_t)out[p - in], to);
        return;
    }
    const char hex[] = "0123456789abcdef";
    char text[4] = {'u', '0', '0', (char)('0' + (c >> 4))};
    int32_t at = spell_bytes(a, slash, text, 4);
    uint8_t d = (uint8_t)hex[c & 15];
    qn__nfa_step(a, at, d, d, to);
    if (d > '9')
        qn__nfa_step(a, at, d - 32u, d - 32u, to);
}

void qn__spell_chars(qn_nfa *a, int32_t from, int32_t to, uint32_t lo, uint32_t hi, bool json)
{
    if (!json) {
        spell_utf8(a, from, to, lo, hi);
        return;
    }
    for (uint32_t c = lo; c < 0x20 && c <= hi; c++)
        spell_escape(a, from, to, c);
    for (int i = 0; i < 2; i++) {
        uint32_t c = (uint32_t) "\"\\"[i];
        if (lo <= c && c <= hi)
            spell_escape(a, from, to, c);
    }
    static const uint32_t raw[3][2] = {{0x20, '"' - 1}, {'"' + 1, '\\' - 1}, {'\\' + 1, QN_CHAR_MAX}};
    for (int i = 0; i < 3; i++) {
        uint32_t x = lo > raw[i][0] ? lo : raw[i][0], y = hi < raw[i][1] ? hi : raw[i][1];
        if (x <= y)
            spell_utf8(a, from, to, x, y);
    }
}

/* ---- expressions ---- */

static int32_t spell_fa(qn_compiler *c, qn_nfa *a, const qn_ir_node *x, int32_t from)
{
    const qn_fa *f = &c->ir->fas[x->a];
    int32_t first = (int32_t)a->n, end = -1;
    for (size_t i = 0; i < f->n_states + 1; i++)
        end = qn__nfa_node(a);
    if (a->failed || !f->n_states)
        return end;
    qn__nfa_eps(a, from, first);
    for (size_t i = 0; i < f->n_states; i++) {
        int32_t at = first + (int32_t)i;
        for (uint32_t e = 0; e < f->states[i].n_edges && !a->failed; e++) {
            const qn_range *r = &f->edges[f->states[i].edge + e];
            if (x->kind == QN_IR_BYTES)
                qn__nfa_step(a, at, r->lo, r->hi, first + r->to);
            else
                qn__spell_chars(a, at, first + r->to, r->lo, r->hi, x->flag);
        }
        if (f->states[i].final)
            qn__nfa_eps(a, at, end);
    }
    return end;
}

/* How many nodes the expression takes, roughly; never more than `cap`. */
static size_t size_of(const qn_ir *ir, qn_node n, size_t cap)
{
    const qn_ir_node *x = &ir->nodes[n];
    size_t s = 1;
    switch (x->kind) {
    case QN_IR_TEXT: s = x->b; break;
    case QN_IR_CLASS: s = 1 + x->b; break;
    case QN_IR_SEQ:
    case QN_IR_ALT:
        for (uint32_t i = 0; i < x->b && s < cap; i++)
            s += size_of(ir, ir->kids[x->a + i], cap - s);
        break;
    case QN_IR_REPEAT: {
        size_t one = size_of(ir, (qn_node)x->a, cap), times = x->c == UINT32_MAX ? (size_t)x->b + 1 : x->c;
        s = times > cap / (one ? one : 1) ? cap : one * times;
        break;
    }
    case QN_IR_FA:
    case QN_IR_BYTES: s = ir->fas[x->a].n_edges; break;
    default: break;
    }
    return s < cap ? s : cap;
}

static int32_t spell_repeat(qn_compiler *c, qn_nfa *a, const qn_ir_node *x, int32_t from)
{
    qn_node body = (qn_node)x->a;
    uint32_t min = x->b, max = x->c;
    bool endless = max == UINT32_MAX;
    uint32_t times = endless ? min : max;
    size_t one = size_of(c->ir, body, 4096);
    bool nullable = c->nullable_node[body];
    if (times > 1 && !nullable && ((times > QN_COUNT_UNROLL && one * times > 64) || one * times > 400)) {
        int32_t to = qn__nfa_node(a);
        uint32_t sym = qn__compile_count(c, body, min ? min : 1, max);
        qn__nfa_step(a, from, sym, sym, to);
        if (!min)
            qn__nfa_eps(a, from, to);
        return to;
    }
    if (nullable)
        min = 0; /* the empty match is one of them already */
    int32_t at = from;
    for (uint32_t i = 0; i < min && !a->failed; i++)
        at = qn__spell(c, a, body, at);
    if (endless) {
        int32_t loop = qn__nfa_node(a);
        qn__nfa_eps(a, at, loop);
        int32_t back = qn__spell(c, a, body, loop);
        if (back != loop)
            qn__nfa_eps(a, back, loop);
        /* What follows may hang steps on the node that is handed back. */
        int32_t end = qn__nfa_node(a);
        qn__nfa_eps(a, loop, end);
        return end;
    }
    int32_t end = qn__nfa_node(a);
    for (uint32_t i = min; i < max && !a->failed; i++) {
        qn__nfa_eps(a, at, end);
        int32_t fresh = qn__nfa_node(a);
        qn__nfa_eps(a, at, fresh);
        at = qn__spell(c, a, body, fresh);
    }
    qn__nfa_eps(a, at, end);
    return end;
}

int32_t qn__spell(qn_compiler *c, qn_nfa *a, qn_node n, int32_t from)
{
    const qn_ir *ir = c->ir;
    const qn_ir_node *x = &ir->nodes[n];
    int32_t to;
    uint32_t sym;
    if (a->failed)
        return 0;
    switch ((qn_ir_kind)x->kind) {
    case QN_IR_TEXT: return spell_bytes(a, from, ir->text + x->a, x->b);
    case QN_IR_SPECIAL:
        to = qn__nfa_node(a);
        qn__nfa_step(a, from, QN_SYM_TOKEN + x->a, QN_SYM_TOKEN + x->a, to);
        return to;
    case QN_IR_CLASS:
        to = qn__nfa_node(a);
        for (uint32_t i = 0; i < x->b && !a->failed; i++)
            qn__spell_chars(a, from, to, ir->ranges[x->a + i][0], ir->ranges[x->a + i][1], x->flag);
        return to;
    case QN_IR_SEQ:
        for (uint32_t i = 0; i < x->b && !a->failed; i++)
            from = qn__spell(c, a, ir->kids[x->a + i], from);
        return from;
    case QN_IR_ALT:
        to = qn__nfa_node(a);
        for (uint32_t i = 0; i < x->b && !a->failed; i++) {
            int32_t fresh = qn__nfa_node(a);
            qn__nfa_eps(a, from, fresh);
            int32_t end = qn__spell(c, a, ir->kids[x->a + i], fresh);
            qn__nfa_eps(a, end, to);
        }
        return to;
    case QN_IR_REPEAT: return spell_repeat(c, a, x, from);
    case QN_IR_RULE: {
        qn_node body = ir->rules[x->a].body;
        uint8_t kind = body >= 0 ? ir->nodes[body].kind : QN_IR_RULE;
        if (kind == QN_IR_TEXT || kind == QN_IR_SPECIAL || (kind == QN_IR_CLASS && ir->nodes[body].b <= 4))
            return qn__spell(c, a, body, from);
        sym = qn__compile_call(c, x->a);
        break;
    }
    case QN_IR_FA:
    case QN_IR_BYTES: return spell_fa(c, a, x, from);
    default: sym = qn__compile_collect(c, x->a); break;
    }
    to = qn__nfa_node(a);
    qn__nfa_step(a, from, sym, sym, to);
    return to;
}
