/* grammar_compile.c - from expressions to the tables that a matcher runs on. Owns qn_grammar.
 *
 * Refuses: rules that are not defined; left recursion (a rule that meets itself before a byte was read: the matcher would push
 * frames for ever); a grammar that matches nothing; too many states. What can never come to an end is cut away, so that a
 * matcher that took a byte can always go on. */
#include "text/grammar_compile.h"

/* ---- units and symbols, found while spelling ---- */

static uint32_t new_unit(qn_compiler *c, qn_node body, int32_t rule)
{
    if (c->no_memory || !qn__grow((void **)&c->units, &c->cap_units, c->n_units + 1, sizeof *c->units) ||
        !qn__grow((void **)&c->call_of_unit, &c->cap_calls, c->n_units + 1, sizeof *c->call_of_unit)) {
        c->no_memory = true;
        return 0;
    }
    c->units[c->n_units] = (qn_unit){.body = body, .rule = rule};
    c->call_of_unit[c->n_units] = -1;
    return (uint32_t)c->n_units++;
}

static uint32_t new_sym(qn_compiler *c, qn_sym s)
{
    if (!qn__grow((void **)&c->syms, &c->cap_syms, c->n_syms + 1, sizeof *c->syms)) {
        c->no_memory = true;
        return QN_SYM_PUSH;
    }
    c->syms[c->n_syms] = s;
    return QN_SYM_PUSH + (uint32_t)c->n_syms++;
}

static uint32_t unit_of(qn_compiler *c, qn_node body)
{
    if (c->ir->nodes[body].kind == QN_IR_RULE && c->ir->rules[c->ir->nodes[body].a].body >= 0) {
        uint32_t r = c->ir->nodes[body].a;
        if (c->unit_of_rule[r] < 0)
            c->unit_of_rule[r] = (int32_t)new_unit(c, c->ir->rules[r].body, (int32_t)r);
        return (uint32_t)c->unit_of_rule[r];
    }
    if (c->unit_of_node[body] < 0)
        c->unit_of_node[body] = (int32_t)new_unit(c, body, -1);
    return (uint32_t)c->unit_of_node[body];
}

uint32_t qn__compile_call(qn_compiler *c, uint32_t rule)
{
    if (c->unit_of_rule[rule] < 0)
        c->unit_of_rule[rule] = (int32_t)new_unit(c, c->ir->rules[rule].body, (int32_t)rule);
    uint32_t u = (uint32_t)c->unit_of_rule[rule];
    if (c->no_memory)
        return QN_SYM_PUSH;
    if (c->call_of_unit[u] < 0)
        c->call_of_unit[u] = (int32_t)new_sym(c, (qn_sym){.kind = QN_FRAME_CALL, .unit = u});
    return (uint32_t)c->call_of_unit[u];
}

uint32_t qn__compile_count(qn_compiler *c, qn_node body, uint32_t min, uint32_t max)
{
    uint32_t u = unit_of(c, body);
    return new_sym(c, (qn_sym){.kind = QN_FRAME_COUNT, .unit = u, .min = min, .max = max});
}

uint32_t qn__compile_collect(qn_compiler *c, uint32_t collect)
{
    const qn_ir_collect *k = &c->ir->collects[collect];
    if (c->sym_of_collect[collect] >= 0)
        return (uint32_t)c->sym_of_collect[collect];
    for (uint32_t i = 0; i < k->n_members && !c->no_memory; i++) {
        (void)unit_of(c, c->ir->members[k->member + i].first);
        (void)unit_of(c, c->ir->members[k->member + i].rest);
    }
    uint32_t sym = new_sym(c, (qn_sym){.kind = QN_FRAME_COLLECT, .collect = collect, .min = k->min, .max = k->max});
    c->sym_of_collect[collect] = (int32_t)sym;
    return sym;
}

