/* jinja_eval.c - expressions: tree and variables to values; and calls. */
#include <string.h>

#include "text/jinja_int.h"

/* ---- variables
 * --------------------------------------------------------------------------------------------------------- */

jenv *qn__j_env_new(jrun *r, jenv *parent)
{
    jenv *e;
    if (qn__j_alloc(r, sizeof *e, &e) != QN_OK)
        return NULL;
    *e = (jenv){.parent = parent};
    return e;
}

/* Give the variables back for the next block, unless something may still look at them. */
void qn__j_env_done(jrun *r, jenv *env)
{
    if (env->kept)
        return;
    while (env->vars) {
        jvar *v = env->vars;
        env->vars = v->next;
        v->next = r->spare_vars;
        r->spare_vars = v;
    }
}

static jvar *find_var(const jenv *env, qn_slice name, uint32_t hash, uint64_t *walked)
{
    for (jvar *v = env->vars; v; v = v->next, ++*walked)
        if (v->hash == hash && v->name.n == name.n && memcmp(v->name.p, name.p, name.n) == 0)
            return v;
    return NULL;
}

const jval *qn__j_lookup(jrun *r, const jenv *env, qn_slice name, uint32_t hash)
{
    uint64_t walked = 0;
    jvar *v = NULL;
    for (; env && !v; env = env->parent, walked++)
        v = find_var(env, name, hash, &walked);
    r->steps += walked / 8; /* the next step checks */
    return v ? &v->v : NULL;
}

qn_status qn__j_set_var(jrun *r, jenv *env, qn_slice name, uint32_t hash, jval value)
{
    uint64_t walked = 0;
    jvar *v = find_var(env, name, hash, &walked);
    J_TRY(qn__j_step(r, walked * 2));
    if (!v) {
        v = r->spare_vars;
        if (v)
            r->spare_vars = v->next;
        else
            J_TRY(qn__j_alloc(r, sizeof *v, &v));
        *v = (jvar){env->vars, name, hash, value};
        env->vars = v;
    }
    v->v = value;
    return QN_OK;
}

static qn_status eval_name(jrun *r, jenv *env, const jnode *n, jval *out)
{
    const jval *v = qn__j_lookup(r, env, n->name, n->hash);
    if (v) {
        *out = *v;
        return QN_OK;
    }
    const jbuiltin *fn = qn__j_global(n->name);
    if (fn) {
        *out = (jval){.kind = J_FUNC, .u.fn = fn};
        return QN_OK;
    }
    return qn__j_undef(r, JU_NAME, J_UNDEF, n->name, out);
}

/* ---- calls
 * ----------------------------------------------------------------------------------------------------------------- */

static int param_index(const char *params, qn_slice name)
{
    int i = 0;
    for (const char *p = params; *p; i++) {
        const char *end = strchrnul(p, ',');
        if ((size_t)(end - p) == name.n && memcmp(p, name.p, name.n) == 0)
            return i;
        p = *end ? end + 1 : end;
    }
    return -1;
}

qn_status qn__j_call_builtin(jrun *r, const jbuiltin *f, jcall *c, jval *out)
{
    J_TRY(qn__j_step(r, 0));
    if (!f->params)
        return f->fn(r, c, out);
    uint32_t n = *f->params != 0;
    for (const char *p = f->params; *p; p++)
        n += *p == ',';
    if (c->n_pos > n)
        return qn__j_type(r, "%s() takes at most %u arguments, %u were given", f->name, (unsigned)n,
                          (unsigned)c->n_pos);
    for (uint32_t i = 0; i < J_MAX_PARAMS; i++)
        c->a[i] = i < c->n_pos ? c->pos[i] : (jval){0};
    for (uint32_t i = 0; i < c->n_kw; i++) {
        int at = param_index(f->params, c->kw[i].name);
        int k = c->kw[i].name.n > 60 ? 60 : (int)c->kw[i].name.n;
        if (at < 0)
            return qn__j_type(r, "%s() got an unexpected keyword argument '%.*s'", f->name, k, c->kw[i].name.p);
        if (c->a[at].kind != J_ABSENT)
            return qn__j_type(r, "%s() got multiple values for argument '%.*s'", f->name, k, c->kw[i].name.p);
        c->a[at] = c->kw[i].v;
    }
    for (uint32_t i = 0; i < f->min; i++)
        if (c->a[i].kind == J_ABSENT)
            return qn__j_type(r, "%s() needs %u arguments", f->name, (unsigned)f->min);
    return f->fn(r, c, out);
}

