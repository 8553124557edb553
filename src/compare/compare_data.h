/* A comparison as data. Only compare_*.c include this. */
#ifndef MOQA_SRC_COMPARE_COMPARE_DATA_H
#define MOQA_SRC_COMPARE_COMPARE_DATA_H

#include <jansson.h>

#include "data/base/str.h"
#include "src/compare/compare.h"

ERR_CHECK int compare_csv(struct str *out, const struct compare_result *r, struct err *err);
/* An integer, or where JSON's readers have none so large a string of digits, as in a plan's
 * settings. */
json_t *compare_seed_json(uint64_t seed);
ERR_CHECK int compare_json(struct str *out, const struct compare_result *r, struct err *err);

#endif
