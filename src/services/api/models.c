/* models.c - see models.h. */
#include "services/api/models.h"

#include <math.h>
#include <string.h>
#include <time.h>

#include "base/err.h"
#include "base/file.h"
#include "base/mem.h"

/* A model that was used a moment ago is likely to be asked again by the same client; waits are looked at again so often. */
static const double REST_S = 0.5, SLICE_S = 0.1;

/* ---- names ---- */

/* A file's name without folder and ending: what clients call the model. */
static char *name_of(const char *path)
{
    const char *base = strrchr(path, '/');
    base = base ? base + 1 : path;
    size_t n = strlen(base);
    if (n > 5 && strcmp(base + n - 5, ".gguf") == 0)
        n -= 5;
    return qn__strndup(base, n);
}

static qn_status describe(api_model *m, const char *path, qn_err *err)
{
    qn_model *header = NULL;
    qn_model_info info;
    const bool embedded = !path || strcmp(path, "embedded") == 0;
    qn_status st = qn_model_open(embedded ? NULL : path, QN_OPEN_HEADER, &header, err);
    if (st)
        return st;
    qn_model_get_info(header, &info);
    m->file_bytes = info.file_bytes;
    m->info.n_ctx_train = info.n_ctx_train;
    if (embedded) {
        m->name = qn__strndup(info.name[0] ? info.name : "embedded", strlen(info.name[0] ? info.name : "embedded"));
        m->alias = qn__strndup("embedded", 8);
        m->modified = 1767225600; /* 2026-01-01: it has no file */
    } else {
        m->name = name_of(path);
        m->path = qn__strndup(path, strlen(path));
        m->modified = (int64_t)time(NULL);
    }
    qn_model_close(header);
    return m->name && (embedded ? m->alias != NULL : m->path != NULL) ? QN_OK : qn__fail_mem(err, "serve");
}

qn_status api_models_open(const api_models_options *o, api_models *out, qn_err *err)
{
    api_models m = {.o = *o};
    qn_status st = QN_OK;
    m.o.wait_s = o->wait_s > 0 ? o->wait_s : 120;
    m.o.patience_s = o->patience_s > 0 ? o->patience_s : 5;
    m.list = qn__calloc(o->n_paths ? o->n_paths : 1, sizeof *m.list);
    if (!m.list)
        return qn__fail_mem(err, "serve");
    for (size_t i = 0; i < (o->n_paths ? o->n_paths : 1) && !st; i++) {
        qn__lock_init(&m.list[m.n].forms_lock);
        qn__lock_init(&m.list[m.n].cache_lock);
        st = describe(&m.list[m.n++], o->n_paths ? o->paths[i] : NULL, err);
        for (size_t k = 0; !st && k + 1 < m.n; k++)
            if (strcmp(m.list[k].name, m.list[i].name) == 0)
                st = qn__fail(err, QN_EINVAL, m.list[i].name, "two models have this name; rename one file");
    }
    *out = m;
    qn__lock_init(&out->lock);
    qn__cond_init(&out->changed);
    if (st)
        api_models_close(out);
    return st;
}

/* What a model has while it is loaded. It comes and goes under the lock, at once: those who only look read it whatever the state. */
typedef struct parts {
    qn_model *model;
    qn_engine *engine;
    qn_scheduler *scheduler;
    json_t *report;
    qn_model_info info;
    qn_engine_info engine_info;
} parts;

/* Under lock. */
static parts take_parts(api_model *m)
{
    const parts p = {.model = m->model, .engine = m->engine, .scheduler = m->scheduler, .report = m->report};
    m->report = NULL;
    m->scheduler = NULL;
    m->engine = NULL;
    m->model = NULL;
    return p;
}

/* Under lock, which is let go meanwhile: nobody touches it, it is CLOSING or LOADING, or the end has come. */
static void unload(api_models *all, api_model *m)
{
    const parts p = take_parts(m);
    qn__unlock(&all->lock);
    api_forms_drop(m);
    qn_scheduler_close(p.scheduler);
    qn_engine_close(p.engine);
    qn_model_close(p.model);
    json_decref(p.report);
    m->cache = (qn_cache_stats){0};
    qn__lock(&all->lock);
}

