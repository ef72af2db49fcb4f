/* jinja_filter_seq.c - filters over sequences and mappings.
 *
 * What gives a generator in Jinja gives one here (it has no length, no JSON and can be walked once), though its items
 * are computed at once. */
#include <string.h>

#include "text/jinja_int.h"

static bool truth_or(jval v, bool otherwise)
{
    return v.kind == J_ABSENT ? otherwise : qn__j_truth(v);
}

/* The arguments behind the first `skip`, for a filter or test that is applied to each item. */
static jcall rest_of(const jcall *c, uint32_t skip, jval self)
{
    return (jcall){.self = self, .pos = c->pos + skip, .n_pos = c->n_pos - skip, .kw = c->kw, .n_kw = c->n_kw};
}

/* ---- attributes of items
 * ------------------------------------------------------------------------------------------------- */

/* "a.b.0" or an index; parts of digits are indices. `otherwise`: in place of undefined, J_ABSENT: none. */
static qn_status get_path(jrun *r, jval item, jval path, jval otherwise, jval *out)
{
    *out = item;
    if (path.kind != J_STR)
        return path.kind == J_ABSENT || path.kind == J_NONE ? QN_OK : qn__j_getitem(r, item, path, out);
    for (size_t at = 0; at <= path.n;) {
        const char *p = path.u.s + at, *dot = memchr(p, '.', path.n - at);
        size_t n = dot ? (size_t)(dot - p) : path.n - at;
        int64_t index = 0;
        bool number = n > 0 && n < 10;
        for (size_t i = 0; i < n && number; i++) {
            number = p[i] >= '0' && p[i] <= '9';
            index = index * 10 + (p[i] - '0');
        }
        J_TRY(qn__j_getitem(r, *out, number ? qn__j_int(index) : qn__j_str(p, n), out));
        if (out->kind == J_UNDEF && otherwise.kind != J_ABSENT && otherwise.kind != J_NONE)
            *out = otherwise;
        at += n + 1;
    }
    return QN_OK;
}

static qn_status fold_case(jrun *r, jval *v)
{
    return v->kind == J_STR ? qn__j_case(r, *v, 'l', v) : QN_OK;
}

/* The sort key of an item: one attribute, or a list of several ("a,b"). */
static qn_status sort_key(jrun *r, jval item, jval attribute, bool fold, jval *out)
{
    jval *keys;
    uint32_t n = 1;
    const char *comma = attribute.kind == J_STR && attribute.n ? memchr(attribute.u.s, ',', attribute.n) : NULL;
    if (!comma) {
        J_TRY(get_path(r, item, attribute, (jval){0}, out));
        return fold ? fold_case(r, out) : QN_OK;
    }
    for (uint32_t i = 0; i < attribute.n; i++)
        n += attribute.u.s[i] == ',';
    J_TRY(qn__j_array(r, n, &keys));
    for (uint32_t i = 0; i < n; i++) {
        comma = memchr(attribute.u.s, ',', attribute.n);
        jval one = qn__j_str(attribute.u.s, comma ? (size_t)(comma - attribute.u.s) : attribute.n);
        J_TRY(get_path(r, item, one, (jval){0}, &keys[i]));
        if (fold)
            J_TRY(fold_case(r, &keys[i]));
        if (comma) {
            attribute.n -= one.n + 1;
            attribute.u.s = comma + 1;
        }
    }
    *out = qn__j_list(keys, n);
    return QN_OK;
}

static qn_status keyed(jrun *r, const jcall *c, jval attribute, bool fold, jpair **out, uint32_t *n)
{
    const jval *v;
    J_TRY(qn__j_items(r, c->self, &v, n));
    J_TRY(qn__j_step(r, *n));
    J_TRY(qn__j_alloc(r, ((size_t)*n + 1) * sizeof **out, out));
    for (uint32_t i = 0; i < *n; i++) {
        (*out)[i].v = v[i];
        J_TRY(sort_key(r, v[i], attribute, fold, &(*out)[i].k));
    }
    return QN_OK;
}

static qn_status values_of(jrun *r, const jpair *p, uint32_t n, jval *out)
{
    jval *v;
    J_TRY(qn__j_array(r, n, &v));
    for (uint32_t i = 0; i < n; i++)
        v[i] = p[i].v;
    *out = qn__j_list(v, n);
    return QN_OK;
}

/* ---- whole sequences
 * ------------------------------------------------------------------------------------------------------ */

