/* pack.h - rows of weights laid across lanes: what a kernel would otherwise do with them again and again.
 *
 * A group is `lanes` rows of a matrix, of as many bytes as they have in the file. Block after block, field after field,
 * the field of each row in turn:
 *
 *   file     row 0: [field a][field b].. | row 1: [field a][field b].. | ...     one block each
 *   packed   [a of row 0][a of row 1]..[a of row n-1] [b of row 0][b of row 1].. ...
 *
 * A block's fields are a head of 0 to 2 bytes where the type begins with its scale, then dwords, then the 2 bytes that
 * may be left. So a field of n bytes at offset o of row r lies at lanes * o + n * r: the sizes are the file's, and so
 * are the offsets, times the lanes. Whatever is computed from either form is computed from the same integers.
 *
 * Refuses, by qn__pack_has, types whose unpacking it would not make shorter. */
#ifndef QN_KERNELS_PACK_H
#define QN_KERNELS_PACK_H

#include "formats/types.h"

bool qn__pack_has(qn_type type);
/* `lanes` rows at src, row_bytes apart, -> one group of lanes * row_bytes at dst. */
void qn__pack(qn_type type, int lanes, const unsigned char *src, size_t row_bytes, unsigned char *dst);
/* One block of row `row`, as it lay in the file; at: where the group's blocks begin that hold it. */
void qn__unpack_block(qn_type type, int lanes, const unsigned char *at, int row, unsigned char *dst);

#endif
