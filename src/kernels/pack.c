/* pack.c - see pack.h. */
#include "kernels/pack.h"

#include <string.h>

#include "kernels/vec/unroll.h"

/* Bytes of the head; -1: not packed. */
static int head_of(qn_type type)
{
    switch (type) {
    case QN_Q8_0:
    case QN_Q4_0:
    case QN_Q5_0:
    case QN_IQ4_NL: return 2;
    case QN_MXFP4: return 1;
    case QN_Q4_1:
    case QN_Q5_1:
    case QN_Q2_K:
    case QN_Q3_K:
    case QN_Q4_K:
    case QN_Q5_K:
    case QN_Q6_K:
    case QN_IQ4_XS: return 0;
    default: return -1;
    }
}

bool qn__pack_has(qn_type type)
{
    return head_of(type) >= 0;
}

/* A field of n bytes of all rows; both known where it is inlined. */
INLINE void put(unsigned char *dst, const unsigned char *src, size_t row_bytes, const int lanes, const size_t n)
{
    UNROLL
    for (int r = 0; r < lanes; r++)
        memcpy(dst + (size_t)r * n, src + (size_t)r * row_bytes, n);
}

INLINE void pack(size_t block, size_t head, const int lanes, const unsigned char *src, size_t row_bytes,
                 unsigned char *dst)
{
    const size_t across = (size_t)lanes;
    for (size_t at = 0; at < row_bytes; at += block) {
        size_t o = at + head, end = at + block;
        if (head == 1)
            put(dst + at * across, src + at, row_bytes, lanes, 1);
        if (head == 2)
            put(dst + at * across, src + at, row_bytes, lanes, 2);
        for (; o + 4 <= end; o += 4)
            put(dst + o * across, src + o, row_bytes, lanes, 4);
        if (o < end)
            put(dst + o * across, src + o, row_bytes, lanes, 2);
    }
}

void qn__pack(qn_type type, int lanes, const unsigned char *src, size_t row_bytes, unsigned char *dst)
{
    const size_t block = qn__type_info(type)->bytes, head = (size_t)head_of(type);
    if (lanes == 16)
        pack(block, head, 16, src, row_bytes, dst);
    else if (lanes == 8)
        pack(block, head, 8, src, row_bytes, dst);
    else
        pack(block, head, lanes, src, row_bytes, dst);
}

void qn__unpack_block(qn_type type, int lanes, const unsigned char *at, int row, unsigned char *dst)
{
    const size_t block = qn__type_info(type)->bytes, head = (size_t)head_of(type), across = (size_t)lanes,
                 r = (size_t)row;
    size_t o = head;
    memcpy(dst, at + head * r, head);
    for (; o + 4 <= block; o += 4)
        memcpy(dst + o, at + o * across + 4 * r, 4);
    if (o < block)
        memcpy(dst + o, at + o * across + 2 * r, 2);
}