void api_models_stop(api_models *m)
{
    qn__lock(&m->lock);
    m->closing = true;
    qn__cond_broadcast(&m->changed);
    qn__unlock(&m->lock);
}

void api_models_close(api_models *m)
{
    for (size_t i = 0; i < m->n; i++) {
        qn__lock(&m->lock);
        unload(m, &m->list[i]);
        qn__unlock(&m->lock);
        qn__lock_destroy(&m->list[i].forms_lock);
        qn__lock_destroy(&m->list[i].cache_lock);
        qn_free(m->list[i].name);
        qn_free(m->list[i].alias);
        qn_free(m->list[i].path);
    }
    qn_free(m->list);
    m->list = NULL;
    m->n = 0;
    qn__cond_destroy(&m->changed);
    qn__lock_destroy(&m->lock);
}

/* Ollama's clients say name:latest. */
static bool same_name(const char *have, const char *asked)
{
    const size_t n = have ? strlen(have) : 0;
    return n && strncmp(have, asked, n) == 0 && (!asked[n] || strcmp(asked + n, ":latest") == 0);
}

api_model *api_model_find(api_models *m, const char *name)
{
    if (!name || !name[0])
        return &m->list[0];
    for (size_t i = 0; i < m->n; i++)
        if (same_name(m->list[i].name, name) || same_name(m->list[i].alias, name))
            return &m->list[i];
    return m->n == 1 ? &m->list[0] : NULL;
}

/* ---- who gives way ---- */

/* What it will need; before the first load a guess from its size. */
static uint64_t need_of(const api_model *m)
{
    return m->memory ? m->memory : m->file_bytes + m->file_bytes / 8;
}

/* Those that rest, used longest ago first; then those at work, loaded longest ago first. */
static bool goes_before(const api_model *a, const api_model *b)
{
    if (!a->users != !b->users)
        return !a->users;
    return a->users ? a->ready_at < b->ready_at : a->last_used < b->last_used;
}

/* Under lock: mark those that have to go so that `need` fits beside what is left, of which `own` are that model's already. False when
 * that is not enough yet. One alone may be larger than all there is. */
static bool choose(api_models *m, uint64_t need, uint64_t own)
{
    uint64_t left = m->memory_used;
    for (size_t i = 0; i < m->n; i++)
        m->list[i].gives_way = false;
    while (m->o.memory && left > own && left + need > m->o.memory) {
        api_model *best = NULL;
        for (size_t i = 0; i < m->n; i++) {
            api_model *c = &m->list[i];
            if (c->state == API_MODEL_READY && !c->gives_way && (!best || goes_before(c, best)))
                best = c;
        }
        if (!best)
            return false;
        best->gives_way = true;
        left -= best->memory;
    }
    return true;
}

/* Has it served for as long as its loading took? Or is it not even used, and nobody seems about to come back to it? */
static bool is_served(const api_model *c, double now)
{
    const double rest = c->load_s < REST_S ? c->load_s : REST_S;
    return now >= c->ready_at + c->load_s || (!c->users && now >= c->idle_since + rest);
}

/* Those that were chosen can go now. */
static bool can_go(const api_models *m, double now)
{
    for (size_t i = 0; i < m->n; i++)
        if (m->list[i].gives_way && (m->list[i].users || !is_served(&m->list[i], now)))
            return false;
    return !m->evicting && !m->guessing;
}

/* Under lock, which is let go meanwhile: those that were chosen are closed. */
static void evict(api_models *m)
{
    m->evicting = true; /* what is freed is nobody else's */
    for (size_t i = 0; i < m->n; i++)
        if (m->list[i].gives_way)
            m->list[i].state = API_MODEL_CLOSING; /* nobody touches it meanwhile */
    for (size_t i = 0; i < m->n; i++) {
        api_model *c = &m->list[i];
        if (c->state != API_MODEL_CLOSING)
            continue;
        unload(m, c);
        c->state = API_MODEL_IDLE;
        m->memory_used -= c->memory;
    }
    m->evicting = false;
    qn__cond_broadcast(&m->changed);
}

