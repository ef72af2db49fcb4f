/* audit_report.c - what a log of samples says: of each kind, of depths, of fillers, of all; what it cost. From the log alone, so that a
 * run can be judged again. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "services/probe/audit.h"

enum { MOST_LENGTHS = 96 };
static const double SURE = 1.959964;
static const char *const states[] = {"open", "never", "none", "cliff"};

static json_t *rate(uint64_t n, uint64_t right)
{
    qn_interval w = qn__wilson(right, n, SURE);
    return json_pack("{s:I, s:I, s:f, s:[f, f]}", "n", (json_int_t)n, "right", (json_int_t)right, "score", n ? (double)right / (double)n : 0.0,
                     "interval95", w.low, w.high);
}

/* ---- a kind ---- */

typedef struct found {
    qn_audit_state state;
    qn_audit_cliff cliff;
    int32_t reached; /* the longest length asked */
} found;

static found find(const qn_audit_plan *p, const qn_audit_log *log, int kind)
{
    qn_audit_point points[MOST_LENGTHS];
    found f = {0};
    int32_t length, batch;
    size_t n = qn__audit_points(log, kind, points, MOST_LENGTHS);
    f.state = n ? qn__audit_next(p, log, kind, &length, &batch) : QN_AUDIT_NEVER;
    f.reached = n ? (int32_t)points[n - 1].length : 0;
    if (f.state == QN_AUDIT_CLIFF)
        f.cliff = qn__audit_fit(points, n, qn__audit_guess(p, log, kind));
    return f;
}

static json_t *outcomes_of(const qn_audit_log *log, int kind, char control)
{
    json_t *o = json_object();
    for (int i = 0; i < QN_OUTCOMES; i++) {
        json_int_t n = 0;
        for (size_t k = 0; k < log->n; k++)
            n += (kind < 0 || log->v[k].kind == kind) && log->v[k].control == control && (int)log->v[k].outcome == i;
        if (n)
            (void)json_object_set_new(o, qn__outcomes[i], json_integer(n));
    }
    return o;
}

static json_t *kind_report(const qn_audit_plan *p, const qn_audit_log *log, int kind, const found *f)
{
    qn_audit_point points[MOST_LENGTHS];
    uint64_t n, right;
    size_t n_points = qn__audit_points(log, kind, points, MOST_LENGTHS);
    json_t *o = json_pack("{s:s, s:s, s:i}", "kind", qn__audit_kinds[kind], "state", states[f->state], "shortest", p->shortest[kind]);
    if (p->shortest[kind] <= 0 || n_points == 0) {
        (void)json_object_set_new(o, "state", json_string("not asked"));
        (void)json_object_set_new(o, "why", json_string(p->shortest[kind] == QN_AUDIT_NO_TALK ? "the model's template or server takes no such talk"
                                                                                              : "what is planted and asked does not fit the longest prompt"));
        return o;
    }
    qn__audit_count(log, kind, 0, p->shortest[kind], &n, &right);
    double guess = qn__audit_guess(p, log, kind);
    (void)json_object_set_new(o, "bar", json_real(guess + (n ? (double)right / (double)n - guess : 0) / 2));
    (void)json_object_set_new(o, "short", rate(n, right));
    qn__audit_count(log, kind, 'g', 0, &n, &right);
    json_t *g = rate(n, right);
    (void)json_object_set_new(g, "chance", json_real(qn__audit_chance((qn_audit_kind)kind, p->depths)));
    (void)json_object_set_new(o, "guess", g);
    qn__audit_count(log, kind, 'a', 0, &n, &right);
    (void)json_object_set_new(o, "absent", rate(n, right));
    if (f->state == QN_AUDIT_CLIFF)
        (void)json_object_set_new(o, "cliff", json_pack("{s:i, s:[i, i]}", "length", (int)lround(f->cliff.length), "interval95",
                                                        (int)floor(f->cliff.low), (int)ceil(f->cliff.high)));
    else if (f->state == QN_AUDIT_NONE)
        (void)json_object_set_new(o, "up_to", json_integer(f->reached));
    json_t *lengths = json_array();
    for (size_t i = 0; i < n_points; i++) {
        json_t *x = rate(points[i].n, points[i].right);
        (void)json_object_set_new(x, "length", json_integer((json_int_t)points[i].length));
        (void)json_array_append_new(lengths, x);
    }
    (void)json_object_set_new(o, "lengths", lengths);
    (void)json_object_set_new(o, "outcomes", outcomes_of(log, kind, 0));
    (void)json_object_set_new(o, "absent_outcomes", outcomes_of(log, kind, 'a'));
    return o;
}

