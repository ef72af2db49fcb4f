/* convert_source.c - the checkpoint's folder: its JSON files, its shards, every tensor by its bare name.
 *
 * Refuses: shards that the index names by anything but a plain file name, that are missing or lack a tensor that the index
 * promises; two tensors of one bare name; FP8 weights whose scales do not fit them. */
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "base/file.h"
#include "model/convert_int.h"

enum { MAX_JSON = 64 << 20, MAX_SHARDS = 4096 };

bool qn__cv_fail(qn__cv *c, qn_status code, const char *where, const char *fmt, ...)
{
    if (c->status == QN_OK) {
        char what[512];
        va_list ap;
        va_start(ap, fmt);
        (void)vsnprintf(what, sizeof what, fmt, ap);
        va_end(ap);
        c->status = qn__fail(c->err, code, where, "%s", what);
    }
    return false;
}

bool qn__cv_memory(qn__cv *c)
{
    if (c->status == QN_OK)
        c->status = qn__fail_mem(c->err, "convert");
    return false;
}

bool qn__cv_bad_key(qn__cv *c, const char *key, const char *fmt, ...)
{
    char what[400], where[160];
    va_list ap;
    va_start(ap, fmt);
    (void)vsnprintf(what, sizeof what, fmt, ap);
    va_end(ap);
    (void)snprintf(where, sizeof where, "config.json: %.*s", (int)strcspn(key, "|"), key);
    return qn__cv_fail(c, QN_EFORMAT, where, "%s", what);
}

void *qn__cv_alloc(qn__cv *c, size_t n)
{
    void *p = c->status == QN_OK ? qn__arena_alloc(&c->arena, n ? n : 1) : NULL;
    if (p)
        memset(p, 0, n);
    else
        (void)qn__cv_memory(c);
    return p;
}

char *qn__cv_printf(qn__cv *c, const char *fmt, ...)
{
    char text[1200];
    va_list ap;
    va_start(ap, fmt);
    int n = vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    char *p = n >= 0 && (size_t)n < sizeof text ? qn__arena_strndup(&c->arena, text, (size_t)n) : NULL;
    if (!p)
        (void)qn__cv_memory(c);
    return p;
}

static char *path_of(qn__cv *c, const char *name)
{
    size_t n = strlen(c->dir), m = strlen(name);
    char *p = qn__cv_alloc(c, n + m + 1);
    if (p) {
        memcpy(p, c->dir, n);
        memcpy(p + n, name, m + 1);
    }
    return p;
}

/* Anything but "not there" counts as there: opening it will say what is wrong. */
bool qn__cv_exists(qn__cv *c, const char *name)
{
    char *path = path_of(c, name);
    FILE *f = path ? fopen(path, "rbe") : NULL;
    bool there = path && (f || (errno != ENOENT && errno != ENOTDIR));
    if (f)
        (void)fclose(f);
    return there;
}

static bool read_json(qn__cv *c, const char *name, size_t limit, json_t **out)
{
    char *text;
    size_t n;
    json_error_t e;
    char *path = path_of(c, name);
    if (!path)
        return false;
    c->status = qn__read_file(path, limit, &text, &n, c->err);
    if (c->status != QN_OK)
        return false;
    json_t *j = json_loadb(text, n, JSON_REJECT_DUPLICATES, &e);
    qn_free(text);
    if (!j) {
        char where[160];
        (void)snprintf(where, sizeof where, "%.60s: line %d, column %d", name, e.line, e.column);
        return qn__cv_fail(c, QN_EFORMAT, where, "is not JSON: %.200s (NaN and Infinity are not JSON either)", e.text);
    }
    *out = j;
    return true;
}

bool qn__cv_json_any(qn__cv *c, const char *name, size_t limit, json_t **out)
{
    if (c->status != QN_OK || !qn__cv_exists(c, name))
        return c->status == QN_OK;
    return read_json(c, name, limit, out);
}

bool qn__cv_json(qn__cv *c, const char *name, size_t limit, bool need, json_t **out)
{
    if (c->status != QN_OK || (!need && !qn__cv_exists(c, name)))
        return c->status == QN_OK;
    return read_json(c, name, limit, out) && (json_is_object(*out) || qn__cv_fail(c, QN_EFORMAT, name, "is not a JSON object"));
}

static bool ends(const char *s, const char *with)
{
    size_t n = strlen(s), m = strlen(with);
    return n >= m && strcmp(s + n - m, with) == 0;
}

