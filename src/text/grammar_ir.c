/* grammar_ir.c - expressions by calls, see grammar.h. Owns everything that a description becomes before it is compiled.
 * Refuses more nodes and deeper nesting than a bound; the first failure is remembered and whatever is built of a failed node
 * fails, so that a builder checks once, at the end. */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "text/grammar_json.h"

qn_status qn__ir_open(const qn_tokenizer *t, qn_ir **out, qn_err *err)
{
    qn_ir *ir = qn__calloc(1, sizeof *ir);
    if (!ir)
        return qn__fail_mem(err, "grammar");
    ir->t = t;
    ir->root = -1;
    ir->work = QN_GRAMMAR_WORK_MAX;
    *out = ir;
    return QN_OK;
}

void qn__ir_close(qn_ir *ir)
{
    if (!ir)
        return;
    for (size_t i = 0; i < ir->n_fas; i++)
        qn__fa_free(&ir->fas[i]);
    qn__ir_json_free(ir);
    qn_free(ir->nodes);
    qn_free(ir->kids);
    qn_free(ir->ranges);
    qn_free(ir->text);
    qn_free(ir->fas);
    qn_free(ir->collects);
    qn_free(ir->members);
    qn_free(ir->rules);
    qn_free(ir->rule_hash);
    qn_free(ir);
}

qn_node qn__ir_fail(qn_ir *ir, qn_status code, const char *where, const char *fmt, ...)
{
    if (!ir->err.code) {
        char text[sizeof ir->err.what];
        va_list ap;
        va_start(ap, fmt);
        (void)vsnprintf(text, sizeof text, fmt, ap);
        va_end(ap);
        (void)qn__fail(&ir->err, code, where, "%s", text);
    }
    return -1;
}

static qn_node no_memory(qn_ir *ir)
{
    return qn__ir_fail(ir, QN_ENOMEM, "grammar", "out of memory");
}

qn_status qn__ir_check(const qn_ir *ir, qn_err *err)
{
    if (ir->err.code && err)
        *err = ir->err;
    return ir->err.code;
}

static qn_node put_node(qn_ir *ir, qn_ir_node x)
{
    if (ir->err.code)
        return -1;
    if (ir->n_nodes >= QN_IR_NODES_MAX)
        return qn__ir_fail(ir, QN_ELIMIT, "grammar", "the grammar is too large: more than %d expressions", QN_IR_NODES_MAX);
    if (x.depth > QN_IR_DEPTH_MAX)
        return qn__ir_fail(ir, QN_ELIMIT, "grammar", "expressions are nested more than %d deep", QN_IR_DEPTH_MAX);
    if (!qn__grow((void **)&ir->nodes, &ir->cap_nodes, ir->n_nodes + 1, sizeof *ir->nodes))
        return no_memory(ir);
    ir->nodes[ir->n_nodes] = x;
    return (qn_node)ir->n_nodes++;
}

static bool put_text(qn_ir *ir, const char *s, size_t n, uint32_t *at)
{
    size_t need;
    if (!qn__add(ir->n_text, n, &need) || need > INT32_MAX || !qn__grow((void **)&ir->text, &ir->cap_text, need + 1, 1)) {
        (void)no_memory(ir);
        return false;
    }
    *at = (uint32_t)ir->n_text;
    if (n)
        memcpy(ir->text + ir->n_text, s, n);
    ir->n_text = need;
    return true;
}

qn_node qn__ir_text(qn_ir *ir, const char *text, size_t n)
{
    uint32_t at;
    if (ir->err.code || !put_text(ir, text, n, &at))
        return -1;
    return put_node(ir, (qn_ir_node){.kind = QN_IR_TEXT, .a = at, .b = (uint32_t)n});
}