/* ---- all kinds together ---- */

/* The middle one of those that can be done: half of them are lost there. A kind without a cliff counts as beyond its longest length. */
static json_t *verdict(const found *f, const qn_audit_plan *p, int *n_able)
{
    double at[QN_AUDIT_KINDS], low[QN_AUDIT_KINDS], high[QN_AUDIT_KINDS];
    size_t n = 0, n_cliffs = 0;
    int asked = 0;
    for (int k = 0; k < QN_AUDIT_KINDS; k++) {
        asked += p->shortest[k] > 0 && f[k].reached > 0;
        if (f[k].state != QN_AUDIT_CLIFF && f[k].state != QN_AUDIT_NONE)
            continue;
        bool cliff = f[k].state == QN_AUDIT_CLIFF;
        at[n] = cliff ? f[k].cliff.length : INFINITY;
        low[n] = cliff ? f[k].cliff.low : INFINITY;
        high[n++] = cliff ? f[k].cliff.high : INFINITY;
        n_cliffs += cliff;
    }
    *n_able = (int)n;
    if (n == 0)
        return json_pack("{s:s, s:i, s:i}", "state", "never", "able", 0, "of", asked);
    qn__sort_doubles(at, n);
    qn__sort_doubles(low, n);
    qn__sort_doubles(high, n);
    size_t mid = (n - 1) / 2; /* of two, the shorter */
    json_t *o = json_pack("{s:s, s:i, s:i, s:i}", "state", at[mid] < INFINITY ? "cliff" : "none", "able", (int)n, "of", asked, "with_cliff", (int)n_cliffs);
    if (at[mid] < INFINITY) {
        (void)json_object_set_new(o, "length", json_integer(lround(at[mid])));
        (void)json_object_set_new(o, "interval95", json_pack("[i, i]", (int)floor(low[mid]), high[mid] < INFINITY ? (int)ceil(high[mid]) : p->max_length));
    } else {
        (void)json_object_set_new(o, "up_to", json_integer(p->max_length));
    }
    return o;
}

static bool able(const found *f, const qn_audit_sample *s)
{
    return f[s->kind].state == QN_AUDIT_CLIFF || f[s->kind].state == QN_AUDIT_NONE;
}

/* Depth x length, over all that was planted. */
static json_t *heat_map(const qn_audit_plan *p, const qn_audit_log *log)
{
    qn_audit_point points[MOST_LENGTHS];
    size_t n_points = qn__audit_points(log, -1, points, MOST_LENGTHS);
    json_t *lengths = json_array(), *depths = json_array(), *rows = json_array();
    for (size_t i = 0; i < n_points; i++)
        (void)json_array_append_new(lengths, json_integer((json_int_t)points[i].length));
    for (int d = 0; d < p->depths; d++) {
        json_t *row = json_array();
        (void)json_array_append_new(depths, json_real((double)d / (p->depths - 1)));
        for (size_t i = 0; i < n_points; i++) {
            json_int_t n = 0, right = 0;
            for (size_t k = 0; k < log->n; k++) {
                const qn_audit_sample *s = &log->v[k];
                if (s->control || s->slot != d || s->length != (int32_t)points[i].length)
                    continue;
                n++;
                right += s->outcome == QN_RIGHT;
            }
            (void)json_array_append_new(row, json_pack("[I, I]", right, n));
        }
        (void)json_array_append_new(rows, row);
    }
    return json_pack("{s:o, s:o, s:o}", "depths", depths, "lengths", lengths, "right_of", rows);
}

