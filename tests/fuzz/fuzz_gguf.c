/* fuzz_gguf.c - any bytes as a GGUF file: opened and read through, or refused with a sentence. */
#include <stdint.h>
#include <stdio.h>

#include "../unit/gguf_touch.h"
#include "base/mem.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void broken(const char *what)
{
    (void)fprintf(stderr, "fuzz_gguf: %s\n", what);
    abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    qn_gguf *g = NULL;
    qn_err err = {0};
    (void)qn__alloc_peak_take();
    qn_status s = qn__gguf_open_memory(data, size, "fuzz", &g, &err);
    if (qn__alloc_peak_take() > gguf_fair_allocation(size))
        broken("an allocation larger than the file warrants");
    if (s == QN_OK) {
        const char *bad = gguf_touch(g, data, size);
        if (bad)
            broken(bad);
    } else if (g || err.code != s || !err.what[0] || !err.where[0]) {
        broken("refused without a sentence");
    }
    qn__gguf_close(g);
    return 0;
}
