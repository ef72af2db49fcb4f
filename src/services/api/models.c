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

static void unload(api_model *m)
{
    api_forms_drop(m);
    qn_scheduler_close(m->scheduler);
    qn_engine_close(m->engine);
    qn_model_close(m->model);
    json_decref(m->report);
    m->report = NULL;
    m->scheduler = NULL;
    m->engine = NULL;
    m->model = NULL;
    m->cache = (qn_cache_stats){0};
}

void api_models_close(api_models *m)
{
    for (size_t i = 0; i < m->n; i++) {
        unload(&m->list[i]);
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
        qn__unlock(&m->lock);
        unload(v);
        qn__lock(&m->lock);
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

static void read_report(api_model *m)
{
    char *text = NULL;
    if (qn_model_report(m->model, false, &text, NULL) == QN_OK)
        m->report = json_loads(text, 0, NULL);
    qn_free(text);
    m->fim_pre = special(m->report, "fim_pre");
    m->fim_suf = special(m->report, "fim_suf");
    m->fim_mid = special(m->report, "fim_mid");
}

/* Without the lock: `m` is this thread's while it is LOADING. */
static qn_status load(const api_models *all, api_model *m, qn_err *err)
{
    const double t = qn__now();
    qn_model *model = NULL;
    qn_engine *engine = NULL;
    qn_scheduler *scheduler = NULL;
    qn_engine_options o = all->o.engine;
    if (m != all->list)
        o.draft_model = NULL; /* another vocabulary, most likely */
    qn_status st = qn_model_open(m->path, QN_OPEN_FULL, &model, err);
    if (!st)
        st = qn_engine_open(model, &o, &engine, err);
    if (!st)
        st = qn_scheduler_open(engine, &all->o.scheduler, &scheduler, err);
    if (st) {
        qn_engine_close(engine);
        qn_model_close(model);
        return st;
    }
    m->model = model;
    m->engine = engine;
    m->scheduler = scheduler;
    qn_model_get_info(model, &m->info);
    qn_engine_get_info(engine, &m->engine_info);
    const uint64_t weights = m->engine_info.packed_bytes > m->file_bytes ? m->engine_info.packed_bytes : m->file_bytes;
    m->memory = weights + m->engine_info.kv_bytes_per_token * (uint64_t)m->engine_info.n_ctx;
    read_report(m);
    m->load_s = qn__now() - t;
    return QN_OK;
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
            qn__unlock(&m->lock);
            st = load(m, one, err);
            qn__lock(&m->lock);
            m->memory_used -= guessed;
            m->memory_used += st ? 0 : one->memory;
            one->loads += !st;
            bool fits = st || make_room(m, 0, one->memory);
            if (!fits) { /* it needs more than was guessed, and the others are at work: now that is known, it waits */
                qn__unlock(&m->lock);
                unload(one);
                qn__lock(&m->lock);
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