qn_status qn__j_call(jrun *r, jval f, jcall *c, jval *out)
{
    switch (f.kind) {
    case J_UNDEF: return qn__j_undef_used(r, f);
    case J_FUNC: return qn__j_call_builtin(r, f.u.fn, c, out);
    case J_METHOD: c->self = f.u.method->self; return qn__j_call_builtin(r, f.u.method->fn, c, out);
    case J_MACRO: return qn__j_call_macro(r, f.u.macro, c, out);
    case J_LOOP:
        if (c->n_pos != 1 || c->n_kw)
            return qn__j_type(r, "loop() takes one argument");
        return qn__j_call_loop(r, f.u.loop, c->pos[0], out);
    case J_JOINER:
        *out = f.u.joiner->used ? f.u.joiner->sep : qn__j_str("", 0);
        f.u.joiner->used = true;
        return QN_OK;
    default: return qn__j_type(r, "'%s' object is not callable", qn__j_type_name(f));
    }
}

qn_status qn__j_args(jrun *r, jenv *env, const jnode *args, jcall *c)
{
    uint64_t n_pos = 0, n_kw = 0, n_args = 0;
    for (const jnode *a = args; a; a = a->next)
        n_args++;
    if (!n_args)
        return QN_OK;
    jval *v, *pos;
    jkw *kw;
    J_TRY(qn__j_array(r, n_args, &v));
    uint64_t i = 0;
    for (const jnode *a = args; a; a = a->next, i++) {
        J_TRY(qn__j_eval(r, env, a->a, &v[i]));
        const jval *items;
        uint32_t n = 1;
        if (a->op == JA_STAR) {
            J_TRY(qn__j_items(r, v[i], &items, &n));
            v[i] = qn__j_list(items, n);
        } else if (a->op == JA_STARSTAR) {
            if (v[i].kind != J_DICT)
                return qn__j_type(r, "argument after ** must be a mapping, not %s", qn__j_type_name(v[i]));
            n = v[i].u.dict->n;
        }
        *(a->op == JA_POS || a->op == JA_STAR ? &n_pos : &n_kw) += n;
    }
    J_TRY(qn__j_array(r, n_pos, &pos));
    J_TRY(qn__j_step(r, n_kw));
    J_TRY(qn__j_alloc(r, n_kw * sizeof *kw, &kw));
    *c = (jcall){.self = c->self, .pos = pos, .kw = kw};
    i = 0;
    for (const jnode *a = args; a; a = a->next, i++) {
        if (a->op == JA_POS) {
            pos[c->n_pos++] = v[i];
        } else if (a->op == JA_KEY) {
            kw[c->n_kw++] = (jkw){a->name, v[i]};
        } else if (a->op == JA_STAR) {
            for (uint32_t k = 0; k < v[i].n; k++)
                pos[c->n_pos++] = v[i].u.v[k];
        } else {
            const jdict *d = v[i].u.dict;
            for (uint32_t k = 0; k < d->n; k++) {
                if (d->v[k].k.kind != J_STR)
                    return qn__j_type(r, "keywords must be strings");
                kw[c->n_kw++] = (jkw){{d->v[k].k.u.s, d->v[k].k.n}, d->v[k].v};
            }
        }
    }
    return QN_OK;
}

/* ---- chains
 * ---------------------------------------------------------------------------------------------------------------- */

