/* embedded.c - see embedded.h. The assembler pastes the file in: a C array of 4 MB would cost a minute of compiling. */
#include "engine/embedded.h"

__asm__(".section .rodata\n"
        ".balign 64\n"
        "qn__embedded_begin:\n"
        ".incbin \"models/seedling-q8_0.gguf\"\n"
        "qn__embedded_end:\n"
        ".byte 0\n"
        ".previous\n");

extern const unsigned char qn__embedded_begin[] __attribute__((visibility("hidden")));
extern const unsigned char qn__embedded_end[] __attribute__((visibility("hidden")));

const unsigned char *qn__embedded_model(size_t *size)
{
    *size = (size_t)(qn__embedded_end - qn__embedded_begin);
    return qn__embedded_begin;
}