/* The token of exactly this text that is not ordinary text; -1 when none. */
static int32_t special_id(const qn_ir *ir, const char *text)
{
    int32_t id = ir->t ? qn__token_find(ir->t, text, strlen(text)) : -1;
    if (id < 0)
        return -1;
    qn_token_attr a = qn__token_attr(ir->t, id);
    return a == QN_TOKEN_CONTROL || a == QN_TOKEN_USER || a == QN_TOKEN_UNKNOWN ? id : -1;
}

qn_node qn__ir_special(qn_ir *ir, const char *text)
{
    int32_t id = special_id(ir, text);
    if (id < 0)
        return qn__ir_text(ir, text, strlen(text));
    return put_node(ir, (qn_ir_node){.kind = QN_IR_SPECIAL, .a = (uint32_t)id});
}

static int by_range(const void *a, const void *b)
{
    const uint32_t *x = a, *y = b;
    return x[0] != y[0] ? (x[0] > y[0]) - (x[0] < y[0]) : (x[1] > y[1]) - (x[1] < y[1]);
}

size_t qn__ranges_tidy(uint32_t (*r)[2], size_t n)
{
    size_t out = 0;
    if (!n)
        return 0;
    qsort(r, n, sizeof *r, by_range);
    for (size_t i = 0; i < n; i++) {
        if (r[i][0] > r[i][1])
            continue;
        if (out && r[i][0] <= r[out - 1][1] + 1) {
            if (r[i][1] > r[out - 1][1])
                r[out - 1][1] = r[i][1];
        } else {
            r[out][0] = r[i][0];
            r[out++][1] = r[i][1];
        }
    }
    return out;
}

static bool put_range(qn_ir *ir, uint32_t lo, uint32_t hi)
{
    if (lo > hi)
        return true;
    if (!qn__grow((void **)&ir->ranges, &ir->cap_ranges, ir->n_ranges + 1, sizeof *ir->ranges)) {
        (void)no_memory(ir);
        return false;
    }
    ir->ranges[ir->n_ranges][0] = lo;
    ir->ranges[ir->n_ranges++][1] = hi;
    return true;
}

/* lo..hi without the surrogates, which no text holds */
static bool put_chars(qn_ir *ir, uint32_t lo, uint32_t hi)
{
    if (hi > QN_CHAR_MAX)
        hi = QN_CHAR_MAX;
    return put_range(ir, lo, hi < 0xD7FF ? hi : 0xD7FF) && put_range(ir, lo > 0xE000 ? lo : 0xE000, hi);
}

static qn_node put_class(qn_ir *ir, const uint32_t (*ranges)[2], size_t n, bool negated, bool json)
{
    if (ir->err.code)
        return -1;
    uint32_t(*r)[2] = qn__alloc((n + 1) * sizeof *r);
    size_t size = 0, first = ir->n_ranges;
    bool ok = r && qn__mul(n, sizeof *r, &size);
    if (!ok)
        return no_memory(ir);
    if (n)
        memcpy(r, ranges, size);
    n = qn__ranges_tidy(r, n);
    uint32_t from = 0;
    for (size_t i = 0; ok && i < n; i++) {
        if (negated) {
            ok = r[i][0] == 0 || put_chars(ir, from, r[i][0] - 1);
            from = r[i][1] + 1;
        } else {
            ok = put_chars(ir, r[i][0], r[i][1]);
        }
    }
    if (ok && negated && from <= QN_CHAR_MAX)
        ok = put_chars(ir, from, QN_CHAR_MAX);
    qn_free(r);
    if (!ok)
        return -1;
    return put_node(ir, (qn_ir_node){.kind = QN_IR_CLASS, .flag = json, .a = (uint32_t)first, .b = (uint32_t)(ir->n_ranges - first)});
}

qn_node qn__ir_class(qn_ir *ir, const uint32_t (*ranges)[2], size_t n, bool negated)
{
    return put_class(ir, ranges, n, negated, false);
}

qn_node qn__ir_json_class(qn_ir *ir, const uint32_t (*ranges)[2], size_t n, bool negated)
{
    return put_class(ir, ranges, n, negated, true);
}