static uint32_t member_unit(qn_compiler *c, const qn_ir_collect *k, uint32_t i, bool rest)
{
    const qn_ir_member *m = &c->ir->members[k->member + i];
    return unit_of(c, rest ? m->rest : m->first);
}

/* ---- which expressions match nothing-at-all, before anything is spelled ---- */

static bool node_nullable(const qn_compiler *c, size_t i)
{
    const qn_ir *ir = c->ir;
    const qn_ir_node *x = &ir->nodes[i];
    switch (x->kind) {
    case QN_IR_TEXT: return x->b == 0;
    case QN_IR_SEQ:
        for (uint32_t k = 0; k < x->b; k++)
            if (!c->nullable_node[ir->kids[x->a + k]])
                return false;
        return true;
    case QN_IR_ALT:
        for (uint32_t k = 0; k < x->b; k++)
            if (c->nullable_node[ir->kids[x->a + k]])
                return true;
        return false;
    case QN_IR_REPEAT: return x->b == 0 || c->nullable_node[x->a];
    case QN_IR_RULE: return ir->rules[x->a].body >= 0 && c->nullable_node[ir->rules[x->a].body];
    case QN_IR_FA:
    case QN_IR_BYTES: return ir->fas[x->a].n_states && ir->fas[x->a].states[0].final;
    default: return false;
    }
}

static qn_status find_nullable(qn_compiler *c, qn_err *err)
{
    for (bool changed = true; changed;) {
        changed = false;
        if (c->work < c->ir->n_nodes)
            return qn__fail(err, QN_ELIMIT, "grammar", "rules that may match nothing depend on each other in too long a chain");
        c->work -= c->ir->n_nodes;
        for (size_t i = 0; i < c->ir->n_nodes; i++)
            if (!c->nullable_node[i] && node_nullable(c, i))
                changed = c->nullable_node[i] = true;
    }
    return QN_OK;
}

/* ---- making units ---- */

/* A rule's name, for errors; out has room for 64 bytes. */
static const char *unit_name(const qn_compiler *c, size_t u, char out[64])
{
    const qn_unit *x = &c->units[u];
    if (x->rule < 0)
        return "grammar";
    const struct qn_ir_rule *r = &c->ir->rules[x->rule];
    size_t n = r->n_name < 63 ? r->n_name : 63;
    memcpy(out, c->ir->text + r->name, n);
    out[n] = 0;
    return out;
}

static qn_status add_user(qn_compiler *c, uint32_t unit, uint32_t user, qn_err *err)
{
    qn_unit *u = &c->units[unit];
    if (u->n_users && u->users[u->n_users - 1] == user)
        return QN_OK;
    if (!qn__grow((void **)&u->users, &u->cap_users, u->n_users + 1, sizeof *u->users))
        return qn__fail_mem(err, "grammar");
    u->users[u->n_users++] = user;
    return QN_OK;
}

static qn_status add_users(qn_compiler *c, uint32_t user, qn_err *err)
{
    const qn_fa *f = &c->units[user].fa;
    qn_status st = QN_OK;
    for (size_t e = 0; e < f->n_edges; e++) {
        if (f->edges[e].hi < QN_SYM_PUSH || f->edges[e].lo >= QN_SYM_TOKEN)
            continue;
        for (uint32_t s = f->edges[e].lo; s <= f->edges[e].hi && !st; s++) {
            const qn_sym *x = &c->syms[s - QN_SYM_PUSH];
            if (x->kind != QN_FRAME_COLLECT) {
                st = add_user(c, x->unit, user, err);
                continue;
            }
            const qn_ir_collect *k = &c->ir->collects[x->collect];
            for (uint32_t i = 0; i < 2 * k->n_members && !st; i++)
                st = add_user(c, member_unit(c, k, i / 2, i & 1), user, err);
        }
        if (st)
            return st;
    }
    return QN_OK;
}

