/* jinja_exec.c - statements: tree and variables to output; macros, loops; the rendering as a whole.
 *
 * Scopes: a for body, macro, call block, with, set block, filter block and generation block have one of their own; if
 * has none. A macro sees the variables around its definition as they are when it is called. */
#include <string.h>

#include "text/jinja_int.h"

/* ---- assignment
 * --------------------------------------------------------------------------------------------------------- */

static qn_status assign(jrun *r, jenv *env, const jnode *target, jval v)
{
    const jval *items, *ns;
    uint32_t n, want = 0;
    if (target->kind == JN_NAME)
        return qn__j_set_var(r, env, target->name, target->hash, v);
    if (target->kind == JN_NSREF) {
        ns = qn__j_lookup(r, env, target->name, target->hash);
        if (!ns || ns->kind != J_NS)
            return qn__j_type(r, "cannot assign attribute on non-namespace object");
        return qn__j_dict_put(r, ns->u.dict, qn__j_str(target->a->name.p, target->a->name.n), v);
    }
    for (const jnode *t = target->a; t; t = t->next)
        want++;
    J_TRY(qn__j_items(r, v, &items, &n));
    if (n < want)
        return qn__j_type(r, "not enough values to unpack (expected %u, got %u)", (unsigned)want, (unsigned)n);
    if (n > want)
        return qn__j_type(r, "too many values to unpack (expected %u)", (unsigned)want);
    J_TRY(qn__j_deeper(r));
    for (const jnode *t = target->a; t; t = t->next)
        J_TRY(assign(r, env, t, *items++));
    r->depth--;
    return QN_OK;
}

static qn_status new_env(jrun *r, jenv *parent, jenv **out)
{
    *out = qn__j_env_new(r, parent);
    return *out ? QN_OK : r->err && r->err->code ? r->err->code : QN_ENOMEM;
}

static void keep(jenv *env)
{
    for (; env && !env->kept; env = env->parent)
        env->kept = true;
}

/* Run a body in a scope of its own and take its output as a string. */
static qn_status capture(jrun *r, jenv *env, const jnode *body, jval *out)
{
    jenv *inner;
    size_t mark = qn__j_mark(r);
    J_TRY(new_env(r, env, &inner));
    J_TRY(qn__j_exec(r, inner, body));
    qn__j_env_done(r, inner);
    return qn__j_take(r, mark, out);
}

/* ---- loops
 * --------------------------------------------------------------------------------------------------------------- */

/* See to it that item `want` is among the kept ones if there is one. Conditions are tried as late as possible: a body
 * may change what they look at through a namespace. */
static qn_status fetch(jrun *r, jloop *l, uint32_t want, bool *have)
{
    if (!l->node->c) {
        *have = want < l->n_src;
        return QN_OK;
    }
    while (l->n <= want && l->at_src < l->n_src) {
        jenv *env;
        jval yes;
        J_TRY(new_env(r, l->env, &env));
        J_TRY(assign(r, env, l->node->a, l->src[l->at_src]));
        J_TRY(qn__j_eval(r, env, l->node->c, &yes));
        qn__j_env_done(r, env);
        if (qn__j_truth(yes))
            l->kept[l->n++] = l->src[l->at_src];
        l->at_src++;
    }
    *have = want < l->n;
    return QN_OK;
}

static jval item(const jloop *l, uint32_t i)
{
    return l->node->c ? l->kept[i] : l->src[i];
}

static qn_status loop_length(jrun *r, jloop *l, int64_t *n)
{
    bool have;
    J_TRY(fetch(r, l, UINT32_MAX, &have));
    *n = l->node->c ? l->n : l->n_src;
    return QN_OK;
}

qn_status qn__j_loop_attr(jrun *r, jloop *l, qn_slice name, jval *out, bool *found)
{
    static const char *const names[] = {"index0",    "index", "first",  "last",     "length",  "revindex",
                                        "revindex0", "depth", "depth0", "previtem", "nextitem"};
    int64_t n;
    bool have;
    size_t i = 0;
    while (i < 11 && (strlen(names[i]) != name.n || memcmp(names[i], name.p, name.n) != 0))
        i++;
    *found = i < 11;
    switch (i) {
    case 0: *out = qn__j_int(l->index0); break;
    case 1: *out = qn__j_int((int64_t)l->index0 + 1); break;
    case 2: *out = qn__j_bool(l->index0 == 0); break;
    case 3:
        J_TRY(fetch(r, l, l->index0 + 1, &have));
        *out = qn__j_bool(!have);
        break;
    case 4:
    case 5:
    case 6:
        J_TRY(loop_length(r, l, &n));
        *out = qn__j_int(i == 4 ? n : n - l->index0 - (i == 6));
        break;
    case 7: *out = qn__j_int((int64_t)l->depth0 + 1); break;
    case 8: *out = qn__j_int(l->depth0); break;
    case 9:
        if (l->index0 == 0)
            return qn__j_undef(r, JU_TEXT, J_UNDEF, (qn_slice){"there is no previous item", 25}, out);
        *out = item(l, l->index0 - 1);
        break;
    case 10:
        J_TRY(fetch(r, l, l->index0 + 1, &have));
        if (!have)
            return qn__j_undef(r, JU_TEXT, J_UNDEF, (qn_slice){"there is no next item", 21}, out);
        *out = item(l, l->index0 + 1);
        break;
    default: break;
    }
    return QN_OK;
}

