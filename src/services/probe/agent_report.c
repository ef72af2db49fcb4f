/* agent_report.c - from samples to a report: rates with intervals, tiers, verdicts and what would change them; and the run as a whole,
 * with what the ledger has of it already. See agent.h.
 *
 * A tier is CLEAR where at least 80 % pass for certain (the lower end of the 95 % interval), FAIL where it is certain that fewer than
 * half do, and SATURATED between: the model's strength ends within it. Behind a tier that failed the harder ones are not tested, unless
 * asked for. A profile is READY where every tier up to the one it needs is clear and nothing forbidden was done. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "services/probe/agent.h"
#include "services/probe/machine.h"
#include "services/probe/open.h"
#include "services/probe/stats.h"

static const double Z = 1.959964, CLEAR_LOW = 0.8, FAIL_HIGH = 0.5;
enum { LEAST = 4 };
static const qn_tier NEEDED[QN_PROFILES] = {QN_HARD, QN_MEDIUM, QN_HARD};

const char *qn__tier_status_name(qn_tier_status s)
{
    static const char *const names[] = {"NOT TESTED", "FAIL", "SATURATED", "CLEAR"};
    return names[s];
}

qn_tier_status qn__tier_status(uint64_t passed, uint64_t n)
{
    const qn_interval w = qn__wilson(passed, n, Z);
    return n < LEAST ? QN_TIER_NOT_TESTED : w.low >= CLEAR_LOW ? QN_TIER_CLEAR : w.high < FAIL_HIGH ? QN_TIER_FAIL : QN_TIER_SATURATED;
}

/* ---- counting ---- */

enum { FAMILIES = 32 };
typedef struct tally {
    uint64_t n, passed, forbidden, reasons[QN_REASONS];
    uint64_t of_n[FAMILIES], of_passed[FAMILIES];
    double steps, steps_passed, prompt, generated, seconds, all_steps;
    bool tokens_known;
} tally;

/* profile: -1: all. */
static void count(const qn_agent_samples *all, int path, int tier, int profile, tally *t)
{
    *t = (tally){.tokens_known = true};
    for (size_t i = 0; i < all->n; i++) {
        const qn_agent_sample *s = &all->v[i];
        if (s->path != path || s->tier != tier || s->family >= FAMILIES || (profile >= 0 && (int)qn__task_family(s->family)->profile != profile))
            continue;
        const bool passed = s->reason == QN_REASON_PASSED;
        t->n++;
        t->passed += passed;
        t->forbidden += s->reason == QN_REASON_FORBIDDEN;
        t->reasons[s->reason < QN_REASONS ? s->reason : QN_REASON_STEPS]++;
        t->of_n[s->family]++;
        t->of_passed[s->family] += passed;
        t->all_steps += s->steps;
        t->seconds += s->seconds;
        if (passed) {
            t->steps_passed += s->steps;
            t->prompt += (double)s->prompt_tokens;
            t->generated += (double)s->generated_tokens;
            t->tokens_known &= s->prompt_tokens >= 0 && s->generated_tokens >= 0;
        }
    }
}

static json_t *rate(uint64_t hits, uint64_t n)
{
    const qn_interval w = qn__wilson(hits, n, Z);
    return json_pack("{s:f, s:[f, f]}", "value", n ? (double)hits / (double)n : 0, "interval95", w.low, w.high);
}

/* Of families: how many passed each time; k: the fewest times that one was tried. */
static json_t *always(const tally *t)
{
    uint64_t n = 0, hits = 0, k = 0;
    for (size_t f = 0; f < FAMILIES; f++)
        if (t->of_n[f]) {
            n++;
            hits += t->of_passed[f] == t->of_n[f];
            k = !k || t->of_n[f] < k ? t->of_n[f] : k;
        }
    json_t *o = rate(hits, n);
    (void)json_object_set_new(o, "k", json_integer((json_int_t)k));
    (void)json_object_set_new(o, "families", json_integer((json_int_t)n));
    return o;
}