/* A file name that stays in the folder. */
static bool plain_name(const char *s)
{
    return s[0] && s[0] != '.' && !strchr(s, '/') && !strchr(s, '\\') && ends(s, ".safetensors") && strlen(s) < 200;
}

static bool open_shard(qn__cv *c, const char *name, size_t *at)
{
    char *path = path_of(c, name);
    if (!path)
        return false;
    for (*at = 0; *at < c->n_files; ++*at)
        if (strcmp(qn__st_name(c->files[*at]), path) == 0)
            return true;
    if (c->n_files == MAX_SHARDS)
        return qn__cv_fail(c, QN_ELIMIT, "model.safetensors.index.json", "names more than %d files", MAX_SHARDS);
    if (!qn__grow((void **)&c->files, &c->cap_files, c->n_files + 1, sizeof *c->files))
        return qn__cv_memory(c);
    c->status = qn__st_open(path, &c->files[c->n_files], c->err);
    if (c->status == QN_OK)
        c->n_files++;
    return c->status == QN_OK;
}

static bool open_index(qn__cv *c)
{
    static const char index[] = "model.safetensors.index.json";
    json_t *j = NULL, *map, *v;
    const char *key;
    size_t at = 0, n_promised, n_there = 0;
    if (!qn__cv_json(c, index, MAX_JSON, true, &j)) {
        json_decref(j);
        return false;
    }
    map = json_object_get(j, "weight_map");
    n_promised = json_object_size(map);
    if (!json_is_object(map) || n_promised == 0)
        (void)qn__cv_fail(c, QN_EFORMAT, index, "weight_map is missing or empty");
    json_object_foreach(map, key, v) {
        const char *name = json_string_value(v);
        if (!name || strlen(name) != json_string_length(v) || !plain_name(name))
            (void)qn__cv_fail(c, QN_EFORMAT, index, "weight_map: the file of %.80s is not a plain .safetensors name in the folder", key);
        if (c->status != QN_OK || !open_shard(c, name, &at))
            break;
        if (!qn__st_find(c->files[at], key))
            (void)qn__cv_fail(c, QN_EFORMAT, qn__st_name(c->files[at]), "the tensor %.100s, which %s promises in this file, is missing", key, index);
        if (c->status != QN_OK)
            break;
    }
    for (size_t i = 0; i < c->n_files; i++)
        n_there += qn__st_n_tensors(c->files[i]);
    if (c->status == QN_OK && n_there != n_promised)
        (void)qn__cv_fail(c, QN_EFORMAT, index, "names %zu tensors, but its files hold %zu", n_promised, n_there);
    json_decref(j);
    return c->status == QN_OK;
}

/* What wraps the language model's names in files of several modalities; the longest first. */
static const char *const prefixes[] = {"model.language_model.model.", "language_model.model.", "model.language_model.",
                                       "language_model.", "model.", "backbone.", "bert.", "roberta."};

static const char *bare(const char *name)
{
    for (size_t i = 0; i < sizeof prefixes / sizeof *prefixes; i++)
        if (strncmp(name, prefixes[i], strlen(prefixes[i])) == 0)
            return name + strlen(prefixes[i]);
    return name;
}

/* Older BERTs name the two parts of a norm by Greek letters. */
static const char *entry_name(qn__cv *c, const char *name)
{
    const char *b = bare(name);
    size_t n = strlen(b);
    if (n > 16 && strcmp(b + n - 16, ".LayerNorm.gamma") == 0)
        return qn__cv_printf(c, "%.*s.weight", (int)(n - 6), b);
    if (n > 15 && strcmp(b + n - 15, ".LayerNorm.beta") == 0)
        return qn__cv_printf(c, "%.*s.bias", (int)(n - 5), b);
    return b;
}

static int by_name(const void *a, const void *b)
{
    return strcmp(((const qn__cv_entry *)a)->name, ((const qn__cv_entry *)b)->name);
}

qn__cv_entry *qn__cv_find(qn__cv *c, const char *name)
{
    qn__cv_entry key = {.name = name};
    return c->n_entries ? bsearch(&key, c->entries, c->n_entries, sizeof key, by_name) : NULL;
}

static bool is_fp8(qn_st_dtype d)
{
    return d == QN_ST_F8_E4M3 || d == QN_ST_F8_E5M2;
}

