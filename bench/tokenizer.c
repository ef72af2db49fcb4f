/* tokenizer.c - how fast text becomes tokens: source code, and three megabytes that a careless tokenizer would choke
 * on.
 *
 *   bench/tokenizer [VOCABULARY.gguf]     default: $SHARED/golden/tokenizers/ggml-vocab-qwen2.gguf, else models/ */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "base/mem.h"
#include "text/tokenizer.h"

enum { MB = 1000000 };

/* Made-up C: names, numbers, comments and indentation in the proportions of ordinary source text; few lines repeat. */
static void source(char *out, size_t n)
{
    static const char *const words[] = {"buffer", "size",  "index", "node",  "count",  "read",
                                        "write",  "parse", "state", "token", "next",   "offset",
                                        "error",  "table", "key",   "value", "handle", "line"};
    static const char *const lines[] = {"%*sif (%s_%s[%u] == NULL || %s > 0x%x)\n",
                                        "%*sreturn %s_%s(%u, &%s->len) + %u;\n",
                                        "%*sfor (size_t %s = %s; i < %u; %s++) { sum += %u; }\n",
                                        "%*s/* the %s of each %s is at most %u, see %s (%u) */\n",
                                        "%*sstatic int %s_%s%u(struct %s *p, int flags%u)\n",
                                        "%*slog_%s(\"%s failed: %%d\\n\", e%u, %s.code, %u);\n"};
    unsigned seed = 12345;
    for (size_t at = 0; at < n;) {
        char line[256];
        unsigned r[6];
        for (int i = 0; i < 6; i++)
            r[i] = (seed = seed * 1664525u + 1013904223u) >> 8;
        int len = snprintf(line, sizeof line, lines[r[0] % 6], (int)(r[1] % 5 * 4), "", words[r[2] % 18],
                           words[r[3] % 18], r[4] % 5000, words[r[5] % 18], r[1] % 900);
        size_t take = (size_t)len < n - at ? (size_t)len : n - at;
        memcpy(out + at, line, take);
        at += take;
    }
}

static int measure(const qn_tokenizer *t, const char *label, const char *text, size_t n)
{
    double best = 1e9;
    size_t n_ids = 0;
    for (int i = 0; i < 5; i++) {
        int32_t *ids;
        qn_err err;
        double start = qn__now();
        if (qn__tokenize(t, text, n, true, QN_BOS_NO, &ids, &n_ids, &err)) {
            fprintf(stderr, "%s: %s\n", err.where, err.what);
            return 1;
        }
        double s = qn__now() - start;
        best = s < best ? s : best;
        qn_free(ids);
    }
    printf("tokenizer %-22s %7.1f MB/s  %8zu tokens\n", label, (double)n / 1e6 / best, n_ids);
    return 0;
}

int main(int argc, char **argv)
{
    char path[1024];
    qn_gguf *g = NULL;
    qn_tokenizer *t = NULL;
    qn_err err;
    const char *shared = getenv("SHARED");
    (void)snprintf(path, sizeof path, "%s/golden/tokenizers/ggml-vocab-qwen2.gguf", shared ? shared : "../shared");
    FILE *f = argc > 1 ? NULL : fopen(path, "rb");
    if (f)
        (void)fclose(f);
    else
        (void)snprintf(path, sizeof path, "%s", argc > 1 ? argv[1] : "models/seedling-q8_0.gguf");
    double start = qn__now();
    if (qn__gguf_open(path, &g, &err) || qn__tokenizer_open(g, &t, &err)) {
        fprintf(stderr, "%s: %s\n", err.where, err.what);
        return 1;
    }
    printf("tokenizer %-22s %7.0f ms    %8d tokens known\n", "load", (qn__now() - start) * 1e3,
           qn__tokenizer_info(t)->n_vocab);
    char *text = qn__alloc(4 * MB);
    if (!text)
        return 1;
    source(text, 4 * MB);
    int bad = measure(t, "source code", text, 4 * MB);
    for (int i = 0; i < 4 && !bad; i++) {
        static const char *const label[] = {"1 MB of 'a'", "1 MB of spaces", "1 MB of digits", "1 MB of spaces and x"};
        memset(text, "a 7 "[i], MB);
        if (i == 3)
            text[MB - 1] = 'x';
        bad = measure(t, label[i], text, MB);
    }
    qn_free(text);
    qn__tokenizer_close(t);
    qn__gguf_close(g);
    return bad;
}