static qn_node put_list(qn_ir *ir, qn_ir_kind kind, const qn_node *nodes, size_t n)
{
    uint16_t depth = 0;
    if (ir->err.code)
        return -1;
    if (n == 1)
        return nodes[0];
    if (!qn__grow((void **)&ir->kids, &ir->cap_kids, ir->n_kids + n, sizeof *ir->kids))
        return no_memory(ir);
    for (size_t i = 0; i < n; i++) {
        if (nodes[i] < 0)
            return qn__ir_fail(ir, QN_EINVAL, "grammar", "an expression is built of one that failed");
        if (ir->nodes[nodes[i]].depth >= depth)
            depth = (uint16_t)(ir->nodes[nodes[i]].depth + 1);
        ir->kids[ir->n_kids + i] = nodes[i];
    }
    uint32_t first = (uint32_t)ir->n_kids;
    ir->n_kids += n;
    return put_node(ir, (qn_ir_node){.kind = (uint8_t)kind, .depth = depth, .a = first, .b = (uint32_t)n});
}

qn_node qn__ir_seq(qn_ir *ir, const qn_node *nodes, size_t n)
{
    return put_list(ir, QN_IR_SEQ, nodes, n);
}

qn_node qn__ir_alt(qn_ir *ir, const qn_node *nodes, size_t n)
{
    return put_list(ir, QN_IR_ALT, nodes, n);
}

qn_node qn__ir_repeat(qn_ir *ir, qn_node what, uint32_t min, uint32_t max)
{
    if (ir->err.code)
        return -1;
    if (what < 0 || min > max)
        return qn__ir_fail(ir, QN_EINVAL, "grammar", "a repeat of at least %u and at most %u", min, max);
    if (max == 0)
        return qn__ir_seq(ir, NULL, 0);
    if (min == 1 && max == 1)
        return what;
    return put_node(ir, (qn_ir_node){.kind = QN_IR_REPEAT, .depth = (uint16_t)(ir->nodes[what].depth + 1), .a = (uint32_t)what, .b = min, .c = max});
}

/* ---- rules ---- */

static bool rehash_rules(qn_ir *ir)
{
    uint32_t mask = ir->rule_mask ? ir->rule_mask * 2 + 1 : 63;
    uint32_t *hash = qn__alloc(((size_t)mask + 1) * sizeof *hash);
    if (!hash)
        return false;
    memset(hash, 0xFF, ((size_t)mask + 1) * sizeof *hash);
    for (size_t i = 0; i < ir->n_rules; i++) {
        uint32_t *slot = &hash[(uint32_t)qn__hash(ir->text + ir->rules[i].name, ir->rules[i].n_name) & mask];
        ir->rules[i].next = *slot;
        *slot = (uint32_t)i;
    }
    qn_free(ir->rule_hash);
    ir->rule_hash = hash;
    ir->rule_mask = mask;
    return true;
}

/* The rule of that name, made when there is none; -1 on failure. */
static int32_t find_rule(qn_ir *ir, const char *name)
{
    size_t n = strlen(name);
    uint32_t at;
    if (ir->err.code)
        return -1;
    if ((!ir->rule_hash || ir->n_rules > ir->rule_mask) && !rehash_rules(ir))
        return no_memory(ir);
    uint32_t *slot = &ir->rule_hash[(uint32_t)qn__hash(name, n) & ir->rule_mask];
    for (uint32_t i = *slot; i != UINT32_MAX; i = ir->rules[i].next)
        if (ir->rules[i].n_name == n && !memcmp(ir->text + ir->rules[i].name, name, n))
            return (int32_t)i;
    if (ir->n_rules >= QN_IR_NODES_MAX)
        return qn__ir_fail(ir, QN_ELIMIT, "grammar", "more than %d rules", QN_IR_NODES_MAX);
    if (!put_text(ir, name, n, &at) || !qn__grow((void **)&ir->rules, &ir->cap_rules, ir->n_rules + 1, sizeof *ir->rules))
        return no_memory(ir);
    ir->rules[ir->n_rules] = (struct qn_ir_rule){at, (uint32_t)n, -1, *slot};
    *slot = (uint32_t)ir->n_rules;
    return (int32_t)ir->n_rules++;
}

