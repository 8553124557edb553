/* Models, backends and expected numbers for tests of the forward pass. */
#ifndef MOQA_TESTS_SRC_MODEL_FIXTURE_H
#define MOQA_TESTS_SRC_MODEL_FIXTURE_H

#include <jansson.h>

#include "src/model/model.h"

/* The two trained models and one untrained of every type, with their golden folders. */
struct fixture_model {
    const char *dir;
    const char *golden;
};
enum { FIXTURE_RANDOM = 4 };
extern const struct fixture_model fixture_tiny[2], fixture_random[FIXTURE_RANDOM];

void fixture_open(struct model *m, const char *dir);
struct backend *fixture_backend(size_t threads);

/* FOLDER/NAME as JSON; freed by json_decref(). */
json_t *fixture_json(const char *folder, const char *name);

/* Integers of an array; freed by free(). */
uint32_t *fixture_ids(const json_t *array, size_t *count);
double fixture_real(const json_t *array, size_t i);

/* Asserts |got - want| <= tolerance * (1 + |want|), naming the place. */
void fixture_near(double got, double want, double tolerance, const char *what, size_t place);

#endif