/* ---- loading ---- */

static int32_t special(const json_t *report, const char *name)
{
    const json_t *t = json_object_get(json_object_get(json_object_get(report, "tokenizer"), "special"), name);
    const json_t *id = json_object_get(t, "id");
    return json_is_integer(id) ? (int32_t)json_integer_value(id) : -1;
}

/* Without the lock: `m` is this thread's while it is LOADING. */
static qn_status load(const api_models *all, const api_model *m, parts *out, qn_err *err)
{
    parts p = {0};
    qn_engine_options o = all->o.engine;
    char *text = NULL;
    if (m != all->list)
        o.draft_model = NULL; /* another vocabulary, most likely */
    qn_status st = qn_model_open(m->path, QN_OPEN_FULL, &p.model, err);
    if (!st)
        st = qn_engine_open(p.model, &o, &p.engine, err);
    if (!st)
        st = qn_scheduler_open(p.engine, &all->o.scheduler, &p.scheduler, err);
    if (st) {
        qn_engine_close(p.engine);
        qn_model_close(p.model);
        return st;
    }
    qn_model_get_info(p.model, &p.info);
    qn_engine_get_info(p.engine, &p.engine_info);
    if (qn_model_report(p.model, false, &text, NULL) == QN_OK)
        p.report = json_loads(text, 0, NULL);
    qn_free(text);
    *out = p;
    return QN_OK;
}

/* Under lock: it has them now. */
static void give_parts(api_model *m, const parts *p)
{
    m->model = p->model;
    m->engine = p->engine;
    m->scheduler = p->scheduler;
    m->report = p->report;
    m->info = p->info;
    m->engine_info = p->engine_info;
    const uint64_t weights = p->engine_info.packed_bytes > m->file_bytes ? p->engine_info.packed_bytes : m->file_bytes;
    m->memory = weights + p->engine_info.kv_bytes_per_token * (uint64_t)p->engine_info.n_ctx;
    m->fim_pre = special(p->report, "fim_pre");
    m->fim_suf = special(p->report, "fim_suf");
    m->fim_mid = special(p->report, "fim_mid");
    m->loads++;
}

/* ---- who comes next ----
 *
 *   waiting, in order of arrival      first: whose model is not here       the models that are here
 *   [A] [B] [A] [C] [B]                      ^ [B]                         A: at work, gives way -> takes nothing new
 *
 * The first that waits for memory chooses who gives way. Once it has waited for patience_s, and they have served for as long as their
 * loading took, those take nothing new: who asks for them waits, too, and is first one day. Who waits for a model when it is loaded
 * is let in before anything else is decided; so every load serves somebody. */

static void enlist(api_models *m, api_waiter *w)
{
    api_waiter **p = &m->waiting;
    while (*p)
        p = &(*p)->next;
    *p = w;
}

static void leave(api_models *m, const api_waiter *w)
{
    api_waiter **p = &m->waiting;
    while (*p != w)
        p = &(*p)->next;
    *p = w->next;
}

static void let_in(api_models *m, api_model *one)
{
    for (api_waiter *w = m->waiting; w; w = w->next)
        if (w->one == one && !w->let_in) {
            w->let_in = true;
            one->users++;
            one->last_used = ++m->uses;
        }
}

/* Under lock: let in whoever may; the first of those who wait for memory. */
static const api_waiter *look(api_models *m, double now)
{
    const api_waiter *first = m->waiting;
    while (first && (first->let_in || first->one->state != API_MODEL_IDLE))
        first = first->next;
    if (first)
        m->room = choose(m, need_of(first->one), 0);
    const bool due = first && now - first->since >= m->o.patience_s;
    for (size_t i = 0; i < m->n; i++) {
        api_model *c = &m->list[i];
        if (c->state != API_MODEL_READY)
            continue;
        const bool closed = due && c->gives_way && is_served(c, now);
        c->closed_at = !closed ? 0 : c->closed_at > 0 ? c->closed_at : now;
        if (closed && now - c->closed_at < m->o.wait_s / 2)
            continue;
        c->closed_at = closed ? now : 0; /* its work does not end: those who queued meanwhile lose nothing to anybody */
        let_in(m, c);
    }
    return first;
}

