/* world.h - the simulated surroundings of an agent: tools that are called, state that changes, nothing of the machine.
 *
 *   task (task.h) fills ──> env: files · history · packages · tickets · store      each in its world_*.c, absent where it is NULL
 *   model calls  "write_file" {"path": ...} ──> checked against the tool's parameters ──> fault? ──> the world ──> a text
 *                                                                                                └──> effects, as "write tests/a.py"
 *
 * Everything follows from the seed and from the calls: no clock, no chance. What changed is judged afterwards: by the state that is there
 * and by effects that were forbidden, never by the way that was taken. Bounded: a world that is full answers with an error. */
#ifndef QN_SERVICES_PROBE_WORLD_H
#define QN_SERVICES_PROBE_WORLD_H

#include <jansson.h>

#include "base/mem.h"
#include "base/str.h"

enum { QN_TIERS = 4, QN_TOOL_PARAMS = 4, QN_ENV_TOOLS = 56, QN_ENV_FORBIDS = 12, QN_ENV_EFFECTS = 128, QN_ENV_BROKEN = 16 };
typedef enum qn_tier { QN_EASY, QN_MEDIUM, QN_HARD, QN_EXTREME } qn_tier;

/* ---- tools ---- */

typedef struct qn_tool_param {
    const char *name;
    char type; /* s: string, i: integer, b: boolean; capital: may be left out */
    const char *what;
} qn_tool_param;
typedef struct qn_tool_spec {
    const char *name, *what;
    qn_tool_param params[QN_TOOL_PARAMS];
} qn_tool_spec;

typedef enum qn_call_kind {
    QN_CALL_OK,
    QN_CALL_ERROR,      /* the world said no */
    QN_CALL_FAULT,      /* 429, time-out: injected */
    QN_CALL_UNDECLARED, /* no such tool */
    QN_CALL_SCHEMA,     /* arguments that do not conform */
    QN_CALL_DECOY       /* a tool that is offered and of no use */
} qn_call_kind;
const char *qn__call_kind_name(qn_call_kind k);

typedef struct qn_env qn_env;

/* Tools of one kind of surroundings. call: carry out tool i; arguments conform. False: it was refused, out says why. */
typedef struct qn_world {
    const qn_tool_spec *tools;
    size_t n_tools;
    bool (*call)(qn_env *e, size_t tool, const json_t *args, qn_buf *out);
} qn_world;
extern const qn_world qn__world_files, qn__world_history, qn__world_packages, qn__world_tickets, qn__world_store, qn__world_answer,
    qn__world_decoys;

/* ---- state ---- */

enum { QN_FILES = 48, QN_COMMITS = 32, QN_PACKAGES = 24, QN_RELEASES = 10, QN_NEEDS = 3, QN_TICKETS = 48, QN_COMMENTS = 6, QN_KEYS = 128,
       QN_FILE_BYTES = 32768 };

typedef struct qn_tree {
    struct { const char *path, *text; } f[QN_FILES]; /* by path, ascending */
    size_t n;
} qn_tree;

typedef struct qn_history {
    struct {
        char id[8];
        const char *message;
        qn_tree tree;
    } c[QN_COMMITS]; /* the oldest first */
    size_t n;
} qn_history;

/* Versions are 1.4.2 as 1004002. */
typedef struct qn_packages {
    struct {
        const char *name;
        int installed; /* release, or -1 */
        size_t n;
        struct {
            int version;
            struct { const char *name; int from, below; } needs[QN_NEEDS]; /* below 0: no bound */
            size_t n_needs;
            const char *advisory;
        } r[QN_RELEASES]; /* ascending */
    } p[QN_PACKAGES];
    size_t n;
} qn_packages;

typedef struct qn_tickets {
    struct {
        int id, age, priority; /* age in days; priority 1 to 4, 0: none */
        const char *title, *body, *label, *status, *assignee; /* status: open, closed; assignee "": nobody */
        const char *comments[QN_COMMENTS];
        size_t n_comments;
    } t[QN_TICKETS];
    size_t n;
} qn_tickets;

typedef struct qn_store {
    struct {
        const char *key, *value, *before; /* before: what a read that is stale gives; NULL: was not there */
        int version;
        bool gone;
    } k[QN_KEYS];
    size_t n;
} qn_store;

struct qn_env {
    qn_arena arena;
    uint64_t random; /* state of the generator that fills worlds */
    uint64_t seed;
    int tier;
    bool failed;     /* memory: everything after it is meaningless */
    qn_tree *files;
    qn_history *history;
    qn_packages *packages;
    qn_tickets *tickets;
    qn_store *store;
    const char *answer; /* what submit_answer was given last, or NULL */
    bool answers;       /* submit_answer is offered */
    struct { const qn_tool_spec *spec; const qn_world *world; uint8_t at; } tools[QN_ENV_TOOLS];
    size_t n_tools;
    const char *forbids[QN_ENV_FORBIDS];  /* an effect that begins so is a harm */
    size_t n_forbids;
    const char *effects[QN_ENV_EFFECTS];
    size_t n_effects;
    const char *broken[QN_ENV_BROKEN];    /* effects that were forbidden */
    size_t n_broken;
    bool ignore_forbids;                  /* a planted fault of the tests: harm is not seen */
    uint32_t n_calls, last_fault;
    int faults_left;
    bool stale;                           /* the store's reads may be old (extreme) */
};

qn_status qn__env_open(qn_env *e, uint64_t seed, int tier, qn_err *err);
void qn__env_close(qn_env *e);
/* After the worlds were filled: the tools of those that are there, and as many decoys as the tier has, in an order of the seed. */
void qn__env_offer(qn_env *e);
/* Forbid effects that begin with this text. Lent for the env's life. */
void qn__env_forbid(qn_env *e, const char *effect);
/* OpenAI's array of tools; NULL without memory. */
json_t *qn__env_tools_json(const qn_env *e);
/* Call a tool: arguments is JSON text. The result is a text for the model, in out. */
qn_call_kind qn__env_call(qn_env *e, const char *name, const char *arguments, qn_buf *out);

/* For worlds and tasks. */
uint64_t qn__env_random(qn_env *e);
size_t qn__env_below(qn_env *e, size_t n); /* 0..n-1; n > 0 */
const char *qn__env_text(qn_env *e, const char *p, size_t n); /* a copy; "" when memory ends (failed is set) */
const char *qn__env_printf(qn_env *e, const char *fmt, ...) QN_PRINTF(2, 3);
void *qn__env_struct(qn_env *e, size_t n); /* zeroed, NULL when memory ends */
/* Something was changed. */
void qn__env_effect(qn_env *e, const char *fmt, ...) QN_PRINTF(2, 3);
/* An order of 0..n-1. */
void qn__env_shuffle(qn_env *e, int *order, int n);
const char *qn__arg(const json_t *args, const char *name); /* a string argument, or NULL */

/* Files. */
const char *qn__tree_get(const qn_tree *t, const char *path); /* NULL: none */
bool qn__tree_put(qn_env *e, qn_tree *t, const char *path, const char *text); /* copied; false: full */
bool qn__tree_drop(qn_tree *t, const char *path);
/* Do all tests pass, and of files beside the tree's (hidden ones), too? */
bool qn__tree_passes(qn_env *e, const qn_tree *t, const char *const hidden[][2], size_t n_hidden);
/* History: the tree as it is becomes a commit; "" when it is full. */
const char *qn__commit(qn_env *e, const char *message);
/* Packages: does what is installed fit together? */
bool qn__packages_fit(const qn_packages *p, const char **why);
int qn__package(const qn_packages *p, const char *name); /* -1: none */

#endif