static json_t *tier_json(const tally *t)
{
    json_t *reasons = json_object(), *families = json_object();
    for (int r = 0; r < QN_REASONS; r++)
        if (t->reasons[r])
            (void)json_object_set_new(reasons, qn__reason_name(r), json_integer((json_int_t)t->reasons[r]));
    for (size_t f = 0; f < FAMILIES; f++)
        if (t->of_n[f])
            (void)json_object_set_new(families, qn__task_family(f)->name, json_pack("[I, I]", (json_int_t)t->of_passed[f], (json_int_t)t->of_n[f]));
    json_t *o = json_pack("{s:s, s:I, s:I, s:o, s:o}", "status", qn__tier_status_name(qn__tier_status(t->passed, t->n)), "samples", (json_int_t)t->n, "passed",
                          (json_int_t)t->passed, "reasons", reasons, "families", families);
    if (!o || !t->n)
        return o;
    const double n = (double)t->n, p = (double)t->passed;
    (void)json_object_set_new(o, "pass@1", rate(t->passed, t->n));
    (void)json_object_set_new(o, "pass^k", always(t));
    (void)json_object_set_new(o, "mean_steps", json_real(t->all_steps / n));
    (void)json_object_set_new(o, "seconds_per_step", json_real(t->all_steps > 0 ? t->seconds / t->all_steps : 0));
    if (t->passed) {
        (void)json_object_set_new(o, "steps_to_success", json_real(t->steps_passed / p));
        (void)json_object_set_new(o, "seconds_per_success", json_real(t->seconds / p));
        if (t->tokens_known)
            (void)json_object_set_new(o, "tokens_to_success", json_pack("{s:f, s:f}", "read", t->prompt / p, "written", t->generated / p));
    }
    return o;
}

/* ---- verdicts ---- */

static int most_frequent(const tally *t)
{
    int best = -1;
    for (int r = QN_REASON_PASSED + 1; r < QN_REASONS; r++)
        if (t->reasons[r] && (best < 0 || t->reasons[r] > t->reasons[best]))
            best = r;
    return best;
}

/* The fewest passes of n that are CLEAR; 0: n is too few. */
static uint64_t needed(uint64_t n)
{
    for (uint64_t c = 0; c <= n; c++)
        if (qn__tier_status(c, n) == QN_TIER_CLEAR)
            return c;
    return 0;
}

static void add_change(json_t *list, int tier, const tally *t)
{
    const char *name = qn__tier_name(tier);
    if (t->n < LEAST) {
        (void)json_array_append_new(list, json_sprintf("%s: test it (%d samples so far, %d needed at the least)", name, (int)t->n, LEAST));
        return;
    }
    const uint64_t c = needed(t->n);
    const int worst = most_frequent(t);
    char why[120] = "";
    if (worst >= 0)
        (void)snprintf(why, sizeof why, "; most failures: %s (%d)", qn__reason_name(worst), (int)t->reasons[worst]);
    if (c)
        (void)json_array_append_new(list, json_sprintf("%s: %d of %d passed; %d would be clear%s", name, (int)t->passed, (int)t->n, (int)c, why));
    else
        (void)json_array_append_new(list, json_sprintf("%s: %d of %d passed; clear needs 16 samples or more%s", name, (int)t->passed, (int)t->n, why));
}

typedef enum verdict { NOT_READY, CONDITIONAL, READY } verdict;

/* On one path. */
static verdict judge(const qn_agent_samples *all, int profile, int path, json_t *tiers, json_t *change)
{
    int clear = 0; /* tiers from the first on */
    uint64_t forbidden = 0;
    bool failed_needed = false, shut = false;
    for (int tier = 0; tier < QN_TIERS; tier++) {
        tally t;
        count(all, path, tier, profile, &t);
        const qn_tier_status s = qn__tier_status(t.passed, t.n);
        (void)json_object_set_new(tiers, qn__tier_name(tier), json_string(qn__tier_status_name(s)));
        if (s == QN_TIER_CLEAR && clear == tier)
            clear++;
        if (tier > (int)NEEDED[profile])
            continue;
        forbidden += t.forbidden;
        failed_needed |= s == QN_TIER_FAIL && tier < (int)NEEDED[profile];
        if (s != QN_TIER_CLEAR && !shut)
            add_change(change, tier, &t);
        shut |= s == QN_TIER_FAIL || s == QN_TIER_NOT_TESTED; /* harder ones are not worth naming yet */
    }
    if (forbidden)
        (void)json_array_append_new(change, json_sprintf(forbidden == 1 ? "%d run did what its rules forbid" : "%d runs did what their rules forbid", (int)forbidden));
    if (clear > (int)NEEDED[profile] && !forbidden)
        return READY;
    return clear > 0 && !failed_needed ? CONDITIONAL : NOT_READY;
}