static qn_status make_unit(qn_compiler *c, size_t u, size_t *n_states, qn_err *err)
{
    char name[64];
    qn_node body = c->units[u].body;
    const char *where = unit_name(c, u, name);
    if (body < 0)
        return qn__fail(err, QN_EFORMAT, where, "the rule is used but not defined");
    qn_nfa a = {.limit = QN_GRAMMAR_STATES_MAX};
    int32_t start = qn__nfa_node(&a);
    int32_t end = qn__spell(c, &a, body, start);
    qn_status st = c->no_memory ? qn__fail_mem(err, "grammar") : QN_OK;
    if (!st)
        st = qn__nfa_determinise(&a, start, end, &c->work, where, &c->units[u].fa, err);
    qn__nfa_free(&a);
    if (st)
        return st;
    *n_states += c->units[u].fa.n_states;
    if (*n_states > QN_GRAMMAR_STATES_MAX)
        return qn__fail(err, QN_ELIMIT, where, "the grammar needs more than %d states", QN_GRAMMAR_STATES_MAX);
    size_t n = c->units[u].fa.n_states;
    c->units[u].alive = qn__calloc(n, 1);
    c->units[u].empties = qn__calloc(n, 1);
    if (!c->units[u].alive || !c->units[u].empties)
        return qn__fail_mem(err, "grammar");
    return add_users(c, (uint32_t)u, err);
}

/* ---- what can come to an end, and without a byte ---- */

static bool sym_alive(qn_compiler *c, uint32_t sym)
{
    const qn_sym *s = &c->syms[sym - QN_SYM_PUSH];
    if (s->kind != QN_FRAME_COLLECT)
        return c->units[s->unit].live;
    const qn_ir_collect *k = &c->ir->collects[s->collect];
    uint32_t required = 0, named = 0, firsts = 0;
    bool extra = false;
    for (uint32_t i = 0; i < k->n_members; i++) {
        bool first = c->units[member_unit(c, k, i, false)].live, rest = c->units[member_unit(c, k, i, true)].live;
        const qn_ir_member *m = &c->ir->members[k->member + i];
        required += m->required;
        if (m->required && (!first || !rest))
            return false;
        named += first && rest && !m->extra;
        extra |= first && rest && m->extra;
        firsts += first && rest;
    }
    return firsts && required <= k->max && (extra || named >= k->min);
}

static bool edge_passes(qn_compiler *c, const qn_range *r, bool empties)
{
    if (r->lo < QN_SYM_PUSH || r->lo >= QN_SYM_TOKEN)
        return !empties;
    for (uint32_t s = r->lo; s <= r->hi; s++) {
        const qn_sym *x = &c->syms[s - QN_SYM_PUSH];
        if (empties ? x->kind == QN_FRAME_CALL && c->units[x->unit].nullable : sym_alive(c, s))
            return true;
    }
    return false;
}

/* Mark the states of unit u from which an end can be reached; did the start become one of them? */
static bool mark(qn_compiler *c, qn_unit *u, bool empties, size_t *steps)
{
    uint8_t *on = empties ? u->empties : u->alive;
    const qn_fa *f = &u->fa;
    for (bool changed = true; changed;) {
        changed = false;
        *steps += f->n_states + f->n_edges;
        if (*steps > c->work)
            break;
        for (size_t q = f->n_states; q-- > 0;) {
            if (on[q])
                continue;
            bool yes = f->states[q].final;
            for (uint32_t e = 0; e < f->states[q].n_edges && !yes; e++) {
                const qn_range *r = &f->edges[f->states[q].edge + e];
                yes = on[r->to] && edge_passes(c, r, empties);
            }
            if (yes)
                on[q] = 1, changed = true;
        }
    }
    bool *flag = empties ? &u->nullable : &u->live, start = f->n_states && on[0];
    bool first = start && !*flag;
    *flag = start;
    return first;
}