qn_node qn__ir_rule(qn_ir *ir, const char *name)
{
    int32_t r = find_rule(ir, name);
    return r < 0 ? -1 : put_node(ir, (qn_ir_node){.kind = QN_IR_RULE, .a = (uint32_t)r});
}

void qn__ir_define(qn_ir *ir, const char *name, qn_node body)
{
    int32_t r = find_rule(ir, name);
    if (r < 0)
        return;
    if (body < 0)
        (void)qn__ir_fail(ir, QN_EINVAL, name, "the rule's body could not be built");
    else if (ir->rules[r].body >= 0)
        (void)qn__ir_fail(ir, QN_EFORMAT, name, "the rule is defined twice");
    else
        ir->rules[r].body = body;
}

void qn__ir_root(qn_ir *ir, qn_node body)
{
    ir->root = body;
}

/* ---- automata and collections ---- */

static qn_node put_fa(qn_ir *ir, qn_fa *fa, qn_ir_kind kind, bool json)
{
    if (ir->err.code || !qn__grow((void **)&ir->fas, &ir->cap_fas, ir->n_fas + 1, sizeof *ir->fas)) {
        qn__fa_free(fa);
        return ir->err.code ? -1 : no_memory(ir);
    }
    ir->fas[ir->n_fas] = *fa;
    *fa = (qn_fa){0};
    return put_node(ir, (qn_ir_node){.kind = (uint8_t)kind, .flag = json, .a = (uint32_t)ir->n_fas++});
}

qn_node qn__ir_fa(qn_ir *ir, qn_fa *fa, bool json)
{
    return put_fa(ir, fa, QN_IR_FA, json);
}

qn_node qn__ir_bytes_fa(qn_ir *ir, qn_fa *fa)
{
    return put_fa(ir, fa, QN_IR_BYTES, false);
}

qn_node qn__ir_collect(qn_ir *ir, const qn_ir_member *members, size_t n, uint32_t min, uint32_t max)
{
    uint16_t depth = 0;
    size_t named = 0;
    if (ir->err.code)
        return -1;
    for (size_t i = 0; i < n; i++) {
        if (members[i].first < 0 || members[i].rest < 0)
            return qn__ir_fail(ir, QN_EINVAL, "grammar", "a collection is built of an expression that failed");
        named += !members[i].extra;
        for (int k = 0; k < 2; k++) {
            uint16_t d = ir->nodes[k ? members[i].rest : members[i].first].depth;
            depth = d >= depth ? (uint16_t)(d + 1) : depth;
        }
    }
    if (named > QN_MEMBERS_MAX)
        return qn__ir_fail(ir, QN_ELIMIT, "grammar", "more than %d members of a collection", QN_MEMBERS_MAX);
    if (!qn__grow((void **)&ir->members, &ir->cap_members, ir->n_members + n, sizeof *ir->members) ||
        !qn__grow((void **)&ir->collects, &ir->cap_collects, ir->n_collects + 1, sizeof *ir->collects))
        return no_memory(ir);
    ir->collects[ir->n_collects] = (qn_ir_collect){(uint32_t)ir->n_members, (uint32_t)n, min ? min : 1, max};
    for (int pass = 0; pass < 2; pass++) /* those with a bit first */
        for (size_t i = 0; i < n; i++)
            if (members[i].extra == (pass == 1))
                ir->members[ir->n_members++] = members[i];
    return put_node(ir, (qn_ir_node){.kind = QN_IR_COLLECT, .depth = depth, .a = (uint32_t)ir->n_collects++});
}
