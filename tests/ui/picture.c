#include "picture.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "data/base/atomic_file.h"

void picture_assert(const char *name, const char *text)
{
    char path[1024], *expected = NULL;
    size_t size;
    struct err err = {0};
    snprintf(path, sizeof path, "%s/golden/%s.txt", TEST_SOURCE, name);
    if (getenv("MOQA_UPDATE_PICTURES")) {
        if (atomic_file_save(path, text, strlen(text), &err) < 0)
            fail_msg("%s: %s", path, err.message);
        return;
    }
    if (str_read_file(&expected, &size, path, 1 << 20, &err) < 0)
        fail_msg("%s: %s", path, err.message);
    bool same = strcmp(expected, text) == 0;
    free(expected);
    if (!same)
        fail_msg("%s differs from what was drawn:\n%s", path, text);
}

void picture_assert_cells(const char *name, const struct cells *c)
{
    struct str text = {0};
    cells_plain(c, &text);
    picture_assert(name, str_get(&text));
    str_release(&text);
}

double picture_random(uint64_t *state)
{
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    return (double)(*state >> 11) * 0x1p-53;
}

double picture_gauss(uint64_t *state)
{
    double u = picture_random(state), v = picture_random(state);
    return sqrt(-2 * log(u + 1e-300)) * cos(2 * M_PI * v);
}
