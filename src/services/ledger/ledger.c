/* ledger.c - see ledger.h. */
#include "services/ledger/ledger.h"

#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "base/file.h"
#include "base/mem.h"
#include "base/process.h"
#include "base/str.h"

enum { VERSION = 1, BUSY_MS = 10000, MARK = 0x51554c47 }; /* "QULG": SQLite's application_id */

struct qn_ledger {
    sqlite3 *db;
    char *path, *owner;
};

static const char SCHEMA[] =
    "CREATE TABLE run(id INTEGER PRIMARY KEY, kind TEXT NOT NULL, key TEXT NOT NULL, model TEXT, fingerprint TEXT, build TEXT,"
    " machine TEXT, started TEXT NOT NULL DEFAULT (strftime('%Y-%m-%dT%H:%M:%fZ')), finished TEXT, owner TEXT, result TEXT);"
    "CREATE INDEX run_key ON run(kind, key);"
    "CREATE TABLE sample(run INTEGER NOT NULL REFERENCES run(id), item TEXT NOT NULL, seq INTEGER NOT NULL, outcome TEXT NOT NULL,"
    " passed INTEGER NOT NULL, data TEXT, at TEXT NOT NULL DEFAULT (strftime('%Y-%m-%dT%H:%M:%fZ')), PRIMARY KEY(run, item, seq))"
    " WITHOUT ROWID;";

static qn_status fail(const qn_ledger *l, const char *doing, qn_err *err)
{
    int rc = sqlite3_extended_errcode(l->db);
    if ((rc & 0xff) == SQLITE_NOMEM)
        return qn__fail_mem(err, "ledger");
    return qn__fail(err, (rc & 0xff) == SQLITE_NOTADB || (rc & 0xff) == SQLITE_CORRUPT ? QN_EFORMAT : QN_EIO, l->path,
                    "%s: %s; move the file away to begin a new one", doing, sqlite3_errmsg(l->db));
}

qn_status qn__ledger_fail(const qn_ledger *l, const char *doing, qn_err *err)
{
    return fail(l, doing, err);
}

sqlite3 *qn__ledger_db(qn_ledger *l)
{
    return l->db;
}

static qn_status run_sql(qn_ledger *l, const char *sql, const char *doing, qn_err *err)
{
    return sqlite3_exec(l->db, sql, NULL, NULL, NULL) == SQLITE_OK ? QN_OK : fail(l, doing, err);
}

static qn_status number(qn_ledger *l, const char *sql, int64_t *out, qn_err *err)
{
    sqlite3_stmt *s = NULL;
    qn_status st = QN_OK;
    if (sqlite3_prepare_v2(l->db, sql, -1, &s, NULL) != SQLITE_OK || sqlite3_step(s) != SQLITE_ROW)
        st = fail(l, "cannot be read", err);
    else
        *out = sqlite3_column_int64(s, 0);
    (void)sqlite3_finalize(s);
    return st;
}

static qn_status make_tables(qn_ledger *l, qn_err *err)
{
    int64_t version = 0, mark = 0, tables = 0;
    qn_status st = run_sql(l, "BEGIN IMMEDIATE", "is in use", err); /* two may begin at once */
    if (st)
        return st;
    if (!(st = number(l, "PRAGMA user_version", &version, err)) && !(st = number(l, "PRAGMA application_id", &mark, err)))
        st = number(l, "SELECT count(*) FROM sqlite_master", &tables, err);
    char settings[96];
    (void)snprintf(settings, sizeof settings, "PRAGMA user_version=%d; PRAGMA application_id=%d", VERSION, MARK);
    if (!st && tables > 0 && mark != MARK)
        st = qn__fail(err, QN_EFORMAT, l->path, "is another program's database");
    else if (!st && version > VERSION)
        st = qn__fail(err, QN_EFORMAT, l->path, "was made by a newer quern (form %lld, this one reads %d)", (long long)version, VERSION);
    else if (!st && tables == 0 && !(st = run_sql(l, SCHEMA, "cannot make its tables", err)))
        st = run_sql(l, settings, "cannot be marked", err);
    (void)sqlite3_exec(l->db, st ? "ROLLBACK" : "COMMIT", NULL, NULL, NULL);
    return st;
}

qn_status qn__ledger_open(const char *path, qn_ledger **out, qn_err *err)
{
    qn_ledger *l = qn__calloc(1, sizeof *l);
    if (!l)
        return qn__fail_mem(err, "ledger");
    qn_status st = path ? QN_OK : qn__user_file(QN_USER_DATA, "ledger.db", &l->path, err);
    if (!st && path && !(l->path = qn__strndup(path, strlen(path))))
        st = qn__fail_mem(err, "ledger");
    if (!st && !(l->owner = qn__process_self()))
        st = qn__fail_mem(err, "ledger");
    if (!st && sqlite3_open_v2(l->path, &l->db, SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_NOFOLLOW, NULL) != SQLITE_OK)
        st = fail(l, "cannot be opened", err);
    if (!st) {
        (void)sqlite3_busy_timeout(l->db, BUSY_MS);
        st = run_sql(l, "PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL; PRAGMA trusted_schema=OFF", "cannot be written", err);
    }
    if (!st)
        st = make_tables(l, err);
    if (st)
        qn__ledger_close(l);
    else
        *out = l;
    return st;
}