/* Of kinds that can be done, at lengths within their cliff: is some depth surely worse than the others? */
static json_t *depth_report(const qn_audit_plan *p, const qn_audit_log *log, const found *f)
{
    uint64_t n[QN_AUDIT_DEPTHS] = {0}, right[QN_AUDIT_DEPTHS] = {0}, all = 0, all_right = 0;
    for (size_t i = 0; i < log->n; i++) {
        const qn_audit_sample *s = &log->v[i];
        if (s->control || !able(f, s) || s->slot >= p->depths || (f[s->kind].state == QN_AUDIT_CLIFF && s->length > f[s->kind].cliff.low))
            continue;
        n[s->slot]++;
        right[s->slot] += s->outcome == QN_RIGHT;
        all++;
        all_right += s->outcome == QN_RIGHT;
    }
    json_t *list = json_array();
    for (int d = 0; d < p->depths; d++) {
        json_t *o = rate(n[d], right[d]);
        uint64_t rest = all - n[d], rest_right = all_right - right[d];
        bool weak = n[d] > 0 && rest > 0 && qn__wilson(right[d], n[d], SURE).high < qn__wilson(rest_right, rest, SURE).low;
        (void)json_object_set_new(o, "depth", json_real((double)d / (p->depths - 1)));
        (void)json_object_set_new(o, "weak", json_boolean(weak));
        (void)json_array_append_new(list, o);
    }
    return list;
}

static json_t *filler_report(const qn_audit_log *log, const found *f)
{
    json_t *list = json_array();
    for (int k = 0; k < QN_AUDIT_FILLERS; k++) {
        uint64_t n = 0, right = 0;
        for (size_t i = 0; i < log->n; i++) {
            const qn_audit_sample *s = &log->v[i];
            if (s->control || s->filler != k || !able(f, s) || (f[s->kind].state == QN_AUDIT_CLIFF && s->length > f[s->kind].cliff.low))
                continue;
            n++;
            right += s->outcome == QN_RIGHT;
        }
        if (n == 0)
            continue;
        json_t *o = rate(n, right);
        (void)json_object_set_new(o, "filler", json_string(qn__audit_fillers[k]));
        (void)json_array_append_new(list, o);
    }
    return list;
}

/* naive: each question with a text of its own, each text read from its beginning. A subject that does not tell what it had cached leaves
 * `reused` away. */
static json_t *cost(const qn_audit_log *log)
{
    json_int_t prompt = 0, cached = 0, generated = 0, off = 0;
    bool known = true, counted = true;
    double seconds = 0;
    for (size_t i = 0; i < log->n; i++) {
        const qn_audit_sample *s = &log->v[i];
        prompt += s->prompt > 0 ? s->prompt : s->length;
        cached += s->cached > 0 ? s->cached : 0;
        generated += s->generated > 0 ? s->generated : 0;
        known = known && s->cached >= 0;
        counted = counted && s->prompt >= 0;
        seconds += s->seconds;
        json_int_t by = s->control == 'g' || s->prompt < 0 ? 0 : s->prompt - s->length;
        off = (by < 0 ? -by : by) > off ? (by < 0 ? -by : by) : off;
    }
    json_t *o = json_pack("{s:I, s:I, s:I, s:f}", "questions", (json_int_t)log->n, "naive_tokens", prompt, "generated_tokens", generated, "answer_seconds", seconds);
    if (known && prompt) {
        (void)json_object_set_new(o, "read_tokens", json_integer(prompt - cached));
        (void)json_object_set_new(o, "reused", json_real((double)cached / (double)prompt));
    }
    if (counted)
        (void)json_object_set_new(o, "off_by_at_most", json_integer(off)); /* prompts, from the length that they were made for */
    return o;
}

