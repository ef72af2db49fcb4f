/* fuzz_tokenizer.c - bytes -> a GGUF file -> a tokenizer -> some of the bytes tokenized, and back. What must hold: no crash
 * and ids inside the vocabulary. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "text/tokenizer.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void encode(const qn_tokenizer *t, const char *text, size_t n, bool special)
{
    int32_t *ids = NULL;
    size_t n_ids = 0;
    qn_err err;
    if (qn__tokenize(t, text, n, special, QN_BOS_AUTO, &ids, &n_ids, &err))
        return;
    qn_buf b = {0};
    qn_detok d;
    qn__detok_init(&d, t, special);
    for (size_t i = 0; i < n_ids; i++) {
        if (ids[i] < 0 || ids[i] >= qn__tokenizer_info(t)->n_vocab)
            abort();
        qn__detok_put(&d, ids[i], &b);
        if (d.n_held > 3)
            abort();
    }
    qn__detok_flush(&d, &b);
    qn__buf_free(&b);
    qn_free(ids);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const char text[] = "int main(void) { return 0x1F; } // caf\xC3\xA9 \xE6\xBC\xA2 12345\r\n\n   x <s></s><|im_end|> aaaaaaaa\xFF";
    qn_gguf *g = NULL;
    qn_tokenizer *t = NULL;
    qn_err err;
    if (qn__gguf_open_memory(data, size, "fuzz", &g, &err))
        return 0;
    if (!qn__tokenizer_open(g, &t, &err)) {
        encode(t, text, sizeof text - 1, true);
        encode(t, text, sizeof text - 1, false);
        /* The file's end: its own token texts, and what the fuzzer put there. */
        size_t n = size < 2000 ? size : 2000;
        encode(t, (const char *)data + size - n, n, size & 1);
        qn__tokenizer_close(t);
    }
    qn__gguf_close(g);
    return 0;
}