/* FP8 numbers mean nothing without their scales: bind them. */
static bool bind_scales(qn__cv *c)
{
    static const char *const suffixes[] = {"_scale_inv", "_scale"};
    for (size_t i = 0; i < c->n_entries; i++) {
        qn__cv_entry *e = &c->entries[i];
        char name[QN_ST_MAX_NAME + 16];
        if (!is_fp8(e->t->dtype))
            continue;
        for (size_t k = 0; k < 2 && !e->scale; k++) {
            (void)snprintf(name, sizeof name, "%s%s", e->name, suffixes[k]);
            qn__cv_entry *s = qn__cv_find(c, name);
            if (s)
                s->used = true;
            e->scale = s;
        }
        if (!e->scale)
            return qn__cv_fail(c, QN_EFORMAT, e->name, "is FP8, but %s_scale_inv and %s_scale are missing: without a scale its numbers mean nothing", e->name, e->name);
        if (e->scale->t->dtype != QN_ST_F32 && e->scale->t->dtype != QN_ST_BF16 && e->scale->t->dtype != QN_ST_F16)
            return qn__cv_fail(c, QN_EUNSUPPORTED, e->scale->name, "a scale of type %s is unknown to this build; it reads F32, F16 and BF16", qn__st_dtype_name(e->scale->t->dtype));
    }
    return true;
}

static bool list_tensors(qn__cv *c)
{
    for (size_t f = 0; f < c->n_files; f++)
        for (size_t i = 0; i < qn__st_n_tensors(c->files[f]); i++) {
            const qn_st_tensor *t = qn__st_tensor(c->files[f], i);
            if (!qn__grow((void **)&c->entries, &c->cap_entries, c->n_entries + 1, sizeof *c->entries))
                return qn__cv_memory(c);
            c->entries[c->n_entries++] = (qn__cv_entry){.name = entry_name(c, t->name), .t = t, .file = c->files[f]};
            if (c->status != QN_OK)
                return false;
        }
    if (c->n_entries == 0)
        return qn__cv_fail(c, QN_EFORMAT, qn__st_name(c->files[0]), "holds no tensors");
    qsort(c->entries, c->n_entries, sizeof *c->entries, by_name);
    for (size_t i = 1; i < c->n_entries; i++)
        if (strcmp(c->entries[i - 1].name, c->entries[i].name) == 0)
            return qn__cv_fail(c, QN_EFORMAT, c->entries[i].t->name, "the tensor is there twice (also as %.100s)", c->entries[i - 1].t->name);
    return bind_scales(c);
}

/* o->in: a folder, or a file of it. */
static bool set_dir(qn__cv *c, const char **file)
{
    const char *in = c->o->in, *slash = strrchr(in, '/');
    size_t n = strlen(in);
    *file = NULL;
    if (ends(in, ".safetensors")) {
        *file = slash ? slash + 1 : in;
        n = (size_t)(*file - in);
    }
    c->dir = qn__cv_alloc(c, n + 2);
    if (c->dir) {
        memcpy(c->dir, in, n);
        if (n && c->dir[n - 1] != '/')
            c->dir[n] = '/';
    }
    return c->dir != NULL;
}

bool qn__cv_source_open(qn__cv *c)
{
    const char *file;
    size_t at;
    if (!set_dir(c, &file) || !qn__cv_json(c, "config.json", MAX_JSON, true, &c->config))
        return false;
    if (file && !(strstr(file, "-of-") && qn__cv_exists(c, "model.safetensors.index.json")))
        (void)open_shard(c, file, &at);
    else if (qn__cv_exists(c, "model.safetensors.index.json"))
        (void)open_index(c);
    else if (qn__cv_exists(c, "model.safetensors"))
        (void)open_shard(c, "model.safetensors", &at);
    else
        (void)qn__cv_fail(c, QN_EIO, c->o->in, "holds neither model.safetensors nor model.safetensors.index.json; only safetensors checkpoints are converted");
    return c->status == QN_OK && list_tensors(c);
}

void qn__cv_source_close(qn__cv *c)
{
    for (size_t i = 0; i < c->n_files; i++)
        qn__st_close(c->files[i]);
    qn_free(c->files);
    qn_free(c->entries);
    json_decref(c->config);
    json_decref(c->tokenizer);
    json_decref(c->tokenizer_config);
    json_decref(c->special_map);
    json_decref(c->generation);
}