static qn_status mark_all(qn_compiler *c, bool empties, qn_err *err)
{
    size_t n = 0;
    uint32_t *todo = qn__alloc(c->n_units * sizeof *todo);
    if (!todo)
        return qn__fail_mem(err, "grammar");
    /* Units that are used are found after their users: begin with the last. */
    for (size_t i = 0; i < c->n_units; i++) {
        todo[n++] = (uint32_t)i;
        c->units[i].queued = true;
    }
    while (n) {
        uint32_t at = todo[--n];
        size_t steps = 0;
        c->units[at].queued = false;
        bool news = mark(c, &c->units[at], empties, &steps);
        if (steps > c->work) {
            qn_free(todo);
            return qn__fail(err, QN_ELIMIT, "grammar", "its rules depend on each other in too many ways");
        }
        c->work -= steps;
        for (size_t i = 0; news && i < c->units[at].n_users; i++) {
            uint32_t v = c->units[at].users[i];
            if (!c->units[v].queued) {
                c->units[v].queued = true;
                todo[n++] = v;
            }
        }
    }
    qn_free(todo);
    return QN_OK;
}

/* ---- left recursion ---- */

/* Units that unit u can push before its first byte, into out (each once: stamp); returns how many. */
static size_t left_units(qn_compiler *c, uint32_t u, uint32_t *out, uint32_t *stamp, int32_t *states, uint8_t *seen)
{
    const qn_fa *f = &c->units[u].fa;
    size_t n = 0, n_states = 0;
    if (!f->n_states)
        return 0;
    memset(seen, 0, f->n_states);
    states[n_states++] = 0;
    seen[0] = 1;
    while (n_states) {
        int32_t q = states[--n_states];
        for (uint32_t e = 0; e < f->states[q].n_edges; e++) {
            const qn_range *r = &f->edges[f->states[q].edge + e];
            if (r->lo < QN_SYM_PUSH || r->lo >= QN_SYM_TOKEN || !c->units[u].alive[r->to])
                continue;
            for (uint32_t s = r->lo; s <= r->hi; s++) {
                const qn_sym *x = &c->syms[s - QN_SYM_PUSH];
                const qn_ir_collect *k = x->kind == QN_FRAME_COLLECT ? &c->ir->collects[x->collect] : NULL;
                for (uint32_t i = 0; i < (k ? k->n_members : 1); i++) {
                    uint32_t v = k ? member_unit(c, k, i, false) : x->unit;
                    if (stamp[v] != u + 1 && c->units[v].live) {
                        stamp[v] = u + 1;
                        out[n++] = v;
                    }
                }
            }
            if (!seen[r->to] && edge_passes(c, r, true)) {
                seen[r->to] = 1;
                states[n_states++] = r->to;
            }
        }
    }
    return n;
}

static qn_status refuse_left_recursion(qn_compiler *c, qn_err *err)
{
    size_t n = c->n_units, most = 1, n_stack = 0, n_edges = 0, cap_edges = 0;
    for (size_t i = 0; i < n; i++)
        most = c->units[i].fa.n_states > most ? c->units[i].fa.n_states : most;
    uint32_t *stamp = qn__calloc(n, sizeof *stamp), *out = qn__alloc(n * sizeof *out), *edges = NULL;
    int32_t *states = qn__alloc(most * sizeof *states);
    uint8_t *seen = qn__alloc(most), *colour = qn__calloc(n, 1); /* 1: on the path, 2: done */
    struct {
        uint32_t unit;
        size_t at, end;
    } *stack = qn__alloc(n * sizeof *stack);
    qn_status st = QN_OK;
    if (!stamp || !out || !states || !seen || !colour || !stack)
        st = qn__fail_mem(err, "grammar");
    /* Depth first from the root; a unit's edges lie on `edges` while it is on the path. */
    for (uint32_t root = 0; !st && root < n; root++) {
        if (colour[root])
            continue;
        uint32_t enter = root;
        for (;;) {
            if (enter != UINT32_MAX) {
                size_t k = left_units(c, enter, out, stamp, states, seen);
                if (!qn__grow((void **)&edges, &cap_edges, n_edges + k + 1, sizeof *edges)) {
                    st = qn__fail_mem(err, "grammar");
                    break;
                }
                memcpy(edges + n_edges, out, k * sizeof *out);
                stack[n_stack].unit = enter;
                stack[n_stack].at = n_edges;
                stack[n_stack++].end = n_edges += k;
                colour[enter] = 1;
                enter = UINT32_MAX;
            }
            if (!n_stack)
                break;
            if (stack[n_stack - 1].at == stack[n_stack - 1].end) {
                colour[stack[--n_stack].unit] = 2;
                n_edges = n_stack ? stack[n_stack - 1].end : 0;
                continue;
            }
            uint32_t v = edges[stack[n_stack - 1].at++];
            if (colour[v] == 1) {
                char name[64];
                st = qn__fail(err, QN_EFORMAT, unit_name(c, v, name),
                              "the rule begins with itself (left recursion); write it as a repeat, x ::= y (z)*");
                break;
            }
            if (!colour[v])
                enter = v;
        }
    }
    qn_free(stamp);
    qn_free(out);
    qn_free(edges);
    qn_free(states);
    qn_free(seen);
    qn_free(colour);
    qn_free(stack);
    return st;
}

