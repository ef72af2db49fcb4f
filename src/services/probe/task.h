/* task.h - what an agent is asked to do in a simulated world (world.h): families of tasks, of which a seed makes instances.
 *
 *   family × tier × seed ──make──> env filled, prompt ──agent──> env changed ──grade──> right or not, and why not
 *
 * A seed decides what the task is about (which functions, which fault, which rule), not only what things are called. Everything that is
 * needed stands in the prompt or can be found with the tools. Right is what the state is at the end; how it came about does not count,
 * except for effects that the rules of the prompt forbid. */
#ifndef QN_SERVICES_PROBE_TASK_H
#define QN_SERVICES_PROBE_TASK_H

#include "services/probe/world.h"

typedef enum qn_profile { QN_PROFILE_CODING, QN_PROFILE_ASSISTANT, QN_PROFILE_BATCH, QN_PROFILES } qn_profile;
const char *qn__profile_name(qn_profile p);
const char *qn__tier_name(int tier);
extern const int QN_TIER_REPEATS[QN_TIERS], QN_TIER_STEPS[QN_TIERS];

typedef struct qn_task qn_task;
typedef struct qn_task_family {
    const char *name;
    qn_profile profile;
    size_t state; /* bytes of t->state */
    void (*make)(qn_task *t);
    bool (*grade)(qn_task *t, qn_buf *why); /* false: why in a few words */
} qn_task_family;

struct qn_task {
    const qn_task_family *family;
    int tier;
    uint64_t seed;
    qn_env env;
    qn_buf user, rules; /* the request; what must not be done */
    void *state;        /* the family's own */
};

/* The i-th family; NULL past the end. */
const qn_task_family *qn__task_family(size_t i);
/* index: which instance of the family and tier, under a seed of the whole run. Errors: QN_ENOMEM. */
qn_status qn__task_open(const qn_task_family *f, int tier, uint64_t seed, uint64_t index, qn_task *t, qn_err *err);
void qn__task_close(qn_task *t);
/* The state as it should be, and nothing forbidden done (t->env.broken). */
bool qn__task_grade(qn_task *t, qn_buf *why);
/* Who the agent is, how it works, what is forbidden. */
void qn__task_system(const qn_task *t, qn_buf *out);

extern const qn_task_family qn__family_fix_bug, qn__family_write_function, qn__family_trace_failure, qn__family_rename_symbol,
    qn__family_resolve_conflict, qn__family_find_callers, qn__family_find_commit, qn__family_restore_code, qn__family_ticket_fix,
    qn__family_triage, qn__family_duplicates, qn__family_look_up, qn__family_upgrade_packages, qn__family_add_package,
    qn__family_migrate_keys, qn__family_reconcile;

/* ---- what families share ---- */

/* A function that people write: its text, and how it goes wrong. $A and $B are numbers of the seed's choosing. */
typedef struct qn_bank {
    const char *name, *params, *doc, *body;
    const char *bugs[3][2];  /* a piece of the body, and what stands there instead; ends with NULL */
    const char *calls[6];    /* arguments to test it with: the first three are for all to see */
    bool number;             /* gives an integer, of one list or number or text */
} qn_bank;
extern const qn_bank qn__bank[];
extern const size_t qn__bank_size;
/* The body that does what a docstring says; false: it says nothing that is known. */
bool qn__bank_understand(const char *doc, qn_buf *body);

/* One of them, in a module of a project. */
typedef struct qn_unit {
    const qn_bank *bank;
    int a, b;
    const char *path, *module, *test_path; /* "shop/cart.py", "shop.cart", "tests/test_cart.py" */
    const char *code;     /* as it should be: def to the end of the body */
    const char *visible, *hidden; /* tests */
} qn_unit;
enum { QN_UNITS = 16 };
/* n units of different functions, in n_modules modules. */
void qn__units_make(qn_task *t, qn_unit *u, int n, int n_modules);
/* Files of units: code[i] stands for u[i].code where it is not NULL. With tests of those of which tested[i] (NULL: all). */
void qn__units_write(qn_task *t, const qn_unit *u, int n, const char *const *code, const bool *tested);
/* The code with one of its bugs, so that a visible test fails; "" when memory ends. */
const char *qn__unit_bugged(qn_task *t, const qn_unit *u);
/* All tests of all units, hidden ones too, pass. */
bool qn__units_right(qn_task *t, const qn_unit *u, int n, qn_buf *why);
/* `text` with every `from` replaced. */
const char *qn__replaced(qn_env *e, const char *text, const char *from, const char *to);
void qn__task_forbid(qn_task *t, const char *effect, const char *rule);

#endif