static qn_status loop_cycle(jrun *r, const jcall *c, jval *out)
{
    if (!c->n_pos)
        return qn__j_type(r, "no items for cycling given");
    *out = c->pos[c->self.u.loop->index0 % c->n_pos];
    return QN_OK;
}

static qn_status loop_changed(jrun *r, const jcall *c, jval *out)
{
    jval now = {.kind = J_TUPLE, .n = c->n_pos, .u.v = c->pos};
    bool same;
    J_TRY(qn__j_equal(r, c->self.u.loop->changed, now, &same));
    c->self.u.loop->changed = now;
    *out = qn__j_bool(!same);
    return QN_OK;
}

const jbuiltin qn__j_loop_methods[] = {{"cycle", loop_cycle, NULL, 0, J_BIT(J_LOOP)},
                                       {"changed", loop_changed, NULL, 0, J_BIT(J_LOOP)},
                                       {NULL, NULL, NULL, 0, 0}};

static qn_status run_loop(jrun *r, jenv *outer, const jnode *node, jval items, uint32_t depth0)
{
    static const qn_slice loop_name = {"loop", 4};
    uint32_t hash = qn__j_hash(loop_name);
    jloop *l;
    bool have;
    J_TRY(qn__j_alloc(r, sizeof *l, &l));
    *l = (jloop){.node = node, .env = outer, .depth0 = depth0};
    J_TRY(qn__j_items(r, items, &l->src, &l->n_src));
    if (node->c)
        J_TRY(qn__j_array(r, l->n_src, &l->kept));
    jval self = {.kind = J_LOOP, .u.loop = l};
    jenv *env;
    J_TRY(new_env(r, outer, &env));
    for (uint32_t i = 0;; i++) {
        J_TRY(fetch(r, l, i, &have));
        if (!have) {
            if (i == 0 && node->e)
                return qn__j_exec(r, outer, node->e);
            return QN_OK;
        }
        l->index0 = i;
        if (env->kept) /* the last turn's scope lives on in a macro */
            J_TRY(new_env(r, outer, &env));
        J_TRY(qn__j_set_var(r, env, loop_name, hash, self));
        J_TRY(assign(r, env, node->a, item(l, i)));
        J_TRY(qn__j_exec(r, env, node->d));
        qn__j_env_done(r, env);
        bool stop = r->flow == JF_BREAK;
        r->flow = JF_NONE;
        if (stop)
            return QN_OK;
    }
}

static qn_status enter_call(jrun *r)
{
    if (++r->calls > r->t->limits.depth)
        return qn__j_fail(r, QN_ELIMIT, "calls are nested deeper than the limit of %u", (unsigned)r->t->limits.depth);
    return QN_OK;
}

qn_status qn__j_call_loop(jrun *r, jloop *l, jval items, jval *out)
{
    if (!l->node->op)
        return qn__j_type(r, "the loop must have the 'recursive' marker to be called recursively");
    size_t mark = qn__j_mark(r);
    J_TRY(enter_call(r));
    J_TRY(run_loop(r, l->env, l->node, items, l->depth0 + 1));
    r->calls--;
    return qn__j_take(r, mark, out);
}

static qn_status exec_for(jrun *r, jenv *env, const jnode *n)
{
    jval items;
    J_TRY(qn__j_eval(r, env, n->b, &items));
    r->line = n->line;
    return run_loop(r, env, n, items, 0);
}

/* ---- macros
 * --------------------------------------------------------------------------------------------------------------- */

static bool same_name(qn_slice a, qn_slice b)
{
    return a.n == b.n && memcmp(a.p, b.p, a.n) == 0;
}

static qn_status set_special(jrun *r, jenv *env, const char *name, jval v)
{
    qn_slice s = {name, strlen(name)};
    return qn__j_set_var(r, env, s, qn__j_hash(s), v);
}

