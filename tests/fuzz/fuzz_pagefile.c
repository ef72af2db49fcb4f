/* fuzz_pagefile.c - bytes -> the head of a file of pages, as they are and with the checksum set right (no fuzzer guesses it). What
 * must hold: no crash; of what is accepted every part lies inside the file, and it is written back as it was. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "engine/pagefile.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void try_head(const unsigned char *head, uint64_t size)
{
    qn_page_run r, again;
    unsigned char back[QN_PAGEFILE_HEAD];
    if (qn__run_read(head, size, &r))
        return;
    uint64_t end = qn__run_tokens_at(&r) + (uint64_t)(r.first + r.n) * QN_PAGE_TOKENS * sizeof(int32_t);
    if (r.n == 0 || r.n > QN_RUN || end != qn__run_page_at(&r, 0))
        abort();
    for (uint32_t i = 0; i < r.n; i++)
        if (qn__run_page_at(&r, i) + r.root.page_bytes > size ||
            (r.page[i].has_state && qn__run_state_at(&r, i) + r.root.state_bytes > size))
            abort();
    if (!memchr(r.root.label, 0, sizeof r.root.label))
        abort();
    qn__run_write(&r, back);
    if (qn__run_read(back, size, &again) || memcmp(&again.root, &r.root, sizeof r.root) != 0 || again.n != r.n)
        abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    unsigned char head[QN_PAGEFILE_HEAD] = {0};
    char name[QN_PAGEFILE_NAME] = {0};
    qn_name last;
    uint32_t first;
    memcpy(name, data, size < sizeof name - 1 ? size : sizeof name - 1);
    if (qn__run_parse_name(name, &last, &first)) {
        char text[QN_PAGEFILE_NAME];
        qn__run_file_name(last, first, text);
        if (strcmp(text, name) != 0)
            abort();
    }
    (void)qn__name_parse(name, &last);
    memcpy(head, data, size < sizeof head ? size : sizeof head);
    try_head(head, size);
    uint64_t sum = qn__run_sum(head, sizeof head - 8);
    for (int i = 0; i < 8; i++)
        head[sizeof head - 8 + i] = (unsigned char)(sum >> (8 * i));
    try_head(head, size);
    /* The size that it says, when it says one. */
    qn_page_run r;
    const char *why = qn__run_read(head, 0, &r);
    if (why && strstr(why, "size that its head says"))
        try_head(head, qn__run_bytes(&r));
    return 0;
}
