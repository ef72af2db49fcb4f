/* suite_fetch.c - see suite_fetch.h. A suite is got into memory, compared with what is known of it, read as a suite, and only then
 * appears on disk; so a file that is there is whole, and one that was there stays when anything goes wrong.
 *
 * Addresses name one version each, where the publisher has versions. QUERN_SUITES_FROM=https://HOST (or http://127.0.0.1:PORT) puts a
 * mirror in the place of every host below; paths stay, and so does what files are compared with. */
#include "services/eval/suite_fetch.h"

#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#include "base/dir.h"
#include "base/err.h"
#include "base/file.h"
#include "base/mem.h"
#include "services/eval/suite.h"
#include "services/http/secret.h"
#include "services/store/download.h"

enum { ROWS = 100, ROWS_MOST = 1000 }; /* of a page, of a suite */
static const size_t LIMIT = (size_t)64 << 20;

#define INFILLING "https://raw.githubusercontent.com/openai/human-eval-infilling/88062ff9859c875d04db115b698ed4b0f0395170/data/HumanEval-"
#define GOOGLE "https://raw.githubusercontent.com/google-research/google-research/4700efb9afa54286b0e04473ba80a13e8461e25f/mbpp/"
/* MultiPL-E is published in Parquet only; the same host gives its rows as JSON, 100 at a time. */
#define MULTIPL_E(language, problems) \
    {"multipl-e-" language, "MultiPL-E", "humaneval-" language ".jsonl", "BSD-3-Clause, not for training", \
     "https://datasets-server.huggingface.co/rows?dataset=nuprl/MultiPL-E&config=humaneval-" language "&split=test", NULL, problems, true}

static const struct entry {
    const char *name, *title, *file, *licence, *url, *sha256;
    int problems;
    bool rows;
} entries[] = {
    {"humaneval", "HumanEval", "HumanEval.jsonl.gz", "MIT",
     "https://raw.githubusercontent.com/openai/human-eval/6d43fb980f9fee3c892a914eda09951f772ad10d/data/HumanEval.jsonl.gz",
     "b796127e635a67f93fb35c04f4cb03cf06f38c8072ee7cee8833d7bee06979ef", 164, false},
    {"humaneval-plus", "HumanEval+", "HumanEvalPlus.jsonl.gz", "Apache-2.0",
     "https://github.com/evalplus/humanevalplus_release/releases/download/v0.1.10/HumanEvalPlus.jsonl.gz",
     "272720b90ac375502c8ed23cd791c2a93dfb22a911641a494da74a426c09f101", 164, false},
    {"mbpp", "MBPP", "mbpp.jsonl", "CC-BY-4.0", GOOGLE "mbpp.jsonl", "ccf64ceae9c5403bf50a044cb6d505bfd2a2963ee58338ba268fd65beab92a9f", 974, false},
    {"mbpp-sanitized", "MBPP", "sanitized-mbpp.json", "CC-BY-4.0", GOOGLE "sanitized-mbpp.json", NULL, 427, false},
    {"mbpp-plus", "MBPP+", "MbppPlus.jsonl.gz", "Apache-2.0",
     "https://github.com/evalplus/mbppplus_release/releases/download/v0.2.0/MbppPlus.jsonl.gz",
     "af43697e8791c4c149bdfd6b489d8b5412507551ac20e28a439f650b8225db63", 378, false},
    {"infilling-single-line", "HumanEval-infilling", "HumanEval-SingleLineInfilling.jsonl.gz", "MIT", INFILLING "SingleLineInfilling.jsonl.gz",
     "1277073e7ddce163ef68598c2bca777f688a53df99422f097e37362090f88e1f", 1033, false},
    {"infilling-multi-line", "HumanEval-infilling", "HumanEval-MultiLineInfilling.jsonl.gz", "MIT", INFILLING "MultiLineInfilling.jsonl.gz",
     "2f341612eee1d35da1357a4f365e0c0b3ba6e2b62eb491e88aaefa4855af0349", 5815, false},
    {"infilling-random-span", "HumanEval-infilling", "HumanEval-RandomSpanInfilling.jsonl.gz", "MIT", INFILLING "RandomSpanInfilling.jsonl.gz",
     "b4f330d8a8ff97bf85d9def497dffcae4d741e506449386a877236e422e33e8d", 1640, false},
    {"infilling-random-span-light", "HumanEval-infilling", "HumanEval-RandomSpanInfillingLight.jsonl.gz", "MIT",
     INFILLING "RandomSpanInfillingLight.jsonl.gz", "1432250ecac0cb56e6f97f8faf0970419ef892a98fda7e1f5aa4c4b87209b760", 164, false},
    {"ds1000", "DS-1000", "ds1000.jsonl", "CC-BY-SA-4.0",
     "https://huggingface.co/datasets/xlangai/DS-1000/resolve/4416080ac5cb80bdf7576aefb8f9a0b4d5426a44/test.jsonl",
     "26a492838b05f9d030b2f08a5715c6bafecafb601c157da912bf417fd8b0d363", 1000, false},
    MULTIPL_E("cpp", 161), MULTIPL_E("go", 154), MULTIPL_E("java", 158), MULTIPL_E("js", 161), MULTIPL_E("lua", 161),
    MULTIPL_E("pl", 161), MULTIPL_E("rs", 156), MULTIPL_E("sh", 158), MULTIPL_E("ts", 159),
};
enum { N = sizeof entries / sizeof *entries };