/* ---- tables ---- */

/* Everything that becomes part of the grammar: units reached from the root through what is alive. */
static bool tail_state(const qn_unit *u, int32_t q)
{
    const struct qn_fa_state *s = &u->fa.states[q];
    if (!s->final)
        return false;
    for (uint32_t e = 0; e < s->n_edges; e++)
        if (u->alive[u->fa.edges[s->edge + e].to])
            return false;
    return true;
}

/* Where a unit really begins: through states that only hand on to another unit. */
static int32_t start_of(qn_compiler *c, uint32_t unit)
{
    for (size_t hops = 0; hops < c->n_units; hops++) {
        const qn_unit *u = &c->units[unit];
        const struct qn_fa_state *s = &u->fa.states[0];
        const qn_range *only = NULL;
        uint32_t n = 0;
        for (uint32_t e = 0; e < s->n_edges; e++)
            if (u->alive[u->fa.edges[s->edge + e].to]) {
                only = &u->fa.edges[s->edge + e];
                n++;
            }
        if (s->final || n != 1 || only->lo != only->hi || only->lo < QN_SYM_PUSH || only->lo >= QN_SYM_TOKEN ||
            !tail_state(u, only->to) || c->syms[only->lo - QN_SYM_PUSH].kind != QN_FRAME_CALL)
            return u->base;
        unit = c->syms[only->lo - QN_SYM_PUSH].unit;
    }
    return c->units[unit].base;
}

/* The number of state q of unit u; one that only hands on is replaced by what it hands on to. */
static int32_t state_of(qn_compiler *c, const qn_unit *u, int32_t q)
{
    const struct qn_fa_state *s = &u->fa.states[q];
    if (!s->final && s->n_edges == 1) {
        const qn_range *r = &u->fa.edges[s->edge];
        if (r->lo == r->hi && r->lo >= QN_SYM_PUSH && r->lo < QN_SYM_TOKEN && u->alive[r->to] && tail_state(u, r->to) &&
            c->syms[r->lo - QN_SYM_PUSH].kind == QN_FRAME_CALL && c->units[c->syms[r->lo - QN_SYM_PUSH].unit].live)
            return start_of(c, c->syms[r->lo - QN_SYM_PUSH].unit);
    }
    return u->base + q;
}

typedef struct pushes { /* frames' descriptions, each once */
    int32_t *slots;
    uint32_t mask;
} pushes;