/* Keyword arguments that name no parameter: caller, then kwargs, else an error. */
static qn_status bind_rest(jrun *r, jenv *env, const jnode *m, const jcall *c, const bool *used)
{
    jval caller, rest;
    int k = m->name.n > 60 ? 60 : (int)m->name.n;
    J_TRY(qn__j_undef(r, JU_TEXT, J_UNDEF, (qn_slice){"no caller defined", 17}, &caller));
    J_TRY(qn__j_dict_new(r, 0, &rest));
    for (uint32_t i = 0; i < c->n_kw; i++) {
        if (used[i])
            continue;
        if ((m->op & JM_CALLER) && same_name(c->kw[i].name, (qn_slice){"caller", 6}))
            caller = c->kw[i].v;
        else if (m->op & JM_KWARGS)
            J_TRY(qn__j_dict_put(r, rest.u.dict, qn__j_str(c->kw[i].name.p, c->kw[i].name.n), c->kw[i].v));
        else
            return qn__j_type(r, "macro '%.*s' takes no keyword argument '%.*s'", k, m->name.p,
                              c->kw[i].name.n > 60 ? 60 : (int)c->kw[i].name.n, c->kw[i].name.p);
    }
    if (m->op & JM_CALLER)
        J_TRY(set_special(r, env, "caller", caller));
    if (m->op & JM_KWARGS)
        J_TRY(set_special(r, env, "kwargs", rest));
    return QN_OK;
}

static qn_status bind_params(jrun *r, jenv *env, const jnode *m, const jcall *c)
{
    uint32_t i = 0;
    bool *used;
    J_TRY(qn__j_alloc(r, c->n_kw + 1, &used));
    memset(used, 0, c->n_kw + 1);
    for (const jnode *p = m->a; p; p = p->next, i++) {
        jval v;
        J_TRY(qn__j_undef(r, JU_PARAM, J_UNDEF, p->name, &v));
        bool given = i < c->n_pos;
        if (given)
            v = c->pos[i];
        for (uint32_t k = 0; k < c->n_kw; k++)
            if (!given && same_name(c->kw[k].name, p->name)) {
                v = c->kw[k].v;
                used[k] = given = true;
            }
        J_TRY(qn__j_step(r, c->n_kw));
        if (!given && p->a)
            J_TRY(qn__j_eval(r, env, p->a, &v));
        J_TRY(qn__j_set_var(r, env, p->name, p->hash, v));
    }
    if (c->n_pos > i && !(m->op & JM_VARARGS))
        return qn__j_type(r, "macro '%.*s' takes not more than %u argument(s)", m->name.n > 60 ? 60 : (int)m->name.n,
                          m->name.p, (unsigned)i);
    if (m->op & JM_VARARGS) {
        uint32_t extra = c->n_pos > i ? c->n_pos - i : 0;
        J_TRY(set_special(r, env, "varargs", (jval){.kind = J_TUPLE, .n = extra, .u.v = extra ? c->pos + i : NULL}));
    }
    return bind_rest(r, env, m, c, used);
}

qn_status qn__j_call_macro(jrun *r, const jmacro *m, const jcall *c, jval *out)
{
    jenv *env;
    J_TRY(enter_call(r));
    J_TRY(new_env(r, m->env, &env));
    J_TRY(bind_params(r, env, m->node, c));
    size_t mark = qn__j_mark(r);
    J_TRY(qn__j_exec(r, env, m->node->d));
    qn__j_env_done(r, env);
    r->calls--;
    return qn__j_take(r, mark, out);
}

static qn_status make_macro(jrun *r, jenv *env, const jnode *n, jval *out)
{
    jmacro *m;
    J_TRY(qn__j_alloc(r, sizeof *m, &m));
    *m = (jmacro){n, env};
    keep(env);
    *out = (jval){.kind = J_MACRO, .u.macro = m};
    return QN_OK;
}

static qn_status exec_call(jrun *r, jenv *env, const jnode *n)
{
    jval f, caller;
    jcall c = {0};
    jkw *kw;
    J_TRY(make_macro(r, env, n->b, &caller));
    J_TRY(qn__j_eval(r, env, n->a, &f));
    J_TRY(qn__j_args(r, env, n->c->a, &c));
    J_TRY(qn__j_alloc(r, (c.n_kw + 1) * sizeof *kw, &kw));
    if (c.n_kw)
        memcpy(kw, c.kw, c.n_kw * sizeof *kw);
    kw[c.n_kw++] = (jkw){{"caller", 6}, caller};
    c.kw = kw;
    J_TRY(qn__j_call(r, f, &c, &f));
    return qn__j_emit_str(r, f);
}

/* ---- statements
 * ------------------------------------------------------------------------------------------------------------ */