static const struct entry *entry_of(const char *name)
{
    for (int i = 0; i < N; i++)
        if (strcmp(entries[i].name, name) == 0)
            return &entries[i];
    return NULL;
}

/* dir/file; dir NULL: the user's own. */
static qn_status path_of(const struct entry *e, const char *dir, char **path, qn_err *err)
{
    qn_buf b = {0};
    qn__buf_printf(&b, dir ? "%s/%s" : "suites/%s%s", dir ? dir : "", e->file);
    char *p = qn__buf_take(&b, NULL);
    if (!p)
        return qn__fail_mem(err, e->name);
    if (dir) {
        *path = p;
        return QN_OK;
    }
    const qn_status st = qn__user_file(QN_USER_DATA, p, path, err);
    qn_free(p);
    return st;
}

qn_status qn_suite_list(const char *dir, void (*see)(void *arg, const qn_suite_info *s), void *arg, qn_err *err)
{
    for (int i = 0; i < N; i++) {
        const struct entry *e = &entries[i];
        char *path = NULL;
        const qn_status st = path_of(e, dir, &path, err);
        if (st)
            return st;
        see(arg, &(qn_suite_info){.name = e->name, .title = e->title, .licence = e->licence, .url = e->url, .sha256 = e->sha256,
                                  .problems = e->problems, .path = path, .there = !qn__dir_missing(path)});
        qn_free(path);
    }
    return QN_OK;
}

qn_status qn__suite_find(const char *name, char **path, qn_err *err)
{
    const struct entry *e = entry_of(name);
    char *p = NULL;
    if (!e || !qn__dir_missing(name)) {
        if (!e && qn__dir_missing(name) && !strpbrk(name, "./"))
            return qn__fail(err, QN_EIO, name, "is neither a file nor a suite that is known by name; `quern eval --list` shows those");
        p = qn__strndup(name, strlen(name));
        return p ? *path = p, QN_OK : qn__fail_mem(err, name);
    }
    qn_status st = path_of(e, NULL, &p, err);
    if (!st && qn__dir_missing(p)) {
        st = qn__fail(err, QN_EIO, name, "is not here yet; `quern eval --fetch %s` gets it from %.*s (%s)", name,
                      (int)strcspn(e->url + 8, "/") + 8, e->url, e->licence);
        qn_free(p);
    }
    if (!st)
        *path = p;
    return st;
}

/* ---- getting ---- */

/* The address, at a mirror if there is one. */
static char *address_of(const char *url)
{
    const char *mirror = getenv("QUERN_SUITES_FROM");
    qn_buf b = {0};
    if (mirror && *mirror)
        qn__buf_printf(&b, "%s%s", mirror, url + 8 + strcspn(url + 8, "/"));
    else
        qn__buf_puts(&b, url);
    return qn__buf_take(&b, NULL);
}

/* One page: {"rows": [{"row": {...}, "truncated_cells": []}, ...], "num_rows_total": N}, its rows as lines. */
static qn_status take_rows(const char *url, const qn_buf *page, qn_buf *out, size_t *n, size_t *total, qn_err *err)
{
    json_t *o = json_loadb(page->data ? page->data : "", page->n, JSON_ALLOW_NUL, NULL), *rows = json_object_get(o, "rows"), *v;
    const json_t *all = json_object_get(o, "num_rows_total");
    size_t i;
    qn_status st = QN_OK;
    if (!json_is_array(rows) || !json_is_integer(all) || json_integer_value(all) < 1 || json_integer_value(all) > ROWS_MOST || json_array_size(rows) == 0)
        st = qn__fail(err, QN_EFORMAT, url, "was answered with something else than rows of a table; try again later");
    json_array_foreach(rows, i, v) {
        json_t *row = json_object_get(v, "row");
        if (!st && (!json_is_object(row) || json_array_size(json_object_get(v, "truncated_cells")) > 0))
            st = qn__fail(err, QN_EFORMAT, url, "was answered with a row that is not whole");
        char *line = st ? NULL : json_dumps(row, JSON_COMPACT);
        if (!st && !line)
            st = qn__fail_mem(err, url);
        if (line)
            qn__buf_printf(out, "%s\n", line);
        free(line);
        *n += 1;
    }
    if (!st)
        *total = (size_t)json_integer_value(all);
    json_decref(o);
    return st;
}