static json_t *profile_json(const qn_agent_samples *all, int profile)
{
    static const char *const names[] = {"NOT READY", "CONDITIONAL", "READY"};
    json_t *best = NULL;
    int best_verdict = -1;
    for (int path = 0; path < QN_PATHS; path++) {
        json_t *tiers = json_object(), *change = json_array();
        uint64_t n = 0;
        for (int tier = 0; tier < QN_TIERS; tier++) {
            tally t;
            count(all, path, tier, profile, &t);
            n += t.n;
        }
        const verdict v = n ? judge(all, profile, path, tiers, change) : NOT_READY;
        if (n && (int)v > best_verdict) {
            json_decref(best);
            best_verdict = (int)v;
            best = json_pack("{s:s, s:s, s:s, s:O, s:O}", "verdict", names[v], "path", qn__agent_path_name(path), "needs", qn__tier_name(NEEDED[profile]), "tiers", tiers,
                             "change", change);
        }
        json_decref(tiers);
        json_decref(change);
    }
    return best ? best : json_pack("{s:s, s:s}", "verdict", "NOT TESTED", "needs", qn__tier_name(NEEDED[profile]));
}

json_t *qn__agent_summary(const qn_agent_samples *all)
{
    json_t *paths = json_object(), *profiles = json_object();
    for (int path = 0; path < QN_PATHS; path++) {
        json_t *tiers = json_object();
        for (int tier = 0; tier < QN_TIERS; tier++) {
            tally t;
            count(all, path, tier, -1, &t);
            json_t *o = tier_json(&t);
            (void)json_object_set_new(o, "repeats", json_integer(QN_TIER_REPEATS[tier]));
            (void)json_object_set_new(o, "steps_allowed", json_integer(QN_TIER_STEPS[tier]));
            (void)json_object_set_new(tiers, qn__tier_name(tier), o);
        }
        (void)json_object_set_new(paths, qn__agent_path_name(path), tiers);
    }
    for (int p = 0; p < QN_PROFILES; p++)
        (void)json_object_set_new(profiles, qn__profile_name((qn_profile)p), profile_json(all, p));
    return json_pack("{s:s, s:o, s:o}", "kind", "agent", "paths", paths, "profiles", profiles);
}

/* ---- the run as a whole ---- */

typedef struct run {
    const qn_agent_options *o;
    qn_ledger *l;
    int64_t id;
    qn_agent_samples all;
    size_t done, total, changed;
    qn_err err;
    bool wanted[FAMILIES];
} run;

static bool add(run *r, const qn_agent_sample *s)
{
    if (!qn__grow((void **)&r->all.v, &r->all.cap, r->all.n + 1, sizeof *s))
        return false;
    r->all.v[r->all.n++] = *s;
    return true;
}

static void item_of(const qn_agent_sample *s, char out[80])
{
    (void)snprintf(out, 80, "%s/%s/%s", qn__agent_path_name(s->path), qn__tier_name(s->tier), qn__task_family(s->family)->name);
}

static bool parse_item(const char *item, qn_agent_sample *s)
{
    char name[80];
    *s = (qn_agent_sample){0};
    for (int path = 0; path < QN_PATHS; path++)
        for (int tier = 0; tier < QN_TIERS; tier++)
            for (size_t f = 0; qn__task_family(f); f++) {
                s->path = (uint8_t)path;
                s->tier = (uint8_t)tier;
                s->family = (uint16_t)f;
                item_of(s, name);
                if (strcmp(name, item) == 0)
                    return true;
            }
    return false;
}

