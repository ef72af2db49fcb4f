/* py.h - a small Python, so that a simulated test runner really evaluates: what a model wrote into a simulated file passes or fails by
 * what it computes. No program of the machine is run and nothing of the machine can be reached: files are texts that the caller lends.
 *
 * Known: def (defaults, keywords, nested), lambda, if, for, while, try, raise, assert, import of other files, int (64 bits), float,
 * str (bytes count as characters), list, tuple, dict, set, slices, comprehensions, f-strings, and the usual builtins and methods.
 * Not known, and said so by an error that names it: class, with, yield, async, decorators, global, match. */
#ifndef QN_SERVICES_PROBE_PY_H
#define QN_SERVICES_PROBE_PY_H

#include "base/str.h"

typedef struct qn_py_file {
    const char *path, *text; /* "shop/cart.py" */
} qn_py_file;

typedef struct qn_py_report {
    int passed, failed; /* a file that cannot be read counts as a failure */
    qn_buf out;         /* a line per test: "tests/test_cart.py::test_total PASSED", and why one failed */
} qn_py_report;

enum { QN_PY_TESTS = 256 }; /* functions of one run, at most */

/* Run every function named test_* of every file named test_*.py, or only of `only` (a path; NULL: all). Bounded in steps, depth and
 * memory, which is a failure of the test. Errors: QN_ENOMEM. */
qn_status qn__py_test(const qn_py_file *files, size_t n, const char *only, qn_py_report *r, qn_err *err);
/* Run a program with those files at hand; what it prints goes to out, an exception as its last line. *ok: it ended without one. */
qn_status qn__py_run(const qn_py_file *files, size_t n, const char *program, qn_buf *out, bool *ok, qn_err *err);

#endif