static qn_status f_length(jrun *r, const jcall *c, jval *out)
{
    uint32_t n;
    J_TRY(qn__j_len(r, c->self, &n));
    *out = qn__j_int(n);
    return QN_OK;
}

static qn_status f_list(jrun *r, const jcall *c, jval *out)
{
    const jval *v;
    uint32_t n;
    J_TRY(qn__j_items(r, c->self, &v, &n));
    *out = qn__j_list(v, n);
    return QN_OK;
}

static qn_status f_first(jrun *r, const jcall *c, jval *out)
{
    const jval *v;
    uint32_t n;
    if (c->self.kind == J_GEN && c->self.u.gen->pos < c->self.u.gen->n) {
        *out = c->self.u.gen->v[c->self.u.gen->pos++];
        return QN_OK;
    }
    J_TRY(qn__j_items(r, c->self, &v, &n));
    if (!n)
        return qn__j_undef(r, JU_TEXT, J_UNDEF, (qn_slice){"no first item, sequence was empty", 33}, out);
    *out = v[0];
    return QN_OK;
}

static qn_status f_last(jrun *r, const jcall *c, jval *out)
{
    const jval *v;
    uint32_t n;
    if (c->self.kind == J_GEN)
        return qn__j_type(r, "'generator' object is not reversible");
    J_TRY(qn__j_items(r, c->self, &v, &n));
    if (!n)
        return qn__j_undef(r, JU_TEXT, J_UNDEF, (qn_slice){"no last item, sequence was empty", 32}, out);
    *out = v[n - 1];
    return QN_OK;
}

static qn_status f_reverse(jrun *r, const jcall *c, jval *out)
{
    const jval *v;
    uint32_t n;
    jval *w;
    if (c->self.kind == J_GEN)
        return qn__j_type(r, "argument must be iterable");
    J_TRY(qn__j_items(r, c->self, &v, &n));
    J_TRY(qn__j_array(r, n, &w));
    for (uint32_t i = 0; i < n; i++)
        w[i] = v[n - 1 - i];
    if (c->self.kind != J_STR)
        return qn__j_gen(r, w, n, out);
    size_t mark = qn__j_mark(r);
    for (uint32_t i = 0; i < n; i++)
        J_TRY(qn__j_emit(r, w[i].u.s, w[i].n));
    return qn__j_take(r, mark, out);
}

static qn_status f_join(jrun *r, const jcall *c, jval *out)
{
    const jval *v;
    uint32_t n;
    jval sep = qn__j_str("", 0), item;
    if (c->a[0].kind != J_ABSENT)
        J_TRY(qn__j_to_str(r, c->a[0], &sep));
    J_TRY(qn__j_items(r, c->self, &v, &n));
    size_t mark = qn__j_mark(r);
    for (uint32_t i = 0; i < n; i++) {
        if (i)
            J_TRY(qn__j_emit(r, sep.u.s, sep.n));
        J_TRY(get_path(r, v[i], c->a[1], (jval){0}, &item));
        J_TRY(qn__j_emit_str(r, item));
    }
    return qn__j_take(r, mark, out);
}

static qn_status f_items(jrun *r, const jcall *c, jval *out)
{
    jval *v;
    if (c->self.kind == J_UNDEF)
        return qn__j_gen(r, NULL, 0, out);
    if (c->self.kind != J_DICT)
        return qn__j_type(r, "can only get item pairs from a mapping");
    const jdict *d = c->self.u.dict;
    J_TRY(qn__j_array(r, d->n, &v));
    for (uint32_t i = 0; i < d->n; i++)
        J_TRY(qn__j_pair(r, d->v[i].k, d->v[i].v, &v[i]));
    return qn__j_gen(r, v, d->n, out);
}

/* ---- order
 * ------------------------------------------------------------------------------------------------------------------ */

static qn_status f_sort(jrun *r, const jcall *c, jval *out)
{
    jpair *p;
    uint32_t n;
    J_TRY(keyed(r, c, c->a[2], !truth_or(c->a[1], false), &p, &n));
    J_TRY(qn__j_sort(r, p, n, truth_or(c->a[0], false), &p));
    return values_of(r, p, n, out);
}

