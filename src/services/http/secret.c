/* secret.c - see secret.h. SHA-256 is written out here because no library that we link has it in its interface. Source: FIPS
 * 180-4, sections 4 to 6. */
#include "services/http/secret.h"

#include <string.h>

#include "base/err.h"
#include "base/mem.h"
#include "services/http/system.h"

/* The first 32 bits of the fractional parts of the cube roots of the first 64 primes. */
static const uint32_t round_constants[64] = {
    0x428a2f98, 0x71374491, 0xb5c0fbcf, 0xe9b5dba5, 0x3956c25b, 0x59f111f1, 0x923f82a4, 0xab1c5ed5, 0xd807aa98, 0x12835b01, 0x243185be,
    0x550c7dc3, 0x72be5d74, 0x80deb1fe, 0x9bdc06a7, 0xc19bf174, 0xe49b69c1, 0xefbe4786, 0x0fc19dc6, 0x240ca1cc, 0x2de92c6f, 0x4a7484aa,
    0x5cb0a9dc, 0x76f988da, 0x983e5152, 0xa831c66d, 0xb00327c8, 0xbf597fc7, 0xc6e00bf3, 0xd5a79147, 0x06ca6351, 0x14292967, 0x27b70a85,
    0x2e1b2138, 0x4d2c6dfc, 0x53380d13, 0x650a7354, 0x766a0abb, 0x81c2c92e, 0x92722c85, 0xa2bfe8a1, 0xa81a664b, 0xc24b8b70, 0xc76c51a3,
    0xd192e819, 0xd6990624, 0xf40e3585, 0x106aa070, 0x19a4c116, 0x1e376c08, 0x2748774c, 0x34b0bcb5, 0x391c0cb3, 0x4ed8aa4a, 0x5b9cca4f,
    0x682e6ff3, 0x748f82ee, 0x78a5636f, 0x84c87814, 0x8cc70208, 0x90befffa, 0xa4506ceb, 0xbef9a3f7, 0xc67178f2};

static uint32_t rotate(uint32_t v, int n)
{
    return v >> n | v << (32 - n);
}

static void block(uint32_t h[8], const unsigned char *p)
{
    uint32_t w[64], v[8];
    for (int i = 0; i < 16; i++)
        w[i] = (uint32_t)p[4 * i] << 24 | (uint32_t)p[4 * i + 1] << 16 | (uint32_t)p[4 * i + 2] << 8 | p[4 * i + 3];
    for (int i = 16; i < 64; i++) {
        const uint32_t a = w[i - 15], b = w[i - 2];
        w[i] = w[i - 16] + (rotate(a, 7) ^ rotate(a, 18) ^ a >> 3) + w[i - 7] + (rotate(b, 17) ^ rotate(b, 19) ^ b >> 10);
    }
    memcpy(v, h, sizeof v);
    for (int i = 0; i < 64; i++) {
        const uint32_t e = v[4], a = v[0];
        const uint32_t t1 = v[7] + (rotate(e, 6) ^ rotate(e, 11) ^ rotate(e, 25)) + ((e & v[5]) ^ (~e & v[6])) +
                            round_constants[i] + w[i];
        const uint32_t t2 = (rotate(a, 2) ^ rotate(a, 13) ^ rotate(a, 22)) + ((a & v[1]) ^ (a & v[2]) ^ (v[1] & v[2]));
        memmove(v + 1, v, 7 * sizeof *v);
        v[4] += t1;
        v[0] = t1 + t2;
    }
    for (int i = 0; i < 8; i++)
        h[i] += v[i];
}

void http_sha256(const void *data, size_t n, unsigned char out[HTTP_DIGEST])
{
    const unsigned char *p = data;
    unsigned char last[128] = {0};
    uint32_t h[8] = {0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a, 0x510e527f, 0x9b05688c, 0x1f83d9ab, 0x5be0cd19};
    const uint64_t bits = (uint64_t)n * 8;
    size_t left = n;
    for (; left >= 64; left -= 64, p += 64)
        block(h, p);
    if (left)
        memcpy(last, p, left);
    last[left] = 0x80;
    const size_t total = left < 56 ? 64 : 128;
    for (int i = 0; i < 8; i++)
        last[total - 1 - (size_t)i] = (unsigned char)(bits >> 8 * i);
    for (size_t i = 0; i < total; i += 64)
        block(h, last + i);
    for (int i = 0; i < 32; i++)
        out[i] = (unsigned char)(h[i / 4] >> (24 - 8 * (i % 4)));
}

/* The salt first: two servers with one key have nothing in common. Keys are cut at LONGEST: so much is hashed whatever comes. */
static void digest(const http_secrets *s, const char *key, unsigned char out[HTTP_DIGEST])
{
    enum { LONGEST = 512 };
    unsigned char text[HTTP_SALT + LONGEST + 8] = {0};
    const size_t n = strlen(key);
    const uint64_t length = n;
    memcpy(text, s->salt, HTTP_SALT);
    memcpy(text + HTTP_SALT, key, n < LONGEST ? n : LONGEST);
    memcpy(text + HTTP_SALT + LONGEST, &length, sizeof length);
    http_sha256(text, sizeof text, out);
    explicit_bzero(text, sizeof text);
}

qn_status http_secrets_open(http_secrets *s, const char *const *keys, size_t n, qn_err *err)
{
    *s = (http_secrets){0};
    if (!n)
        return QN_OK;
    for (size_t i = 0; i < n; i++)
        if (!keys[i] || !keys[i][0] || strlen(keys[i]) > 500)
            return qn__fail(err, QN_EINVAL, "api key", "a key has 1 to 500 bytes; this one has %zu", keys[i] ? strlen(keys[i]) : 0);
    s->digests = qn__calloc(n, sizeof *s->digests);
    if (!s->digests)
        return qn__fail_mem(err, "api key");
    http_random(s->salt, sizeof s->salt);
    for (; s->n < n; s->n++)
        digest(s, keys[s->n], s->digests[s->n]);
    return QN_OK;
}

void http_secrets_close(http_secrets *s)
{
    qn_free(s->digests);
    *s = (http_secrets){0};
}

bool http_secrets_have(const http_secrets *s, const char *key)
{
    unsigned char d[HTTP_DIGEST];
    bool found = false;
    digest(s, key ? key : "", d);
    for (size_t i = 0; i < s->n; i++) {
        unsigned char differs = 0;
        for (size_t k = 0; k < HTTP_DIGEST; k++)
            differs |= (unsigned char)(d[k] ^ s->digests[i][k]);
        found |= !differs;
    }
    return found && key;
}