/* Under lock, which is let go meanwhile: close those that were chosen, load this one. */
static qn_status bring(api_models *m, api_model *one, qn_err *err)
{
    const uint64_t guessed = need_of(one);
    one->state = API_MODEL_LOADING;
    m->memory_used += guessed;
    m->guessing = m->o.memory && !one->memory;
    evict(m);
    parts p;
    const double start = qn__now();
    qn__unlock(&m->lock);
    qn_status st = load(m, one, &p, err);
    qn__lock(&m->lock);
    m->guessing = false;
    m->memory_used -= guessed;
    if (!st) {
        give_parts(one, &p);
        m->memory_used += one->memory;
        one->load_s = qn__now() - start;
    }
    bool fits = st || !m->o.memory || m->memory_used <= m->o.memory;
    if (!fits && choose(m, 0, one->memory) && can_go(m, INFINITY)) {
        evict(m);
        fits = true;
    }
    if (!fits) { /* it needs more than was guessed, and the others are at work: now that is known, it waits */
        unload(m, one);
        m->memory_used -= one->memory;
    }
    one->state = st || !fits ? API_MODEL_IDLE : API_MODEL_READY;
    if (one->state == API_MODEL_READY) {
        one->ready_at = one->idle_since = qn__now();
        one->closed_at = 0;
        let_in(m, one);
    }
    qn__cond_broadcast(&m->changed);
    return st;
}

/* Under lock: until w is let in. */
static qn_status wait_turn(api_models *m, api_waiter *w, http_exchange *x, qn_err *err)
{
    api_model *one = w->one;
    const double until = w->since + m->o.wait_s;
    qn_status st = QN_OK;
    for (double now = qn__now(); !st && !w->let_in; now = qn__now()) {
        const api_waiter *first = look(m, now);
        if (w->let_in)
            break;
        if (m->closing)
            st = qn__fail(err, QN_EBUSY, one->name, "the server is shutting down");
        else if (x && http_is_gone(x))
            st = qn__fail(err, QN_ECANCELLED, one->name, "the client has gone");
        else if (one->state == API_MODEL_IDLE && first->one == one && m->room && can_go(m, now))
            st = bring(m, one, err);
        else if (now < until) /* some of what is waited for is only time */
            (void)qn__cond_wait_until(&m->changed, &m->lock, now + SLICE_S < until ? now + SLICE_S : until);
        else if (one->state == API_MODEL_LOADING)
            st = qn__fail(err, QN_EBUSY, one->name, "the model is still being loaded; try again later");
        else
            st = qn__fail(err, QN_EBUSY, one->name,
                          "other models are at work and there is no memory for this one beside them; try again later");
    }
    return w->let_in ? QN_OK : st;
}

qn_status api_model_hold(api_models *m, api_model *one, http_exchange *x, qn_err *err)
{
    api_waiter w = {.one = one, .since = qn__now()};
    qn_status st = QN_OK;
    qn__lock(&m->lock);
    enlist(m, &w);
    (void)look(m, w.since);
    if (!w.let_in) {
        qn__unlock(&m->lock);
        if (x)
            http_wait_begin(x);
        qn__lock(&m->lock);
        st = wait_turn(m, &w, x, err);
        qn__unlock(&m->lock);
        if (x)
            http_wait_end(x);
        qn__lock(&m->lock);
    }
    leave(m, &w);
    if (st)
        qn__cond_broadcast(&m->changed); /* nobody gives way for it any more */
    qn__unlock(&m->lock);
    return st;
}

bool api_model_hold_ready(api_models *m, api_model *one)
{
    qn__lock(&m->lock);
    const bool ready = one->state == API_MODEL_READY;
    one->users += ready;
    qn__unlock(&m->lock);
    return ready;
}

void api_model_release(api_models *m, api_model *one)
{
    qn__lock(&m->lock);
    if (--one->users == 0)
        one->idle_since = qn__now();
    qn__cond_broadcast(&m->changed);
    qn__unlock(&m->lock);
}