static qn_status apply_builtin(jrun *r, jenv *env, const jnode *n, jval *v)
{
    jcall c = {.self = *v};
    int k = n->name.n > 60 ? 60 : (int)n->name.n;
    if (!n->fn)
        return qn__j_type(r, "no %s named '%.*s'", n->kind == JO_TEST ? "test" : "filter", k, n->name.p);
    J_TRY(qn__j_args(r, env, n->a, &c));
    J_TRY(qn__j_call_builtin(r, n->fn, &c, v));
    if (n->kind == JO_TEST)
        *v = qn__j_bool(qn__j_truth(*v) != (n->op != 0));
    return QN_OK;
}

static qn_status apply_slice(jrun *r, jenv *env, const jnode *n, jval *v)
{
    jval part[3] = {{0}, {0}, {0}};
    const jnode *const node[3] = {n->a, n->b, n->c};
    for (int i = 0; i < 3; i++)
        if (node[i])
            J_TRY(qn__j_eval(r, env, node[i], &part[i]));
    return qn__j_slice(r, *v, part[0], part[1], part[2], v);
}

qn_status qn__j_apply(jrun *r, jenv *env, const jnode *ops, jval base, jval *out)
{
    jval v = base, key;
    for (const jnode *n = ops; n; n = n->next) {
        r->line = n->line;
        J_TRY(qn__j_step(r, 0));
        switch (n->kind) {
        case JO_ATTR: J_TRY(qn__j_getattr(r, v, n->name, &v)); break;
        case JO_ITEM:
            J_TRY(qn__j_eval(r, env, n->a, &key));
            J_TRY(qn__j_getitem(r, v, key, &v));
            break;
        case JO_SLICE: J_TRY(apply_slice(r, env, n, &v)); break;
        case JO_CALL: {
            jcall c = {0};
            J_TRY(qn__j_args(r, env, n->a, &c));
            J_TRY(qn__j_call(r, v, &c, &v));
            r->line = n->line;
            break;
        }
        default: J_TRY(apply_builtin(r, env, n, &v)); break;
        }
    }
    *out = v;
    return QN_OK;
}

/* ---- operators
 * ------------------------------------------------------------------------------------------------------------- */

static qn_status eval_items(jrun *r, jenv *env, const jnode *n, jval *out)
{
    uint64_t count = 0, i = 0;
    jval *v;
    for (const jnode *k = n->a; k; k = k->next)
        count++;
    J_TRY(qn__j_array(r, count, &v));
    for (const jnode *k = n->a; k; k = k->next)
        J_TRY(qn__j_eval(r, env, k, &v[i++]));
    *out = (jval){.kind = n->kind == JN_TUPLE ? J_TUPLE : J_LIST, .n = (uint32_t)count, .u.v = v};
    return QN_OK;
}

static qn_status eval_dict(jrun *r, jenv *env, const jnode *n, jval *out)
{
    jval d, k, v;
    J_TRY(qn__j_dict_new(r, 0, &d));
    for (const jnode *e = n->a; e; e = e->next->next) {
        J_TRY(qn__j_eval(r, env, e, &k));
        J_TRY(qn__j_eval(r, env, e->next, &v));
        J_TRY(qn__j_dict_put(r, d.u.dict, k, v));
    }
    *out = d;
    return QN_OK;
}

static qn_status eval_sign(jrun *r, jenv *env, const jnode *n, jval *out)
{
    jval v;
    J_TRY(qn__j_eval(r, env, n->a, &v));
    r->line = n->line;
    if (v.kind == J_UNDEF)
        return qn__j_undef_used(r, v);
    if (!qn__j_is_num(v))
        return qn__j_type(r, "bad operand type for unary %c: '%s'", n->kind == JN_NEG ? '-' : '+', qn__j_type_name(v));
    if (v.kind == J_FLOAT) {
        *out = qn__j_float(n->kind == JN_NEG ? -v.u.f : v.u.f);
        return QN_OK;
    }
    return qn__j_arith(r, n->kind == JN_NEG ? JP_SUB : JP_ADD, qn__j_int(0), v, out);
}