static qn_status exec_if(jrun *r, jenv *env, const jnode *n)
{
    for (;;) {
        jval test;
        J_TRY(qn__j_eval(r, env, n->a, &test));
        if (qn__j_truth(test))
            return qn__j_exec(r, env, n->b);
        n = n->c;
        if (!n || n->kind != JN_IF || !n->op) /* not an elif */
            return qn__j_exec(r, env, n);
    }
}

static qn_status exec_with(jrun *r, jenv *env, const jnode *n)
{
    jenv *inner;
    jval v;
    J_TRY(new_env(r, env, &inner));
    for (const jnode *s = n->a; s; s = s->next) {
        J_TRY(qn__j_eval(r, env, s->b, &v));
        J_TRY(assign(r, inner, s->a, v));
    }
    J_TRY(qn__j_exec(r, inner, n->d));
    qn__j_env_done(r, inner);
    return QN_OK;
}

static qn_status exec_scope(jrun *r, jenv *env, const jnode *body)
{
    jenv *inner;
    J_TRY(new_env(r, env, &inner));
    J_TRY(qn__j_exec(r, inner, body));
    qn__j_env_done(r, inner);
    return QN_OK;
}

static qn_status exec_one(jrun *r, jenv *env, const jnode *n)
{
    jval v;
    r->line = n->line;
    switch (n->kind) {
    case JN_TEXT: return qn__j_emit(r, n->name.p, n->name.n);
    case JN_PRINT:
        for (; n; n = n->b) {
            J_TRY(qn__j_eval(r, env, n->a, &v));
            J_TRY(qn__j_emit_str(r, v));
        }
        return QN_OK;
    case JN_IF: return exec_if(r, env, n);
    case JN_FOR: return exec_for(r, env, n);
    case JN_SET:
        J_TRY(qn__j_eval(r, env, n->b, &v));
        r->line = n->line;
        return assign(r, env, n->a, v);
    case JN_SETBLOCK:
        J_TRY(capture(r, env, n->d, &v));
        J_TRY(qn__j_apply(r, env, n->b, v, &v));
        return assign(r, env, n->a, v);
    case JN_FILTERBLOCK:
        J_TRY(capture(r, env, n->d, &v));
        J_TRY(qn__j_apply(r, env, n->b, v, &v));
        return qn__j_emit_str(r, v);
    case JN_MACRO: J_TRY(make_macro(r, env, n, &v)); return qn__j_set_var(r, env, n->name, n->hash, v);
    case JN_CALLBLOCK: return exec_call(r, env, n);
    case JN_WITH: return exec_with(r, env, n);
    case JN_SCOPE: return exec_scope(r, env, n->d);
    default: r->flow = n->kind == JN_BREAK ? JF_BREAK : JF_CONTINUE; return QN_OK;
    }
}

qn_status qn__j_exec(jrun *r, jenv *env, const jnode *n)
{
    J_TRY(qn__j_deeper(r));
    for (; n && r->flow == JF_NONE; n = n->next) {
        J_TRY(qn__j_step(r, 0));
        J_TRY(exec_one(r, env, n));
    }
    r->depth--;
    return QN_OK;
}

static qn_status render(jrun *r, const json_t *vars)
{
    const char *key;
    json_t *value;
    J_TRY(new_env(r, NULL, &r->root));
    r->root->kept = true;
    json_object_foreach((json_t *)(uintptr_t)vars, key, value)
    {
        qn_slice name = {key, strlen(key)};
        jval v;
        J_TRY(qn__j_from_json(r, value, &v));
        J_TRY(qn__j_set_var(r, r->root, name, qn__j_hash(name), v));
    }
    return qn__j_exec(r, r->root, r->t->body);
}

qn_status qn__jinja_render(const qn_jinja *t, const json_t *vars, int64_t now, char **out, size_t *n, qn_err *err)
{
    qn_err mine = {0};
    jrun r = {.t = t, .err = &mine, .now = now, .line = 1};
    if (!json_is_object(vars))
        return qn__fail(err, QN_EINVAL, "variables", "the variables of a template must be one JSON object");
    qn__arena_init(&r.arena, t->limits.memory);
    qn__buf_put(&r.out, "", 0);
    qn_status s = render(&r, vars);
    char *text = NULL;
    size_t len = 0;
    if (s == QN_OK) {
        text = qn__buf_take(&r.out, &len);
        if (!text)
            s = qn__fail_mem(&mine, "template");
    }
    qn__arena_free(&r.arena);
    qn__buf_free(&r.out);
    if (s != QN_OK) {
        if (err)
            *err = mine;
        return s;
    }
    *out = text;
    *n = len;
    return QN_OK;
}
