/* tiles.h - what the files of the AMX level share: the shapes of the tiles.
 *
 *   the first `sums`   sums           [tokens][16] int32
 *   the next `acts`    activations    [tokens][width] bytes
 *   others             weights        [width/4][16][4] bytes */
#ifndef QN_KERNELS_TILES_H
#define QN_KERNELS_TILES_H

#include <stdbool.h>

#include "kernels/x86/unroll.h"

typedef struct tile_config {
    uint8_t palette, start_row, reserved[14];
    uint16_t line_bytes[16];
    uint8_t lines[16];
} tile_config;

/* The intrinsics of some compilers do not say that they touch memory. */
INLINE void memory_seen(void)
{
    __asm__ volatile("" ::: "memory");
}

INLINE void configure(int tokens, int width, int sums, int acts)
{
    tile_config c = {.palette = 1};
    for (int i = 0; i < 8; i++) {
        bool x = i >= sums && i < sums + acts;
        c.line_bytes[i] = (uint16_t)(x ? width : 64);
        c.lines[i] = (uint8_t)(i < sums || x ? tokens : width / 4);
    }
    __asm__ volatile("" ::"r"(&c) : "memory");
    _tile_loadconfig(&c);
}

#endif