static qn_status f_dictsort(jrun *r, const jcall *c, jval *out)
{
    jpair *p;
    bool by_value = qn__j_str_is(c->a[1], "value"), fold = !truth_or(c->a[0], false);
    if (c->self.kind == J_UNDEF)
        return qn__j_undef_used(r, c->self);
    if (c->self.kind != J_DICT)
        return qn__j_type(r, "'%s object' has no attribute 'items'", qn__j_type_name(c->self));
    if (c->a[1].kind != J_ABSENT && !by_value && !qn__j_str_is(c->a[1], "key"))
        return qn__j_type(r, "you can only sort by either \"key\" or \"value\"");
    const jdict *d = c->self.u.dict;
    J_TRY(qn__j_alloc(r, ((size_t)d->n + 1) * sizeof *p, &p));
    for (uint32_t i = 0; i < d->n; i++) {
        p[i].k = by_value ? d->v[i].v : d->v[i].k;
        if (fold)
            J_TRY(fold_case(r, &p[i].k));
        J_TRY(qn__j_pair(r, d->v[i].k, d->v[i].v, &p[i].v));
    }
    J_TRY(qn__j_sort(r, p, d->n, truth_or(c->a[2], false), &p));
    return values_of(r, p, d->n, out);
}

static qn_status f_unique(jrun *r, const jcall *c, jval *out)
{
    jpair *p;
    jval seen, *v;
    uint32_t n, kept = 0;
    const jval *found;
    J_TRY(keyed(r, c, c->a[1], !truth_or(c->a[0], false), &p, &n));
    J_TRY(qn__j_dict_new(r, 0, &seen));
    J_TRY(qn__j_array(r, n, &v));
    for (uint32_t i = 0; i < n; i++) {
        J_TRY(qn__j_dict_get(r, seen.u.dict, p[i].k, &found));
        if (found)
            continue;
        J_TRY(qn__j_dict_put(r, seen.u.dict, p[i].k, qn__j_none()));
        v[kept++] = p[i].v;
    }
    return qn__j_gen(r, v, kept, out);
}

static qn_status extreme(jrun *r, const jcall *c, bool max, jval *out)
{
    jpair *p;
    uint32_t n, best = 0;
    int sign;
    J_TRY(keyed(r, c, c->a[1], !truth_or(c->a[0], false), &p, &n));
    if (!n)
        return qn__j_undef(r, JU_TEXT, J_UNDEF, (qn_slice){"no aggregated item, sequence was empty", 38}, out);
    for (uint32_t i = 1; i < n; i++) {
        J_TRY(qn__j_compare(r, p[i].k, p[best].k, max ? ">" : "<", &sign));
        if (sign == (max ? 1 : -1))
            best = i;
    }
    *out = p[best].v;
    return QN_OK;
}

static qn_status f_min(jrun *r, const jcall *c, jval *out)
{
    return extreme(r, c, false, out);
}

static qn_status f_max(jrun *r, const jcall *c, jval *out)
{
    return extreme(r, c, true, out);
}

static qn_status f_sum(jrun *r, const jcall *c, jval *out)
{
    const jval *v;
    uint32_t n;
    jval item, total = c->a[1].kind == J_ABSENT ? qn__j_int(0) : c->a[1];
    if (total.kind == J_STR)
        return qn__j_type(r, "sum() can't sum strings [use ''.join(seq) instead]");
    J_TRY(qn__j_items(r, c->self, &v, &n));
    for (uint32_t i = 0; i < n; i++) {
        J_TRY(get_path(r, v[i], c->a[0], (jval){0}, &item));
        J_TRY(qn__j_arith(r, JP_ADD, total, item, &total));
    }
    *out = total;
    return QN_OK;
}

static qn_status f_groupby(jrun *r, const jcall *c, jval *out)
{
    jpair *p;
    jval *groups, *v, key;
    uint32_t n, n_groups = 0;
    const jval *items;
    bool fold = !truth_or(c->a[2], false);
    J_TRY(qn__j_items(r, c->self, &items, &n));
    J_TRY(qn__j_step(r, n));
    J_TRY(qn__j_alloc(r, ((size_t)n + 1) * sizeof *p, &p));
    for (uint32_t i = 0; i < n; i++) {
        p[i].v = items[i];
        J_TRY(get_path(r, items[i], c->a[0], c->a[1], &p[i].k));
        if (fold)
            J_TRY(fold_case(r, &p[i].k));
    }
    J_TRY(qn__j_sort(r, p, n, false, &p));
    J_TRY(qn__j_array(r, n, &groups));
    J_TRY(qn__j_array(r, n, &v));
    for (uint32_t i = 0, from = 0; i < n; i++) {
        bool same = false;
        v[i] = p[i].v;
        if (i + 1 < n)
            J_TRY(qn__j_equal(r, p[i].k, p[i + 1].k, &same));
        if (same)
            continue;
        J_TRY(get_path(r, v[from], c->a[0], c->a[1], &key)); /* as the first item has it, not folded */
        J_TRY(qn__j_pair(r, key, qn__j_list(v + from, i + 1 - from), &groups[n_groups]));
        groups[n_groups++].safe = 1;
        from = i + 1;
    }
    *out = qn__j_list(groups, n_groups);
    return QN_OK;
}