void qn__ledger_close(qn_ledger *l)
{
    if (!l)
        return;
    (void)sqlite3_close(l->db);
    qn_free(l->path);
    qn_free(l->owner);
    qn_free(l);
}

const char *qn__ledger_path(const qn_ledger *l)
{
    return l->path;
}

/* Prepare and bind texts (NULL allowed) in order. */
static qn_status prepare(qn_ledger *l, const char *sql, const char *const *texts, int n, sqlite3_stmt **out, qn_err *err)
{
    *out = NULL;
    bool ok = sqlite3_prepare_v2(l->db, sql, -1, out, NULL) == SQLITE_OK;
    for (int i = 0; i < n && ok; i++)
        ok = sqlite3_bind_text(*out, i + 1, texts[i], -1, SQLITE_TRANSIENT) == SQLITE_OK;
    return ok ? QN_OK : fail(l, "cannot be asked", err);
}

/* The latest unfinished run of the key whose owner is gone; 0: none. */
static qn_status find_unfinished(qn_ledger *l, const qn_run_info *i, int64_t *run, qn_err *err)
{
    sqlite3_stmt *s;
    qn_status st = prepare(l, "SELECT id, owner FROM run WHERE kind=? AND key=? AND finished IS NULL ORDER BY id DESC",
                           (const char *const[]){i->kind, i->key}, 2, &s, err);
    *run = 0;
    while (!st && !*run && sqlite3_step(s) == SQLITE_ROW) {
        const char *owner = (const char *)sqlite3_column_text(s, 1);
        if (!owner || !qn__process_lives(owner))
            *run = sqlite3_column_int64(s, 0);
    }
    (void)sqlite3_finalize(s);
    return st;
}

static qn_status step_once(qn_ledger *l, sqlite3_stmt *s, const char *doing, qn_err *err)
{
    qn_status st = sqlite3_step(s) == SQLITE_DONE ? QN_OK : fail(l, doing, err);
    (void)sqlite3_finalize(s);
    return st;
}

qn_status qn__ledger_begin(qn_ledger *l, const qn_run_info *i, bool resume, int64_t *run, int64_t *n_before, qn_err *err)
{
    sqlite3_stmt *s = NULL;
    int64_t id = 0;
    char sql[160];
    qn_status st = run_sql(l, "BEGIN IMMEDIATE", "is in use", err);
    if (st)
        return st;
    if (resume)
        st = find_unfinished(l, i, &id, err);
    if (!st && id) {
        (void)snprintf(sql, sizeof sql, "UPDATE run SET owner=? WHERE id=%lld", (long long)id);
        if (!(st = prepare(l, sql, (const char *const[]){l->owner}, 1, &s, err)))
            st = step_once(l, s, "cannot be written", err);
    } else if (!st) {
        st = prepare(l, "INSERT INTO run(kind, key, model, fingerprint, build, machine, owner) VALUES(?,?,?,?,?,?,?)",
                     (const char *const[]){i->kind, i->key, i->model, i->fingerprint, QN_VERSION, i->machine, l->owner}, 7, &s, err);
        if (!st)
            st = step_once(l, s, "cannot be written", err);
        id = sqlite3_last_insert_rowid(l->db);
    }
    (void)snprintf(sql, sizeof sql, "SELECT count(*) FROM sample WHERE run=%lld", (long long)id);
    if (!st)
        st = number(l, sql, n_before, err);
    if (!st)
        st = run_sql(l, "COMMIT", "cannot be written", err);
    if (st)
        (void)sqlite3_exec(l->db, "ROLLBACK", NULL, NULL, NULL);
    else
        *run = id;
    return st;
}

qn_status qn__ledger_put(qn_ledger *l, int64_t run, const char *item, int seq, const char *outcome, bool passed,
                         const json_t *data, qn_err *err)
{
    char *text = json_dumps(data, JSON_COMPACT | JSON_ENCODE_ANY);
    if (!text)
        return qn__fail_mem(err, "ledger");
    sqlite3_stmt *s;
    char sql[192];
    (void)snprintf(sql, sizeof sql, "INSERT OR REPLACE INTO sample(item, outcome, data, run, seq, passed) VALUES(?,?,?,%lld,%d,%d)",
                   (long long)run, seq, passed);
    qn_status st = prepare(l, sql, (const char *const[]){item, outcome, text}, 3, &s, err);
    if (!st)
        st = step_once(l, s, "a sample cannot be written", err);
    free(text);
    return st;
}

qn_status qn__ledger_has(qn_ledger *l, int64_t run, const char *item, int seq, bool *there, qn_err *err)
{
    sqlite3_stmt *s;
    char sql[128];
    (void)snprintf(sql, sizeof sql, "SELECT 1 FROM sample WHERE item=? AND run=%lld AND seq=%d", (long long)run, seq);
    qn_status st = prepare(l, sql, (const char *const[]){item}, 1, &s, err);
    if (!st)
        *there = sqlite3_step(s) == SQLITE_ROW;
    (void)sqlite3_finalize(s);
    return st;
}