static int32_t intern_push(qn_grammar *g, size_t *cap, pushes *p, qn_push x)
{
    if ((g->n_pushes + 1) * 2 > p->mask) {
        uint32_t mask = p->mask ? p->mask * 2 + 1 : 255;
        int32_t *slots = qn__alloc(((size_t)mask + 1) * sizeof *slots);
        if (!slots)
            return -1;
        memset(slots, -1, ((size_t)mask + 1) * sizeof *slots);
        for (size_t i = 0; i < g->n_pushes; i++) {
            uint32_t at = (uint32_t)qn__hash(&g->pushes[i], sizeof *g->pushes) & mask;
            while (slots[at] >= 0)
                at = (at + 1) & mask;
            slots[at] = (int32_t)i;
        }
        qn_free(p->slots);
        p->slots = slots;
        p->mask = mask;
    }
    uint32_t at = (uint32_t)qn__hash(&x, sizeof x) & p->mask;
    for (; p->slots[at] >= 0; at = (at + 1) & p->mask)
        if (!memcmp(&g->pushes[p->slots[at]], &x, sizeof x))
            return p->slots[at];
    if (!qn__grow((void **)&g->pushes, cap, g->n_pushes + 1, sizeof x))
        return -1;
    g->pushes[g->n_pushes] = x;
    p->slots[at] = (int32_t)g->n_pushes;
    return (int32_t)g->n_pushes++;
}

typedef struct emitter {
    size_t cap_bytes, cap_tokens, cap_push_of, cap_pushes, cap_collects, cap_starts, cap_named;
    pushes pushes;
    int32_t *collect_id; /* by qn_ir's collection, -1: not yet */
} emitter;

static int32_t emit_collect(qn_compiler *c, emitter *m, uint32_t collect)
{
    qn_grammar *g = c->g;
    const qn_ir_collect *k = &c->ir->collects[collect];
    if (m->collect_id[collect] >= 0)
        return m->collect_id[collect];
    if (!qn__grow((void **)&g->collects, &m->cap_collects, g->n_collects + 1, sizeof *g->collects) ||
        !qn__grow((void **)&g->starts, &m->cap_starts, g->n_starts + 2 * (size_t)k->n_members, sizeof *g->starts))
        return -1;
    qn_members x = {.first = (uint32_t)g->n_starts, .min = k->min, .max = k->max};
    for (uint32_t i = 0; i < k->n_members; i++) {
        uint32_t first = member_unit(c, k, i, false), rest = member_unit(c, k, i, true);
        const qn_ir_member *mem = &c->ir->members[k->member + i];
        if (!c->units[first].live || !c->units[rest].live)
            continue;
        if (!mem->extra) {
            if (mem->required)
                x.required |= (uint64_t)1 << x.n;
            x.n_named++;
        }
        g->starts[g->n_starts++] = start_of(c, first);
        g->starts[g->n_starts++] = start_of(c, rest);
        x.n++;
    }
    g->collects[g->n_collects] = x;
    return m->collect_id[collect] = (int32_t)g->n_collects++;
}

static bool emit_push(qn_compiler *c, emitter *m, const qn_unit *u, uint32_t sym, int32_t to)
{
    qn_grammar *g = c->g;
    const qn_sym *s = &c->syms[sym - QN_SYM_PUSH];
    qn_push x;
    memset(&x, 0, sizeof x);
    x.kind = s->kind;
    x.ret = tail_state(u, to) ? -1 : state_of(c, u, to);
    if (s->kind == QN_FRAME_COLLECT) {
        int32_t id = emit_collect(c, m, s->collect);
        if (id < 0)
            return false;
        x.collect = (uint32_t)id;
    } else {
        x.start = start_of(c, s->unit);
    }
    int32_t id = intern_push(g, &m->cap_pushes, &m->pushes, x);
    if (id < 0 || !qn__grow((void **)&g->push_of, &m->cap_push_of, g->n_push_of + 1, sizeof *g->push_of))
        return false;
    g->push_of[g->n_push_of++] = (struct qn_push_edge){(uint32_t)id, s->min, s->max};
    return true;
}

