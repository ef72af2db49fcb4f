/* peak_amx.c - 8-bit products of tiles; the rest is the level below's. The operands are as random as weights are: of ones
 * the same instructions are up to a quarter faster, which no matrix could use. */
#include "kernels/peak.h"
#include "kernels/x86/tiles.h"

uint64_t qn__amx_peak_int8(uint64_t rounds, void *sink)
{
    _Alignas(64) uint8_t bytes[4][16 * 64];
    _Alignas(64) int32_t sums[16 * 16];
    uint32_t z = 1;
    for (int i = 0; i < 4 * 16 * 64; i++) {
        z = z * 1664525 + 1013904223;
        bytes[i / (16 * 64)][i % (16 * 64)] = (uint8_t)(z >> 24);
    }
    configure(16, 64, 4, 2);
    memory_seen();
    _tile_loadd(4, bytes[0], 64);
    _tile_loadd(5, bytes[1], 64);
    _tile_loadd(6, bytes[2], 64);
    _tile_loadd(7, bytes[3], 64);
    _tile_zero(0);
    _tile_zero(1);
    _tile_zero(2);
    _tile_zero(3);
    for (uint64_t r = 0; r < rounds; r++) {
        _tile_dpbsud(0, 4, 6);
        _tile_dpbsud(1, 4, 7);
        _tile_dpbsud(2, 5, 6);
        _tile_dpbsud(3, 5, 7);
    }
    _tile_stored(0, sums, 64);
    memory_seen();
    _tile_release();
    _mm512_storeu_si512(sink, _mm512_loadu_si512(sums));
    return rounds * 4 * (16 * 16 * 64) * 2;
}