/* ---- pieces
 * ------------------------------------------------------------------------------------------------------------------ */

/* `count` items of v from `from` on, then `fill` up to `width`. */
static qn_status piece(jrun *r, const jval *v, uint32_t count, uint32_t width, jval fill, jval *out)
{
    jval *w;
    if (fill.kind == J_ABSENT || fill.kind == J_NONE || width < count)
        width = count;
    J_TRY(qn__j_array(r, width, &w));
    for (uint32_t i = 0; i < width; i++)
        w[i] = i < count ? v[i] : fill;
    *out = qn__j_list(w, width);
    return QN_OK;
}

static qn_status positive(jrun *r, jval v, uint32_t *out)
{
    if (!qn__j_is_int(v) || qn__j_as_int(v) < 1 || qn__j_as_int(v) > INT32_MAX)
        return qn__j_type(r, "the number of items must be a positive integer");
    *out = (uint32_t)qn__j_as_int(v);
    return QN_OK;
}

static qn_status f_batch(jrun *r, const jcall *c, jval *out)
{
    const jval *v;
    jval *w;
    uint32_t n, width, k = 0;
    J_TRY(positive(r, c->a[0], &width));
    J_TRY(qn__j_items(r, c->self, &v, &n));
    J_TRY(qn__j_array(r, n / width + 1, &w));
    for (uint32_t at = 0; at < n;) {
        uint32_t count = n - at < width ? n - at : width;
        J_TRY(piece(r, v + at, count, width, c->a[1], &w[k++]));
        at += count;
    }
    return qn__j_gen(r, w, k, out);
}

static qn_status f_slice(jrun *r, const jcall *c, jval *out)
{
    const jval *v;
    jval *w;
    uint32_t n, slices, at = 0;
    J_TRY(positive(r, c->a[0], &slices));
    J_TRY(qn__j_items(r, c->self, &v, &n));
    J_TRY(qn__j_array(r, slices, &w));
    for (uint32_t i = 0; i < slices; i++) {
        uint32_t count = n / slices + (i < n % slices);
        J_TRY(piece(r, v ? v + at : NULL, count, n / slices + 1, i < n % slices ? (jval){0} : c->a[1], &w[i]));
        at += count;
    }
    return qn__j_gen(r, w, slices, out);
}

/* ---- item by item
 * --------------------------------------------------------------------------------------------------------- */

static qn_status named(jrun *r, jval name, bool test, const jbuiltin **out)
{
    if (name.kind != J_STR)
        return qn__j_type(r, "the name of a %s must be a string", test ? "test" : "filter");
    qn_slice s = {name.u.s, name.n};
    *out = test ? qn__j_test(s) : qn__j_filter(s);
    if (!*out)
        return qn__j_type(r, "no %s named '%.*s'", test ? "test" : "filter", (int)(s.n > 60 ? 60 : s.n), s.p);
    return QN_OK;
}

static qn_status f_map(jrun *r, const jcall *c, jval *out)
{
    const jval *v;
    jval *w, path = {0}, otherwise = {0};
    uint32_t n;
    const jbuiltin *filter = NULL;
    if (!qn__j_truth(c->self)) /* none, too: Jinja looks at the items of what is true only */
        return qn__j_gen(r, NULL, 0, out);
    for (uint32_t i = 0; i < c->n_kw && !c->n_pos; i++) {
        if (c->kw[i].name.n == 9 && memcmp(c->kw[i].name.p, "attribute", 9) == 0)
            path = c->kw[i].v;
        else if (c->kw[i].name.n == 7 && memcmp(c->kw[i].name.p, "default", 7) == 0)
            otherwise = c->kw[i].v;
        else
            return qn__j_type(r, "map() got an unexpected keyword argument");
    }
    if (c->n_pos)
        J_TRY(named(r, c->pos[0], false, &filter));
    else if (path.kind == J_ABSENT)
        return qn__j_type(r, "map requires a filter argument");
    J_TRY(qn__j_items(r, c->self, &v, &n));
    J_TRY(qn__j_array(r, n, &w));
    J_TRY(qn__j_deeper(r));
    for (uint32_t i = 0; i < n; i++) {
        if (!filter) {
            J_TRY(get_path(r, v[i], path, otherwise, &w[i]));
            continue;
        }
        jcall k = rest_of(c, 1, v[i]);
        J_TRY(qn__j_call_builtin(r, filter, &k, &w[i]));
    }
    r->depth--;
    return qn__j_gen(r, w, n, out);
}