static qn_status get_rows(const char *url, const qn_download_options *o, qn_buf *out, qn_err *err)
{
    size_t n = 0, total = 1;
    qn_status st = QN_OK;
    while (!st && n < total) {
        qn_buf page = {0}, at = {0};
        qn__buf_printf(&at, "%s&offset=%zu&length=%d", url, n, ROWS);
        st = at.failed ? qn__fail_mem(err, url) : qn__download(at.data, o, &page, err);
        if (!st)
            st = take_rows(at.data, &page, out, &n, &total, err);
        qn__buf_free(&page);
        qn__buf_free(&at);
    }
    return st ? st : out->failed ? qn__fail_mem(err, url) : QN_OK;
}

/* Is this what was published? `where` names it. */
static qn_status check(const struct entry *e, const char *where, const char *data, size_t n, qn_err *err)
{
    unsigned char digest[HTTP_DIGEST];
    char hex[2 * HTTP_DIGEST + 1];
    qn_suite *s = NULL;
    http_sha256(data, n, digest);
    for (int i = 0; i < HTTP_DIGEST; i++)
        (void)snprintf(hex + 2 * i, 3, "%02x", digest[i]);
    if (e->sha256 && strcmp(hex, e->sha256) != 0)
        return qn__fail(err, QN_EFORMAT, where, "is not the file that was published: its SHA-256 is %.12s..., not %.12s...; nothing of it was kept. "
                        "If its authors changed it, get it in another way and name its path", hex, e->sha256);
    const qn_status st = qn__suite_of(where, data, n, &s, err);
    if (st)
        return st;
    const bool same = strcmp(qn__suite_name(s), e->title) == 0 && qn__suite_size(s) == (size_t)e->problems;
    if (!same)
        (void)qn__fail(err, QN_EFORMAT, where, "is not what was published: it has %zu problems of %s, not %d of %s; nothing of it was kept", qn__suite_size(s),
                       qn__suite_name(s), e->problems, e->title);
    qn__suite_close(s);
    return same ? QN_OK : QN_EFORMAT;
}

static bool is_there(const struct entry *e, const char *path)
{
    char *data = NULL;
    size_t n = 0;
    const bool there = !qn__dir_missing(path) && qn__read_file(path, LIMIT, &data, &n, NULL) == QN_OK && check(e, path, data, n, NULL) == QN_OK;
    qn_free(data);
    return there;
}

static qn_status keep(const char *path, const qn_buf *b, qn_err *err)
{
    qn_writer *w = NULL;
    qn_status st = qn__writer_open(path, &w, err);
    if (st)
        return st;
    st = qn__writer_put(w, b->data, b->n, err);
    if (!st)
        return qn__writer_commit(w, err);
    qn__writer_abort(w);
    return st;
}

static qn_status make_dir(const char *dir, qn_err *err)
{
    qn_dir *d = NULL;
    const qn_status st = dir ? qn__dir_open(dir, true, &d, err) : QN_OK;
    qn__dir_close(d);
    return st;
}

qn_status qn_suite_fetch(const char *name, const qn_suite_fetch_options *o, char **path, qn_err *err)
{
    const struct entry *e = entry_of(name);
    char *p = NULL, *url = NULL;
    qn_buf data = {0};
    qn_status st;
    const qn_download_options d = {.limit = LIMIT, .progress = o->progress, .arg = o->arg};
    if (!e)
        return qn__fail(err, QN_EINVAL, name, "is no suite that is known by name; `quern eval --list` shows those");
    if ((st = make_dir(o->dir, err)) || (st = path_of(e, o->dir, &p, err)) || is_there(e, p))
        goto out;
    if (!(url = address_of(e->url))) {
        st = qn__fail_mem(err, name);
        goto out;
    }
    if ((st = e->rows ? get_rows(url, &d, &data, err) : qn__download(url, &d, &data, err)) || (st = check(e, url, data.data ? data.data : "", data.n, err)))
        goto out;
    st = keep(p, &data, err);
out:
    qn__buf_free(&data);
    qn_free(url);
    if (!st)
        *path = p;
    else
        qn_free(p);
    return st;
}
