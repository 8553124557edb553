/* A comparison as data. Only compare_print.c includes this. */
#ifndef MOQA_SRC_COMPARE_COMPARE_DATA_H
#define MOQA_SRC_COMPARE_COMPARE_DATA_H

#include "data/base/str.h"
#include "src/compare/compare.h"

ERR_CHECK int compare_csv(struct str *out, const struct compare_result *r, struct err *err);
ERR_CHECK int compare_json(struct str *out, const struct compare_result *r, struct err *err);

#endif
