/* fuzz_py.c - the input is a program in the small Python; what stands before a form feed in it is a file that it may import. It is run as a
 * program and as a file of tests. Demanded: it ends within its bounds, the same way each time, and every failure has its line. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "services/probe/py.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void demand(bool ok, const char *what)
{
    if (!ok) {
        (void)fprintf(stderr, "%s\n", what);
        abort();
    }
}

static size_t lines(const qn_buf *b)
{
    size_t n = 0;
    for (size_t i = 0; i < b->n; i++)
        n += b->data[i] == '\n';
    return n;
}

static void run(const qn_py_file *files, const char *program)
{
    qn_buf out[2] = {{0}, {0}};
    bool ok[2] = {false, false};
    qn_err err = {0};
    for (int i = 0; i < 2; i++)
        if (qn__py_run(files, 1, program, &out[i], &ok[i], &err))
            demand(err.code == QN_ENOMEM, "an error that nobody promised");
    if (!err.code) {
        demand(ok[0] == ok[1] && out[0].n == out[1].n && (out[0].n == 0 || memcmp(out[0].data, out[1].data, out[0].n) == 0), "another end the second time");
        demand(ok[0] || (out[0].n && out[0].data[out[0].n - 1] == '\n'), "it failed and does not say why");
    }
    qn__buf_free(&out[0]);
    qn__buf_free(&out[1]);
}

static void test(const qn_py_file *files)
{
    qn_py_report r = {0};
    qn_err err = {0};
    if (qn__py_test(files, 2, NULL, &r, &err))
        demand(err.code == QN_ENOMEM, "an error that nobody promised");
    else
        demand(r.passed >= 0 && r.failed >= 0 && r.passed + r.failed <= QN_PY_TESTS + 1 && lines(&r.out) >= (size_t)(r.passed + r.failed), "tests without a line");
    qn__buf_free(&r.out);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char *text = qn__strndup((const char *)data, size), *mark = text ? strchr(text, '\f') : NULL;
    if (!text)
        return 0;
    if (mark)
        *mark = 0;
    const qn_py_file files[2] = {{"lib/tools.py", mark ? text : "LIMIT = 3\n\n\ndef twice(x):\n    return x * 2\n"}, {"tests/test_all.py", mark ? mark + 1 : text}};
    run(files, files[1].text);
    test(files);
    qn_free(text);
    return 0;
}