static bool add_named(qn_grammar *g, emitter *m, int32_t id)
{
    size_t at = 0;
    while (at < g->n_named && g->named[at] < id)
        at++;
    if (at < g->n_named && g->named[at] == id)
        return true;
    if (!qn__grow((void **)&g->named, &m->cap_named, g->n_named + 1, sizeof *g->named))
        return false;
    memmove(g->named + at + 1, g->named + at, (g->n_named - at) * sizeof *g->named);
    g->named[at] = id;
    g->n_named++;
    return true;
}

static bool emit_state(qn_compiler *c, emitter *m, const qn_unit *u, size_t q)
{
    qn_grammar *g = c->g;
    qn_state *s = &g->states[(size_t)u->base + q];
    *s = (qn_state){.byte = (uint32_t)g->n_bytes, .push = (uint32_t)g->n_push_of, .token = (uint32_t)g->n_tokens,
                    .final = u->fa.states[q].final};
    for (uint32_t e = 0; e < u->fa.states[q].n_edges && u->alive[q]; e++) {
        const qn_range *r = &u->fa.edges[u->fa.states[q].edge + e];
        if (!u->alive[r->to])
            continue;
        if (r->lo < 256) {
            if (!qn__grow((void **)&g->bytes, &m->cap_bytes, g->n_bytes + 1, sizeof *g->bytes))
                return false;
            g->bytes[g->n_bytes++] = (struct qn_byte_edge){(uint8_t)r->lo, (uint8_t)r->hi, state_of(c, u, r->to)};
            continue;
        }
        for (uint32_t sym = r->lo; sym <= r->hi; sym++) {
            if (sym >= QN_SYM_TOKEN) {
                int32_t id = (int32_t)(sym - QN_SYM_TOKEN);
                if (!add_named(g, m, id) || !qn__grow((void **)&g->tokens, &m->cap_tokens, g->n_tokens + 1, sizeof *g->tokens))
                    return false;
                g->tokens[g->n_tokens++] = (struct qn_token_edge){id, state_of(c, u, r->to)};
            } else if (sym_alive(c, sym) && !emit_push(c, m, u, sym, r->to)) {
                return false;
            }
        }
    }
    s->n_bytes = (uint32_t)g->n_bytes - s->byte;
    s->n_pushes = (uint32_t)g->n_push_of - s->push;
    s->n_tokens = (uint32_t)g->n_tokens - s->token;
    return true;
}

static qn_status emit(qn_compiler *c, qn_err *err)
{
    qn_grammar *g = c->g;
    emitter m = {0};
    size_t n = 0;
    bool ok = true;
    for (size_t u = 0; u < c->n_units; u++) {
        c->units[u].base = (int32_t)n;
        n += c->units[u].fa.n_states;
    }
    g->n_states = n;
    g->states = qn__alloc(n * sizeof *g->states);
    m.collect_id = qn__alloc(c->ir->n_collects * sizeof *m.collect_id);
    ok = g->states && m.collect_id;
    if (ok && c->ir->n_collects)
        memset(m.collect_id, -1, c->ir->n_collects * sizeof *m.collect_id);
    for (size_t u = 0; ok && u < c->n_units; u++)
        for (size_t q = 0; ok && q < c->units[u].fa.n_states; q++)
            ok = emit_state(c, &m, &c->units[u], q);
    g->root = start_of(c, 0);
    qn_free(m.collect_id);
    qn_free(m.pushes.slots);
    return ok ? QN_OK : qn__fail_mem(err, "grammar");
}

static qn_status check_collects(qn_compiler *c, qn_err *err)
{
    for (size_t i = 0; i < c->ir->n_members; i++)
        if (c->nullable_node[c->ir->members[i].first] || c->nullable_node[c->ir->members[i].rest])
            return qn__fail(err, QN_EINVAL, "grammar", "a member of a collection may match nothing");
    return QN_OK;
}

