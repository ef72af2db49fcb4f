/* models.c - see models.h. */
#include "services/api/models.h"

#include <string.h>
#include <time.h>

#include "base/err.h"
#include "base/file.h"
#include "base/mem.h"

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

/* Under lock, which is let go meanwhile: nobody touches it, it is LOADING or the end has come. */
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

/* ---- loading ---- */

/* What it will need; before the first load a guess from its size. */
static uint64_t need_of(const api_model *m)
{
    return m->memory ? m->memory : m->file_bytes + m->file_bytes / 8;
}

/* Under lock: the idle one that was used longest ago. */
static api_model *victim(api_models *m)
{
    api_model *best = NULL;
    for (size_t i = 0; i < m->n; i++) {
        api_model *c = &m->list[i];
        if (c->state == API_MODEL_READY && !c->users && (!best || c->last_used < best->last_used))
            best = c;
    }
    return best;
}

/* Under lock, which is let go while closing: make room for `need` beside what is there, of which `own` are that model's already. False
 * when those that are left are in use. One alone may be larger than all there is. */
static bool make_room(api_models *m, uint64_t need, uint64_t own)
{
    while (m->o.memory && m->memory_used > own && m->memory_used + need > m->o.memory) {
        api_model *v = victim(m);
        if (!v)
            return false;
        v->state = API_MODEL_LOADING; /* nobody touches it meanwhile */
        unload(m, v);
        v->state = API_MODEL_IDLE;
        m->memory_used -= v->memory;
        qn__cond_broadcast(&m->changed);
    }
    return true;
}

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

/* Under lock: wait until something changed. False when it took too long. */
static bool wait_change(api_models *m, double until)
{
    return !m->closing && qn__cond_wait_until(&m->changed, &m->lock, until);
}

qn_status api_model_hold(api_models *m, api_model *one, qn_err *err)
{
    const double until = qn__now() + m->o.wait_s;
    qn_status st = QN_OK;
    qn__lock(&m->lock);
    while (one->state != API_MODEL_READY && !st) {
        if (m->closing) {
            st = qn__fail(err, QN_EBUSY, one->name, "the server is shutting down");
        } else if (one->state == API_MODEL_LOADING) {
            if (!wait_change(m, until) && qn__now() >= until)
                st = qn__fail(err, QN_EBUSY, one->name, "the model is still being loaded; try again later");
        } else if (!make_room(m, need_of(one), 0)) {
            if (!wait_change(m, until) && qn__now() >= until)
                st = qn__fail(err, QN_EBUSY, one->name,
                              "other models are at work and there is no memory for this one beside them; try again later");
        } else if (one->state == API_MODEL_IDLE) {
            one->state = API_MODEL_LOADING;
            m->memory_used += need_of(one);
            const uint64_t guessed = need_of(one);
            parts p;
            qn__unlock(&m->lock);
            st = load(m, one, &p, err);
            qn__lock(&m->lock);
            m->memory_used -= guessed;
            if (!st) {
                give_parts(one, &p);
                m->memory_used += one->memory;
            }
            bool fits = st || make_room(m, 0, one->memory);
            if (!fits) { /* it needs more than was guessed, and the others are at work: now that is known, it waits */
                unload(m, one);
                m->memory_used -= one->memory;
            }
            one->state = st || !fits ? API_MODEL_IDLE : API_MODEL_READY;
            qn__cond_broadcast(&m->changed);
        }
    }
    if (!st) {
        one->users++;
        one->last_used = ++m->uses;
    }
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
    one->users--;
    qn__cond_broadcast(&m->changed);
    qn__unlock(&m->lock);
}