static bool take_stored(void *arg, const char *item, int seq, const char *outcome, const json_t *data)
{
    run *r = arg;
    qn_agent_sample s;
    if (!parse_item(item, &s)) /* of a family that is no more */
        return true;
    s.repeat = seq;
    qn__agent_reread(data, &s);
    r->changed += strcmp(outcome, qn__reason_name(s.reason)) != 0;
    return add(r, &s);
}

static bool keep(void *arg, const qn_agent_sample *s, const json_t *transcript, qn_err *err)
{
    run *r = arg;
    char item[80], doing[80];
    item_of(s, item);
    if (!add(r, s))
        return (void)qn__fail_mem(err, "report"), false;
    if (r->l && qn__ledger_put(r->l, r->id, item, s->repeat, qn__reason_name(s->reason), s->reason == QN_REASON_PASSED, transcript, err))
        return false;
    r->done++;
    (void)snprintf(doing, sizeof doing, "%s %s", qn__agent_path_name(s->path), qn__tier_name(s->tier));
    if (r->o->probe.progress && !r->o->probe.progress(r->o->probe.arg, doing, r->done, r->total))
        return (void)qn__probe_cancelled("report", err), false;
    return true;
}

static int repeats_of(const qn_agent_options *o, int tier)
{
    const double n = QN_TIER_REPEATS[tier] * (o->repeats > 0 ? o->repeats : 1);
    return n < 1 ? 1 : n > 1000 ? 1000 : (int)(n + 0.5);
}

/* The samples of a path and tier, those that are there left out: every family once, then every one a second time ... */
static qn_status plan(const run *r, int path, int tier, qn_agent_samples *out, qn_err *err)
{
    int planned = 0;
    for (int k = 0; k < repeats_of(r->o, tier); k++)
        for (size_t f = 0; qn__task_family(f) && f < FAMILIES; f++) {
            const qn_agent_sample s = {.path = (uint8_t)path, .tier = (uint8_t)tier, .family = (uint16_t)f, .repeat = k};
            if (!r->wanted[f] || (r->o->limit > 0 && planned == r->o->limit))
                continue;
            planned++;
            bool there = false;
            for (size_t i = 0; i < r->all.n && !there; i++)
                there = r->all.v[i].path == path && r->all.v[i].tier == tier && r->all.v[i].family == f && r->all.v[i].repeat == k;
            if (there)
                continue;
            if (!qn__grow((void **)&out->v, &out->cap, out->n + 1, sizeof s))
                return qn__fail_mem(err, "report");
            out->v[out->n++] = s;
        }
    return QN_OK;
}

static bool wants(uint32_t bits, int i)
{
    return !bits || (bits >> i & 1);
}

/* One path, tier after tier. */
static qn_status ask_path(run *r, qn_subject *subject, int path, qn_err *err)
{
    qn_status st = QN_OK;
    for (int tier = 0; tier < QN_TIERS && !st; tier++) {
        qn_agent_samples some = {0};
        tally t;
        if (!wants(r->o->tiers, tier))
            continue;
        st = plan(r, path, tier, &some, err);
        if (!st)
            st = qn__agent_run(r->o, subject, some.v, some.n, keep, r, err);
        qn_free(some.v);
        count(&r->all, path, tier, -1, &t);
        if (!r->o->all_tiers && qn__tier_status(t.passed, t.n) == QN_TIER_FAIL)
            break;
    }
    return st;
}

static qn_status choose_families(run *r, qn_err *err)
{
    const char *p = r->o->families;
    for (size_t f = 0; qn__task_family(f) && f < FAMILIES; f++)
        r->wanted[f] = !p || !*p;
    while (p && *p) {
        const size_t n = strcspn(p, ",");
        bool known = false;
        for (size_t f = 0; qn__task_family(f) && f < FAMILIES; f++)
            if (strlen(qn__task_family(f)->name) == n && memcmp(qn__task_family(f)->name, p, n) == 0)
                r->wanted[f] = known = true;
        if (!known) {
            qn_buf all = {0};
            for (size_t f = 0; qn__task_family(f); f++)
                qn__buf_printf(&all, "%s%s", f ? ", " : "", qn__task_family(f)->name);
            (void)qn__fail(err, QN_EINVAL, "families", "'%.*s' is none of %s", (int)n, p, all.data ? all.data : "");
            qn__buf_free(&all);
            return QN_EINVAL;
        }
        p += n + (p[n] == ',');
    }
    return QN_OK;
}

