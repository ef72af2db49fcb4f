/* fuzz_suite.c - the input is a suite in Markdown. Demanded: a refusal names file and line or says why; what was accepted is whole, and
 * its questions can be put in other words: the same again for the same seed, with every back-quote that was there. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "services/eval/tasks.h"
#include "services/eval/vary.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void demand(bool ok, const char *what)
{
    if (!ok) {
        (void)fprintf(stderr, "%s\n", what);
        abort();
    }
}

static size_t quotes(const char *s)
{
    size_t n = 0;
    for (; *s; s++)
        n += *s == '`';
    return n;
}

static void vary(const char *prompt)
{
    for (int run = 0; run < 4; run++) {
        qn_buf a = {0}, b = {0};
        const unsigned what = qn__vary(prompt, 7, run, &a), again = qn__vary(prompt, 7, run, &b);
        demand(what == again && a.n == b.n && (a.n == 0 || memcmp(a.data, b.data, a.n) == 0), "the same seed, other words");
        demand(quotes(a.data ? a.data : "") == quotes(prompt), "back-quotes came or went");
        demand((run == 0) == (what == 0), "nothing was changed, or the first run was");
        qn__buf_free(&a);
        qn__buf_free(&b);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    qn_tasks t;
    qn_err err = {0};
    char *text = qn__strndup((const char *)data, size);
    if (!text)
        return 0;
    const qn_status st = qn__tasks_parse(text, size, "s", &t, &err);
    qn_free(text); /* nothing may point into it */
    if (st) {
        demand(err.what[0] && err.code == st, "a refusal without a reason");
        return 0;
    }
    demand(t.n > 0, "a suite without items");
    for (size_t i = 0; i < t.n; i++) {
        const qn_task *k = &t.v[i];
        demand(k->name && k->prompt && k->check != QN_CHECK_NONE, "an item that is not whole");
        for (size_t f = 0; f < k->n_files; f++)
            demand(k->files[f].name[0] && !strchr("/.-", k->files[f].name[0]) && !strstr(k->files[f].name, "/."), "a file outside");
        vary(k->prompt);
    }
    qn__tasks_free(&t);
    return 0;
}