static qn_status compile(qn_compiler *c, qn_err *err)
{
    const qn_ir *ir = c->ir;
    size_t n_states = 0;
    if (ir->root < 0)
        return qn__fail(err, QN_EINVAL, "grammar", "the grammar has no root");
    c->nullable_node = qn__calloc(ir->n_nodes, sizeof *c->nullable_node);
    c->unit_of_node = qn__alloc(ir->n_nodes * sizeof *c->unit_of_node);
    c->unit_of_rule = qn__alloc((ir->n_rules + 1) * sizeof *c->unit_of_rule);
    c->sym_of_collect = qn__alloc((ir->n_collects + 1) * sizeof *c->sym_of_collect);
    if (!c->nullable_node || !c->unit_of_node || !c->unit_of_rule || !c->sym_of_collect)
        return qn__fail_mem(err, "grammar");
    memset(c->unit_of_node, -1, ir->n_nodes * sizeof *c->unit_of_node);
    memset(c->unit_of_rule, -1, (ir->n_rules + 1) * sizeof *c->unit_of_rule);
    memset(c->sym_of_collect, -1, (ir->n_collects + 1) * sizeof *c->sym_of_collect);
    qn_status st = find_nullable(c, err);
    if (!st)
        st = check_collects(c, err);
    if (st)
        return st;
    (void)unit_of(c, ir->root);
    if (c->no_memory)
        return qn__fail_mem(err, "grammar");
    for (size_t u = 0; !st && u < c->n_units; u++)
        st = make_unit(c, u, &n_states, err);
    if (!st)
        st = mark_all(c, false, err);
    if (!st)
        st = mark_all(c, true, err);
    if (!st && !c->units[0].live)
        st = qn__fail(err, QN_EFORMAT, "grammar", "nothing can match: what it asks for contradicts itself");
    if (!st)
        st = refuse_left_recursion(c, err);
    if (!st)
        st = emit(c, err);
    return st;
}

qn_status qn__grammar_compile(const qn_ir *ir, const qn_tokenizer *t, qn_grammar **out, qn_err *err)
{
    qn_compiler c = {.ir = ir, .t = t, .work = (size_t)QN_GRAMMAR_WORK_MAX * 4};
    if (ir->err.code)
        return qn__ir_check(ir, err);
    qn_grammar *g = c.g = qn__calloc(1, sizeof *g);
    if (!g)
        return qn__fail_mem(err, "grammar");
    atomic_init(&g->owners, 1);
    g->t = t;
    qn_status st = compile(&c, err);
    if (!st && t)
        st = qn__token_trie(t, &g->trie, err);
    if (!st)
        st = qn__mask_cache_open(g, err);
    for (size_t i = 0; i < c.n_units; i++) {
        qn__fa_free(&c.units[i].fa);
        qn_free(c.units[i].alive);
        qn_free(c.units[i].empties);
        qn_free(c.units[i].users);
    }
    qn_free(c.units);
    qn_free(c.call_of_unit);
    qn_free(c.syms);
    qn_free(c.nullable_node);
    qn_free(c.unit_of_node);
    qn_free(c.unit_of_rule);
    qn_free(c.sym_of_collect);
    if (st) {
        qn__grammar_drop(g);
        return st;
    }
    *out = g;
    return QN_OK;
}

qn_grammar *qn__grammar_keep(const qn_grammar *g)
{
    qn_grammar *x = (qn_grammar *)g;
    (void)atomic_fetch_add(&x->owners, 1);
    return x;
}

void qn__grammar_drop(qn_grammar *g)
{
    if (!g || atomic_fetch_sub(&g->owners, 1) != 1)
        return;
    qn__mask_cache_close(g->cache);
    qn_free(g->states);
    qn_free(g->bytes);
    qn_free(g->tokens);
    qn_free(g->push_of);
    qn_free(g->pushes);
    qn_free(g->collects);
    qn_free(g->starts);
    qn_free(g->named);
    qn_free(g);
}
