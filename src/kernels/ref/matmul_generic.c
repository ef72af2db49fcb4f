/* matmul_generic.c - matmul of every type without code of its own: a piece of a weight row is dequantised and
 * multiplied as floats. Products and their sum are doubles, k ascending. */
#include "kernels/dequant.h"
#include "kernels/ref/ref.h"

static void generic(const qn_matmul *a, qn_type type)
{
    const qn_type_info *info = qn__type_info(type);
    size_t piece_bytes = QN_GENERIC_PIECE / info->block * info->bytes;
    float piece[QN_GENERIC_PIECE];
    for (int t = 0; t < a->tokens; t++) {
        const float *x = (const float *)((const char *)a->x + (size_t)t * a->x_stride);
        for (int r = 0; r < a->rows; r++) {
            const unsigned char *w = (const unsigned char *)a->w + (size_t)r * a->w_stride;
            double sum = 0;
            for (int k = 0; k < a->k; k += QN_GENERIC_PIECE, w += piece_bytes) {
                int n = a->k - k < QN_GENERIC_PIECE ? a->k - k : QN_GENERIC_PIECE;
                qn__dequant_row(type, w, piece, (size_t)n);
                for (int i = 0; i < n; i++)
                    sum += (double)piece[i] * x[k + i];
            }
            a->y[(size_t)t * a->y_stride + (size_t)r] = (float)sum;
        }
    }
}

#define X(type)                                                                                                        \
    void qn__ref_matmul_##type(const qn_matmul *a)                                                                     \
    {                                                                                                                  \
        generic(a, QN_##type);                                                                                         \
    }
QN_GENERIC_TYPES(X)
#undef X