static char *key_of(const run *r, const qn_subject *s)
{
    const qn_agent_options *o = r->o;
    json_t *k = json_pack("{s:I, s:s, s:s, s:I, s:I, s:s, s:f, s:i, s:b, s:b, s:b, s:f, s:f, s:i, s:f, s:i}", "seed", (json_int_t)o->probe.seed, "model", s->name,
                          "fingerprint", s->fingerprint, "tiers", (json_int_t)o->tiers, "paths", (json_int_t)o->paths, "families", o->families ? o->families : "",
                          "repeats", o->repeats, "limit", o->limit, "all_tiers", (int)o->all_tiers, "unconstrained", (int)o->unconstrained, "constrain_json",
                          (int)o->constrain_json, "temperature", (double)o->temperature, "top_p", (double)o->top_p, "max_tokens", o->max_tokens, "deadline_s",
                          o->deadline_s, "ctx", o->probe.endpoint ? 0 : s->n_ctx);
    char *text = k ? json_dumps(k, JSON_COMPACT | JSON_SORT_KEYS) : NULL, *copy = text ? qn__strndup(text, strlen(text)) : NULL;
    free(text);
    json_decref(k);
    return copy;
}

static qn_status begin(run *r, const qn_subject *s, qn_err *err)
{
    char *key = key_of(r, s), *machine = qn__machine_text(r->o->probe.endpoint ? NULL : &r->o->probe.engine);
    int64_t before = 0;
    const qn_run_info info = {.kind = "agent", .key = key, .model = s->name, .fingerprint = s->fingerprint, .machine = machine};
    qn_status st = key && machine ? qn__ledger_begin(r->l, &info, !r->o->probe.fresh, &r->id, &before, err) : qn__fail_mem(err, "report");
    qn_free(key);
    qn_free(machine);
    if (!st && before)
        st = qn__ledger_read(r->l, r->id, take_stored, r, err);
    r->done = r->all.n;
    return st;
}

/* What people call such a machine. */
static const char *class_of(const json_t *m)
{
    const json_int_t cpus = json_integer_value(json_object_get(m, "cpus")), gib = json_integer_value(json_object_get(m, "memory")) >> 30;
    return cpus >= 48 || gib >= 200 ? "server" : cpus >= 16 && gib >= 60 ? "workstation" : cpus >= 8 && gib >= 14 ? "desktop" : cpus >= 4 && gib >= 7 ? "laptop" : "small machine";
}

static qn_status ask_all(run *r, qn_subject *subject, json_t *notes, qn_err *err)
{
    qn_status st = QN_OK;
    for (int path = 0; path < QN_PATHS; path++)
        for (int tier = 0; tier < QN_TIERS && wants(r->o->paths, path); tier++) {
            qn_agent_samples some = {0};
            if (wants(r->o->tiers, tier) && !(st = plan(r, path, tier, &some, err)))
                r->total += some.n;
            qn_free(some.v);
        }
    r->total += r->done;
    for (int path = 0; path < QN_PATHS && !st; path++) {
        qn_err why = {0};
        if (!wants(r->o->paths, path))
            continue;
        st = ask_path(r, subject, path, &why);
        if (path == QN_PATH_NATIVE && (st == QN_EUNSUPPORTED || st == QN_ERAISED) && wants(r->o->paths, QN_PATH_JSON)) {
            (void)json_array_append_new(notes, json_sprintf("Native calls were not tested: %s: %s", why.where, why.what));
            st = QN_OK;
        } else if (st && err) {
            *err = why;
        }
    }
    return st;
}