/* Keep the items that pass a test (`want`) or fail it; `attr`: the test looks at an attribute, the first argument. */
static qn_status choose(jrun *r, const jcall *c, bool want, bool attr, jval *out)
{
    const jval *v;
    jval *w, yes;
    uint32_t n, kept = 0, skip = attr;
    const jbuiltin *test = NULL;
    if (!qn__j_truth(c->self))
        return qn__j_gen(r, NULL, 0, out);
    if (attr && !c->n_pos)
        return qn__j_type(r, "missing parameter for attribute name");
    if (c->n_pos > skip)
        J_TRY(named(r, c->pos[skip], true, &test));
    J_TRY(qn__j_items(r, c->self, &v, &n));
    J_TRY(qn__j_array(r, n, &w));
    for (uint32_t i = 0; i < n; i++) {
        yes = v[i];
        if (attr)
            J_TRY(get_path(r, v[i], c->pos[0], (jval){0}, &yes));
        if (test) {
            jcall k = rest_of(c, skip + 1, yes);
            J_TRY(qn__j_call_builtin(r, test, &k, &yes));
        }
        if (qn__j_truth(yes) == want)
            w[kept++] = v[i];
    }
    return qn__j_gen(r, w, kept, out);
}

static qn_status f_select(jrun *r, const jcall *c, jval *out)
{
    return choose(r, c, true, false, out);
}

static qn_status f_reject(jrun *r, const jcall *c, jval *out)
{
    return choose(r, c, false, false, out);
}

static qn_status f_selectattr(jrun *r, const jcall *c, jval *out)
{
    return choose(r, c, true, true, out);
}

static qn_status f_rejectattr(jrun *r, const jcall *c, jval *out)
{
    return choose(r, c, false, true, out);
}

static qn_status f_attr(jrun *r, const jcall *c, jval *out)
{
    jval name = c->a[0];
    if (name.kind != J_STR)
        return qn__j_type(r, "attribute name must be string");
    if (c->self.kind == J_DICT) { /* attributes only, not items */
        const jbuiltin *fn = qn__j_method(c->self, (qn_slice){name.u.s, name.n});
        if (!fn)
            return qn__j_undef(r, JU_ATTR, J_DICT, (qn_slice){name.u.s, name.n}, out);
    }
    return qn__j_getattr(r, c->self, (qn_slice){name.u.s, name.n}, out);
}

#define F(name, params, min)                                                                                           \
    {                                                                                                                  \
#name, f_##name, params, min, 0                                                                                \
    }
const jbuiltin qn__j_filters_seq[] = {F(length, "", 0),
                                      {"count", f_length, "", 0, 0},
                                      F(list, "", 0),
                                      F(first, "", 0),
                                      F(last, "", 0),
                                      F(reverse, "", 0),
                                      F(join, "d,attribute", 0),
                                      F(items, "", 0),
                                      F(sort, "reverse,case_sensitive,attribute", 0),
                                      F(dictsort, "case_sensitive,by,reverse", 0),
                                      F(unique, "case_sensitive,attribute", 0),
                                      F(min, "case_sensitive,attribute", 0),
                                      F(max, "case_sensitive,attribute", 0),
                                      F(sum, "attribute,start", 0),
                                      F(groupby, "attribute,default,case_sensitive", 1),
                                      F(batch, "linecount,fill_with", 1),
                                      F(slice, "slices,fill_with", 1),
                                      F(map, NULL, 0),
                                      F(select, NULL, 0),
                                      F(reject, NULL, 0),
                                      F(selectattr, NULL, 0),
                                      F(rejectattr, NULL, 0),
                                      F(attr, "name", 1),
                                      {NULL, NULL, NULL, 0, 0}};