qn_status qn__ledger_finish(qn_ledger *l, int64_t run, const json_t *result, qn_err *err)
{
    /* As many digits as a report is printed with, so that both give the same page. */
    char *text = json_dumps(result, JSON_COMPACT | JSON_ENCODE_ANY | JSON_REAL_PRECISION(6)), sql[160];
    if (!text)
        return qn__fail_mem(err, "ledger");
    sqlite3_stmt *s;
    (void)snprintf(sql, sizeof sql, "UPDATE run SET result=?, finished=strftime('%%Y-%%m-%%dT%%H:%%M:%%fZ'), owner=NULL WHERE id=%lld",
                   (long long)run);
    qn_status st = prepare(l, sql, (const char *const[]){text}, 1, &s, err);
    if (!st)
        st = step_once(l, s, "a result cannot be written", err);
    free(text);
    return st;
}

void qn__ledger_leave(qn_ledger *l, int64_t run)
{
    char sql[96];
    (void)snprintf(sql, sizeof sql, "UPDATE run SET owner=NULL WHERE id=%lld", (long long)run);
    (void)sqlite3_exec(l->db, sql, NULL, NULL, NULL);
}

qn_status qn__ledger_each(qn_ledger *l, int64_t run, bool (*each)(void *arg, const char *item, int seq, const char *outcome, bool passed),
                          void *arg, qn_err *err)
{
    sqlite3_stmt *s;
    char sql[128];
    (void)snprintf(sql, sizeof sql, "SELECT item, seq, outcome, passed FROM sample WHERE run=%lld ORDER BY item, seq", (long long)run);
    qn_status st = prepare(l, sql, NULL, 0, &s, err);
    int rc = SQLITE_DONE;
    while (!st && (rc = sqlite3_step(s)) == SQLITE_ROW)
        if (!each(arg, (const char *)sqlite3_column_text(s, 0), sqlite3_column_int(s, 1), (const char *)sqlite3_column_text(s, 2),
                  sqlite3_column_int(s, 3) != 0)) {
            rc = SQLITE_DONE;
            break;
        }
    if (!st && rc != SQLITE_DONE)
        st = fail(l, "cannot be read", err);
    (void)sqlite3_finalize(s);
    return st;
}

qn_status qn__ledger_read(qn_ledger *l, int64_t run, bool (*each)(void *arg, const char *item, int seq, const char *outcome, const json_t *data),
                          void *arg, qn_err *err)
{
    sqlite3_stmt *s;
    char sql[128];
    (void)snprintf(sql, sizeof sql, "SELECT item, seq, outcome, data FROM sample WHERE run=%lld ORDER BY item, seq", (long long)run);
    qn_status st = prepare(l, sql, NULL, 0, &s, err);
    int rc = SQLITE_DONE;
    bool on = true;
    while (!st && on && (rc = sqlite3_step(s)) == SQLITE_ROW) {
        const char *text = (const char *)sqlite3_column_text(s, 3);
        json_t *data = text ? json_loads(text, JSON_DECODE_ANY, NULL) : NULL;
        if (data)
            on = each(arg, (const char *)sqlite3_column_text(s, 0), sqlite3_column_int(s, 1), (const char *)sqlite3_column_text(s, 2), data);
        else
            st = qn__fail(err, QN_EFORMAT, l->path, "sample %s of run %lld cannot be read", sqlite3_column_text(s, 0), (long long)run);
        json_decref(data);
    }
    if (!st && on && rc != SQLITE_DONE)
        st = fail(l, "cannot be read", err);
    (void)sqlite3_finalize(s);
    return st;
}

qn_status qn__ledger_run(qn_ledger *l, int64_t run, json_t **out, qn_err *err)
{
    sqlite3_stmt *s;
    char sql[128];
    (void)snprintf(sql, sizeof sql, "SELECT kind, key, model, fingerprint, machine FROM run WHERE id=%lld", (long long)run);
    qn_status st = prepare(l, sql, NULL, 0, &s, err);
    if (!st && sqlite3_step(s) != SQLITE_ROW)
        st = qn__fail(err, QN_EINVAL, l->path, "has no run %lld", (long long)run);
    if (!st) {
        const char *text[5];
        for (int i = 0; i < 5; i++)
            text[i] = (const char *)sqlite3_column_text(s, i) ? (const char *)sqlite3_column_text(s, i) : "";
        json_t *key = json_loads(text[1], JSON_DECODE_ANY, NULL);
        json_t *machine = json_loads(text[4], JSON_DECODE_ANY, NULL);
        json_t *o = key ? json_pack("{s:s, s:o, s:s, s:s, s:o}", "kind", text[0], "key", key, "model", text[2], "fingerprint", text[3], "machine",
                                    machine ? machine : json_null()) : NULL;
        if (!o)
            st = qn__fail(err, QN_EFORMAT, l->path, "run %lld cannot be read", (long long)run);
        else
            *out = o;
    }
    (void)sqlite3_finalize(s);
    return st;
}