static qn_status eval_arith(jrun *r, jenv *env, const jnode *n, jval *out)
{
    jval left, right;
    J_TRY(qn__j_eval(r, env, n->a, &left));
    for (const jnode *k = n->a->next; k; k = k->next) {
        J_TRY(qn__j_eval(r, env, k, &right));
        r->line = k->line;
        J_TRY(qn__j_arith(r, (jop)k->op, left, right, &left));
    }
    *out = left;
    return QN_OK;
}

static qn_status eval_compare(jrun *r, jenv *env, const jnode *n, jval *out)
{
    jval left, right;
    bool yes = true;
    J_TRY(qn__j_eval(r, env, n->a, &left));
    for (const jnode *k = n->a->next; k && yes; k = k->next) {
        J_TRY(qn__j_eval(r, env, k, &right));
        r->line = k->line;
        J_TRY(qn__j_test_cmp(r, (jop)k->op, left, right, &yes));
        left = right;
    }
    *out = qn__j_bool(yes);
    return QN_OK;
}

static qn_status eval_logic(jrun *r, jenv *env, const jnode *n, jval *out)
{
    for (const jnode *k = n->a; k; k = k->next) {
        J_TRY(qn__j_eval(r, env, k, out));
        if (qn__j_truth(*out) == (n->kind == JN_OR))
            break;
    }
    return QN_OK;
}

static qn_status eval_concat(jrun *r, jenv *env, const jnode *n, jval *out)
{
    jval text = qn__j_str("", 0), part;
    for (const jnode *k = n->a; k; k = k->next) {
        J_TRY(qn__j_eval(r, env, k, &part));
        r->line = k->line;
        J_TRY(qn__j_to_str(r, part, &part));
        part.safe = 0;
        J_TRY(qn__j_join2(r, text, part, &text));
    }
    *out = text;
    return QN_OK;
}

static qn_status eval_cond(jrun *r, jenv *env, const jnode *n, jval *out)
{
    static const char why[] = "the inline if-expression evaluated to false and no else section was defined";
    jval test;
    J_TRY(qn__j_eval(r, env, n->b, &test));
    if (qn__j_truth(test))
        return qn__j_eval(r, env, n->a, out);
    if (n->c)
        return qn__j_eval(r, env, n->c, out);
    return qn__j_undef(r, JU_TEXT, J_UNDEF, (qn_slice){why, sizeof why - 1}, out);
}

/* ---- lists that change ---- */

static bool is_change(const jnode *s)
{
    return s && s->kind == JO_ATTR && s->next && s->next->kind == JO_CALL &&
           ((s->name.n == 6 && memcmp(s->name.p, "append", 6) == 0) || (s->name.n == 3 && memcmp(s->name.p, "pop", 3) == 0));
}

/* Lists are values here, and do not change. But templates keep a queue in a namespace or a variable: NAME.append(x), NAMESPACE.FIELD.pop(0).
 * These put another list in its place; who else holds the old one does not see it. *step: the JO_ATTR of the method. NULL: nothing of
 * the kind. */
static jval *changed(jrun *r, jenv *env, const jnode *chain, const jnode **step)
{
    const jnode *s = chain->b;
    if (chain->a->kind != JN_NAME || !s || s->kind != JO_ATTR || (!is_change(s) && !is_change(s->next)))
        return NULL;
    const jval *v = qn__j_lookup(r, env, chain->a->name, chain->a->hash);
    if (v && v->kind == J_NS && s->next->kind == JO_ATTR) {
        v = qn__j_dict_find(v->u.dict, s->name);
        s = s->next;
    }
    if (!v || v->kind != J_LIST || !is_change(s))
        return NULL;
    const jnode *arg = s->next->a;
    if (s->name.n == 6 ? !arg || arg->next || arg->op != JA_POS : arg && (arg->next || arg->op != JA_POS))
        return NULL;
    *step = s;
    return (jval *)(uintptr_t)v;
}

