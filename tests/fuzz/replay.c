/* replay.c - run a fuzz target over the files named, or over tests/fuzz/corpus/NAME, without libFuzzer. NAME is the part
 * of the program's own name behind "replay_". */
#include <dirent.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static int one(const char *path)
{
    FILE *f = fopen(path, "rb");
    if (!f) {
        perror(path);
        return 1;
    }
    uint8_t *data = malloc((size_t)16 << 20);
    size_t n = data ? fread(data, 1, (size_t)16 << 20, f) : 0;
    (void)fclose(f);
    /* A block of exactly n bytes, so that a sanitizer sees one byte too many. */
    uint8_t *exact = malloc(n ? n : 1);
    if (!data || !exact)
        return 1;
    memcpy(exact, data, n);
    free(data);
    (void)LLVMFuzzerTestOneInput(exact, n);
    free(exact);
    return 0;
}

int main(int argc, char **argv)
{
    int bad = 0, n = 0;
    for (int i = 1; i < argc; i++, n++)
        bad |= one(argv[i]);
    const char *name = strstr(argv[0], "replay_");
    if (argc == 1 && name) {
        char dir[512], path[1024];
        (void)snprintf(dir, sizeof dir, "tests/fuzz/corpus/%s", name + 7);
        DIR *d = opendir(dir);
        struct dirent *e;
        while (d && (e = readdir(d))) {
            if (e->d_name[0] == '.')
                continue;
            (void)snprintf(path, sizeof path, "%s/%s", dir, e->d_name);
            bad |= one(path);
            n++;
        }
        if (d)
            (void)closedir(d);
    }
    printf("%d inputs replayed\n", n);
    return bad || n == 0;
}
