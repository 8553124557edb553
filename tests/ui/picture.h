/* Pictures of cells as text files under golden/: compared, or written anew when the environment
 * has MOQA_UPDATE_PICTURES. */
#ifndef MOQA_TESTS_UI_PICTURE_H
#define MOQA_TESTS_UI_PICTURE_H

#include <stddef.h>
#include <stdint.h>

#include "ui/cells/cell.h"

void picture_assert(const char *name, const char *text);
void picture_assert_cells(const char *name, const struct cells *c);

/* The same pseudo-random numbers everywhere. */
double picture_random(uint64_t *state); /* 0 <= x < 1 */
double picture_gauss(uint64_t *state);

#endif
