/* ledger_api.c - looking back: the public functions that list, show and remove runs. */
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "base/mem.h"
#include "services/ledger/ledger.h"

static const char *text_at(sqlite3_stmt *s, int column)
{
    const char *t = (const char *)sqlite3_column_text(s, column);
    return t ? t : "";
}

static qn_status prepare(qn_ledger *l, const char *sql, int64_t run, sqlite3_stmt **out, qn_err *err)
{
    *out = NULL;
    if (sqlite3_prepare_v2(qn__ledger_db(l), sql, -1, out, NULL) == SQLITE_OK && (!run || sqlite3_bind_int64(*out, 1, run) == SQLITE_OK))
        return QN_OK;
    return qn__ledger_fail(l, "cannot be asked", err);
}

static qn_status no_run(const qn_ledger *l, int64_t run, qn_err *err)
{
    return qn__fail(err, QN_EINVAL, qn__ledger_path(l), "has no run %lld; quern ledger ls lists them", (long long)run);
}

qn_status qn_ledger_list(const char *path, void (*see)(void *arg, const qn_ledger_run *r), void *arg, qn_err *err)
{
    qn_ledger *l = NULL;
    sqlite3_stmt *s = NULL;
    int rc = SQLITE_DONE;
    qn_status st = qn__ledger_open(path, &l, err);
    if (!st)
        st = prepare(l, "SELECT id, kind, model, started, finished, (SELECT count(*) FROM sample WHERE run=id), (SELECT count(*) FROM sample WHERE "
                        "run=id AND passed) FROM run ORDER BY id DESC", 0, &s, err);
    while (!st && (rc = sqlite3_step(s)) == SQLITE_ROW) {
        const qn_ledger_run r = {.id = sqlite3_column_int64(s, 0), .kind = text_at(s, 1), .model = text_at(s, 2), .started = text_at(s, 3),
                                 .finished = text_at(s, 4), .samples = (uint64_t)sqlite3_column_int64(s, 5), .passed = (uint64_t)sqlite3_column_int64(s, 6)};
        see(arg, &r);
    }
    if (!st && rc != SQLITE_DONE)
        st = qn__ledger_fail(l, "cannot be read", err);
    (void)sqlite3_finalize(s);
    qn__ledger_close(l);
    return st;
}

qn_status qn_ledger_report(const char *path, int64_t run, char **report_json, qn_err *err)
{
    qn_ledger *l = NULL;
    sqlite3_stmt *s = NULL;
    qn_status st = qn__ledger_open(path, &l, err);
    if (!st)
        st = prepare(l, "SELECT result FROM run WHERE id=?", run, &s, err);
    if (!st) {
        const int rc = sqlite3_step(s);
        if (rc == SQLITE_DONE)
            st = no_run(l, run, err);
        else if (rc != SQLITE_ROW)
            st = qn__ledger_fail(l, "cannot be read", err);
        else if (sqlite3_column_type(s, 0) != SQLITE_TEXT)
            st = qn__fail(err, QN_EINVAL, qn__ledger_path(l), "run %lld was not finished, so it has no report; the command that began it goes on with it", (long long)run);
    }
    char *copy = st ? NULL : qn__strndup(text_at(s, 0), (size_t)sqlite3_column_bytes(s, 0));
    if (!st && !copy)
        st = qn__fail_mem(err, "report");
    if (!st)
        *report_json = copy;
    (void)sqlite3_finalize(s);
    qn__ledger_close(l);
    return st;
}

/* One row as JSON; NULL without memory. What lies there as data is JSON already, unless somebody else wrote it. */
static char *sample_text(sqlite3_stmt *s)
{
    json_t *data = json_loadb(text_at(s, 5), (size_t)sqlite3_column_bytes(s, 5), JSON_DECODE_ANY | JSON_ALLOW_NUL, NULL);
    json_t *o = json_pack("{s:s, s:I, s:s, s:b, s:s, s:o}", "item", text_at(s, 0), "seq", (json_int_t)sqlite3_column_int64(s, 1), "outcome", text_at(s, 2),
                          "passed", sqlite3_column_int(s, 3) != 0, "at", text_at(s, 4), "data", data ? data : json_null());
    char *text = o ? json_dumps(o, JSON_COMPACT) : NULL;
    json_decref(o);
    return text;
}

qn_status qn_ledger_samples(const char *path, int64_t run, bool (*see)(void *arg, const char *sample_json), void *arg, qn_err *err)
{
    qn_ledger *l = NULL;
    sqlite3_stmt *s = NULL;
    bool there = false, on = true;
    int rc = SQLITE_DONE;
    qn_status st = qn__ledger_open(path, &l, err);
    if (!st)
        st = prepare(l, "SELECT 1 FROM run WHERE id=?", run, &s, err);
    there = !st && sqlite3_step(s) == SQLITE_ROW;
    (void)sqlite3_finalize(s);
    s = NULL;
    if (!st && !there)
        st = no_run(l, run, err);
    if (!st)
        st = prepare(l, "SELECT item, seq, outcome, passed, at, data FROM sample WHERE run=? ORDER BY item, seq", run, &s, err);
    while (!st && on && (rc = sqlite3_step(s)) == SQLITE_ROW) {
        char *text = sample_text(s);
        if (!text)
            st = qn__fail_mem(err, "sample");
        else
            on = see(arg, text);
        free(text);
    }
    if (!st && on && rc != SQLITE_DONE)
        st = qn__ledger_fail(l, "cannot be read", err);
    (void)sqlite3_finalize(s);
    qn__ledger_close(l);
    return st;
}

qn_status qn_ledger_remove(const char *path, int64_t run, qn_err *err)
{
    qn_ledger *l = NULL;
    char sql[160];
    qn_status st = qn__ledger_open(path, &l, err);
    if (st)
        return st;
    (void)snprintf(sql, sizeof sql, "BEGIN IMMEDIATE; DELETE FROM sample WHERE run=%lld; DELETE FROM run WHERE id=%lld", (long long)run, (long long)run);
    if (sqlite3_exec(qn__ledger_db(l), sql, NULL, NULL, NULL) != SQLITE_OK)
        st = qn__ledger_fail(l, "a run cannot be removed", err);
    else if (sqlite3_changes(qn__ledger_db(l)) == 0)
        st = no_run(l, run, err);
    if (sqlite3_exec(qn__ledger_db(l), st ? "ROLLBACK" : "COMMIT", NULL, NULL, NULL) != SQLITE_OK && !st)
        st = qn__ledger_fail(l, "a run cannot be removed", err);
    qn__ledger_close(l);
    return st;
}