static qn_status list_append(jrun *r, jval *list, jval x)
{
    jval *v;
    J_TRY(qn__j_step(r, list->n));
    J_TRY(qn__j_alloc(r, ((size_t)list->n + 1) * sizeof *v, &v));
    if (list->n)
        memcpy(v, list->u.v, list->n * sizeof *v);
    v[list->n] = x;
    list->u.v = v;
    list->n++;
    return QN_OK;
}

static qn_status list_pop(jrun *r, jval *list, int64_t i, jval *out)
{
    jval *v;
    if (i < 0)
        i += list->n;
    if (i < 0 || i >= list->n)
        return qn__j_type(r, list->n ? "pop index out of range" : "pop from empty list");
    *out = list->u.v[i];
    if (i == 0) {
        list->u.v++;
    } else if (i + 1 < list->n) {
        const size_t head = (size_t)i, tail = list->n - head - 1;
        J_TRY(qn__j_step(r, list->n));
        J_TRY(qn__j_alloc(r, (head + tail) * sizeof *v, &v));
        memcpy(v, list->u.v, head * sizeof *v);
        memcpy(v + head, list->u.v + head + 1, tail * sizeof *v);
        list->u.v = v;
    }
    list->n--;
    return QN_OK;
}

static qn_status change(jrun *r, jenv *env, const jnode *chain, const jnode *step, jval *out)
{
    const jnode *call = step->next;
    jval x = qn__j_int(-1);
    if (call->a)
        J_TRY(qn__j_eval(r, env, call->a->a, &x));
    r->line = chain->line;
    jval *list = changed(r, env, chain, &step); /* again: the argument may have moved it */
    if (!list)
        return qn__j_type(r, "the list was replaced while it was changed");
    if (step->name.n == 6) {
        J_TRY(list_append(r, list, x));
        *out = qn__j_none();
    } else {
        if (!qn__j_is_int(x))
            return qn__j_type(r, "pop() needs a whole number, not %s", qn__j_type_name(x));
        J_TRY(list_pop(r, list, qn__j_as_int(x), out));
    }
    return call->next ? qn__j_apply(r, env, call->next, *out, out) : QN_OK;
}

static qn_status eval_inner(jrun *r, jenv *env, const jnode *n, jval *out)
{
    jval v;
    const jnode *step;
    switch (n->kind) {
    case JN_LIST:
    case JN_TUPLE: return eval_items(r, env, n, out);
    case JN_DICT: return eval_dict(r, env, n, out);
    case JN_CHAIN:
        if (changed(r, env, n, &step))
            return change(r, env, n, step, out);
        J_TRY(qn__j_eval(r, env, n->a, &v));
        return n->b ? qn__j_apply(r, env, n->b, v, out) : (*out = v, QN_OK);
    case JN_NOT:
        J_TRY(qn__j_eval(r, env, n->a, &v));
        *out = qn__j_bool(!qn__j_truth(v));
        return QN_OK;
    case JN_NEG:
    case JN_POS: return eval_sign(r, env, n, out);
    case JN_ARITH: return eval_arith(r, env, n, out);
    case JN_CMP: return eval_compare(r, env, n, out);
    case JN_AND:
    case JN_OR: return eval_logic(r, env, n, out);
    case JN_CONCAT: return eval_concat(r, env, n, out);
    default: return eval_cond(r, env, n, out);
    }
}

qn_status qn__j_eval(jrun *r, jenv *env, const jnode *n, jval *out)
{
    J_TRY(qn__j_step(r, 0));
    while (n->kind == JN_CHAIN && !n->b) /* an operand's wrapper */
        n = n->a;
    r->line = n->line;
    if (n->kind == JN_CONST) {
        *out = n->val;
        return QN_OK;
    }
    if (n->kind == JN_NAME)
        return eval_name(r, env, n, out);
    J_TRY(qn__j_deeper(r));
    J_TRY(eval_inner(r, env, n, out));
    r->depth--;
    return QN_OK;
}
