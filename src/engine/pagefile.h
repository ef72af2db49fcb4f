/* pagefile.h - the format of a file of pages on disk.
 *
 * A file holds a run of up to QN_RUN pages that follow one another in one prefix, and all tokens from the start of that prefix,
 * so that whoever reads it compares tokens and relies on no hash. What the pages depend on besides (qn_root) stands in it, too.
 *
 *   head    768 bytes: what for, which pages, a checksum of each, a checksum of the head itself
 *   tokens  (first + n) * 64 int32
 *   pages   n * page_bytes
 *   states  state_bytes for each page that has one: a recurrent model's state behind it
 *
 * Numbers are little-endian. Pages are stored as they lie in memory: on half floats zstd gained 8 % at a tenth of the speed at
 * which a disk reads, on q8_0 7 % (bench/HISTORY.md).
 *
 * Only whole pages are written, also when the engine is closed in peace: a page's name is that of its 64 tokens, and is what a file is
 * found by. A partial last page has none; it would need an index of its own, and would save 63 tokens of a conversation's first turn after
 * a restart (test_cache: 40 at most).
 *
 * Everything in a file is checked before it is used; its size follows from its head. The checksum is XXH3: against damage, not
 * against forgery, for which there are the directory's permissions. */
#ifndef QN_ENGINE_PAGEFILE_H
#define QN_ENGINE_PAGEFILE_H

#include "engine/tree.h"

enum { QN_RUN = 16, QN_PAGEFILE_HEAD = 768, QN_PAGEFILE_NAME = 48, QN_PAGEFILE_DEEP = 1 << 18 };

/* What the bytes of a page depend on besides its tokens. */
typedef struct qn_root {
    qn_name model;    /* fingerprint of the file */
    uint64_t build;   /* of the code that computes, and of a page's layout */
    uint32_t kv, level;
    uint32_t variant; /* of the rope, where that depends on the context's size */
    uint64_t page_bytes, state_bytes;
    char label[64];   /* for people: the model's name. Not part of the identity */
} qn_root;

/* The name of the empty prefix. */
qn_name qn__root_name(const qn_root *r);
/* The build that this code belongs to. */
uint64_t qn__root_build(void);

typedef struct qn_run_page {
    qn_name name;
    uint64_t sum;       /* of the page */
    uint64_t state_sum; /* of its state, when it has one */
    bool has_state;
} qn_run_page;

typedef struct qn_page_run {
    qn_root root;
    uint32_t first, n;  /* pages of the prefix before it; pages in it: 1 .. QN_RUN */
    uint64_t tokens_sum;
    qn_run_page page[QN_RUN];
} qn_page_run;

uint64_t qn__run_sum(const void *p, size_t n);
/* Bytes of the whole file. */
uint64_t qn__run_bytes(const qn_page_run *r);
uint64_t qn__run_tokens_at(const qn_page_run *r);
uint64_t qn__run_page_at(const qn_page_run *r, uint32_t i);
uint64_t qn__run_state_at(const qn_page_run *r, uint32_t i);

void qn__run_write(const qn_page_run *r, unsigned char head[QN_PAGEFILE_HEAD]);
/* A file's head, of `size` bytes in all. NULL when it is good, else what is wrong with it, in a few words; *out is then
 * undefined. */
const char *qn__run_read(const unsigned char head[QN_PAGEFILE_HEAD], uint64_t size, qn_page_run *out);

/* "<name of the last page>-<first>.kv"; and back, false when it is not such a name. */
void qn__run_file_name(qn_name last, uint32_t first, char out[QN_PAGEFILE_NAME]);
bool qn__run_parse_name(const char *file, qn_name *last, uint32_t *first);
/* A directory's name, of 32 digits. */
void qn__name_text(qn_name n, char out[33]);
bool qn__name_parse(const char *text, qn_name *out);

#endif