static void sentence(json_t *v, const found *f)
{
    char text[400];
    const char *state = json_string_value(json_object_get(v, "state"));
    int n_able = (int)json_integer_value(json_object_get(v, "able")), of = (int)json_integer_value(json_object_get(v, "of"));
    int first = -1, cliffs = (int)json_integer_value(json_object_get(v, "with_cliff"));
    for (int k = 0; k < QN_AUDIT_KINDS; k++)
        if (f[k].state == QN_AUDIT_CLIFF && (first < 0 || f[k].cliff.length < f[first].cliff.length))
            first = k;
    if (strcmp(state, "never") == 0)
        (void)snprintf(text, sizeof text, "never able: in none of %d kinds of tasks surely better than guessing, not even at the shortest length", of);
    else if (strcmp(state, "none") == 0 && cliffs == 0)
        (void)snprintf(text, sizeof text, "no cliff up to %d tokens in %d of %d kinds of tasks%s",
                       (int)json_integer_value(json_object_get(v, "up_to")), n_able, of,
                       n_able == of ? "" : "; the others it cannot do even at the shortest length");
    else if (strcmp(state, "none") == 0)
        (void)snprintf(text, sizeof text, "no cliff up to %d tokens in %d of the %d kinds of tasks that it can do (of %d); the first to go is %s, at %d",
                       (int)json_integer_value(json_object_get(v, "up_to")), n_able - cliffs, n_able, of, qn__audit_kinds[first], (int)lround(f[first].cliff.length));
    else {
        int n = snprintf(text, sizeof text, "cliff at %d tokens (95 %%: %d to %d)", (int)json_integer_value(json_object_get(v, "length")),
                         (int)json_integer_value(json_array_get(json_object_get(v, "interval95"), 0)),
                         (int)json_integer_value(json_array_get(json_object_get(v, "interval95"), 1)));
        if (n_able == 1)
            (void)snprintf(text + n, sizeof text - (size_t)n, " of the one kind of tasks that it can do (of %d), %s", of, qn__audit_kinds[first]);
        else
            (void)snprintf(text + n, sizeof text - (size_t)n, ": there half of the %d kinds of tasks that it can do (of %d) are lost; the first is %s, at %d", n_able, of,
                           qn__audit_kinds[first], (int)lround(f[first].cliff.length));
    }
    (void)json_object_set_new(v, "text", json_string(text));
}

json_t *qn__audit_report(const qn_audit_plan *p, const qn_audit_log *log)
{
    found f[QN_AUDIT_KINDS];
    json_t *kinds = json_array();
    uint64_t n, right;
    int n_able = 0;
    for (int k = 0; k < QN_AUDIT_KINDS; k++) {
        f[k] = find(p, log, k);
        if (p->shortest[k] != QN_AUDIT_UNWANTED)
            (void)json_array_append_new(kinds, kind_report(p, log, k, &f[k]));
    }
    json_t *v = verdict(f, p, &n_able);
    sentence(v, f);
    json_t *o = json_pack("{s:o, s:o, s:o, s:o, s:o, s:o}", "verdict", v, "kinds", kinds, "heat_map", heat_map(p, log), "depth_scores",
                          depth_report(p, log, f), "filler_scores", filler_report(log, f), "cost", cost(log));
    if (!o)
        return NULL;
    qn__audit_count(log, -1, 0, 0, &n, &right);
    (void)json_object_set_new(o, "planted", rate(n, right));
    qn__audit_count(log, -1, 'a', 0, &n, &right);
    (void)json_object_set_new(o, "absent", rate(n, right));
    qn__audit_count(log, -1, 'g', 0, &n, &right);
    (void)json_object_set_new(o, "guess", rate(n, right));
    (void)json_object_set_new(o, "outcomes", outcomes_of(log, -1, 0));
    return o;
}