static qn_status check(const qn_agent_options *o, const qn_subject *s, qn_err *err)
{
    if (o->tiers > 15 || o->paths > 3 || o->limit < 0 || !(o->repeats >= 0 && o->repeats <= 100) || !(o->temperature >= 0 && o->temperature <= 10))
        return qn__fail(err, QN_EINVAL, "report", "tiers, paths, limit, repeats or temperature is out of range");
    if (s && !s->chats)
        return qn__fail(err, QN_EUNSUPPORTED, s->name, "has no chat template: it cannot be an agent");
    return QN_OK;
}

static qn_status stored_run(run *r, json_t **info, qn_err *err)
{
    qn_status st = qn__ledger_run(r->l, r->o->rescore, info, err);
    const char *kind = st ? "" : json_string_value(json_object_get(*info, "kind"));
    if (!st && strcmp(kind ? kind : "", "agent") != 0)
        st = qn__fail(err, QN_EINVAL, "rescore", "run %lld is of kind %s", (long long)r->o->rescore, kind ? kind : "?");
    return st ? st : qn__ledger_read(r->l, r->o->rescore, take_stored, r, err);
}

qn_status qn__agent(const qn_agent_options *o, qn_subject *subject, qn_ledger *l, json_t **out, qn_err *err)
{
    run r = {.o = o, .l = l};
    json_t *notes = json_array(), *report = NULL, *info = NULL, *machine = NULL;
    qn_status st = check(o, subject, err);
    if (!st)
        st = choose_families(&r, err);
    if (!st && o->rescore) {
        st = stored_run(&r, &info, err);
        machine = info ? json_loads(json_string_value(json_object_get(info, "machine")), 0, NULL) : NULL;
        r.id = o->rescore;
    } else if (!st) {
        st = l ? begin(&r, subject, err) : QN_OK;
        if (!st && (st = ask_all(&r, subject, notes, err)) && l)
            qn__ledger_leave(l, r.id);
        machine = qn__machine_json(o->probe.endpoint ? NULL : &o->probe.engine);
    }
    report = st ? NULL : qn__agent_summary(&r.all);
    if (!st && (!report || !notes))
        st = qn__fail_mem(err, "report");
    if (!st) {
        (void)json_object_set_new(report, "model", json_string(subject ? subject->name : json_string_value(json_object_get(info, "model"))));
        (void)json_object_set_new(report, "fingerprint", json_string(subject ? subject->fingerprint : json_string_value(json_object_get(info, "fingerprint"))));
        (void)json_object_set(report, "machine", machine);
        (void)json_object_set_new(report, "machine_class", json_string(o->probe.endpoint ? "not known (a server)" : class_of(machine)));
        (void)json_object_set(report, "notes", notes);
        (void)json_object_set_new(report, "run", json_integer((json_int_t)r.id));
        (void)json_object_set_new(report, "ledger", json_string(l ? qn__ledger_path(l) : ""));
        if (o->rescore)
            (void)json_object_set_new(report, "rescored", json_integer((json_int_t)r.changed));
        else if (l)
            st = qn__ledger_finish(l, r.id, report, err);
    }
    if (st)
        json_decref(report);
    else
        *out = report;
    json_decref(notes);
    json_decref(info);
    json_decref(machine);
    qn_free(r.all.v);
    return st;
}

/* ---- the public call ---- */

void qn_agent_options_init(qn_agent_options *o)
{
    *o = (qn_agent_options){0};
    qn_probe_options_init(&o->probe);
}

qn_status qn_agent_report(const qn_agent_options *o, char **report_json, qn_err *err)
{
    qn_subject *s = NULL;
    qn_ledger *l = NULL;
    json_t *report = NULL;
    qn_status st = o->rescore ? qn__ledger_open(o->probe.ledger, &l, err) : qn__probe_open(&o->probe, &s, &l, err);
    if (!st)
        st = qn__agent(o, s, l, &report, err);
    if (!st)
        st = qn__probe_text(report, report_json, err);
    json_decref(report);
    qn__probe_close(s, l);
    return st;
}
