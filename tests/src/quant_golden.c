#include "tests/src/quant_golden.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "data/base/jsonio.h"
#include "data/base/mem.h"
#include "data/safetensors.h"
#include "data/settings.h"

static void *read_tensor(const struct safetensors *file, const char *name, const char *part,
                         size_t *rows, size_t *columns)
{
    char full[128];
    snprintf(full, sizeof full, "%s.%s", name, part);
    const struct tensor_info *info = safetensors_find(file, full);
    if (!info)
        return NULL;
    if (rows) {
        *rows = info->shape[0];
        *columns = info->shape[1];
    }
    void *out = malloc(info->bytes);
    struct err err = {0};
    assert_non_null(out);
    assert_int_equal(safetensors_read(file, info, out, &err), 0);
    return out;
}

static void read_case(struct golden_case *c, const json_t *object, const struct safetensors *file)
{
    const char *name = json_string_value(json_object_get(object, "case"));
    assert_non_null(name);
    snprintf(c->name, sizeof c->name, "%s", name);
    c->bits = (unsigned)json_integer_value(json_object_get(object, "bits"));
    c->channel_bits = (unsigned)json_integer_value(json_object_get(object, "bits_channel"));
    c->group_size = (size_t)json_integer_value(json_object_get(object, "group_size"));
    c->order = strcmp(json_string_value(json_object_get(object, "order")), "act") == 0
                   ? ORDER_ACT
                   : ORDER_NATURAL;
    c->symmetric = strcmp(json_string_value(json_object_get(object, "grid")), "symmetric") == 0;
    c->damping = json_number_value(json_object_get(object, "damping"));
    c->loss = json_number_value(json_object_get(object, "loss"));
    c->loss_rtn = json_number_value(json_object_get(object, "loss_rtn"));
    const json_t *channels = json_object_get(object, "channels");
    c->channels = json_array_size(channels);
    assert_true(c->channels <= 64);
    for (size_t i = 0; i < c->channels; i++)
        c->channel[i] = (uint32_t)json_integer_value(json_array_get(channels, i));
    c->weight = read_tensor(file, name, "weight", &c->rows, &c->columns);
    c->hessian = read_tensor(file, name, "hessian", NULL, NULL);
    c->codes = read_tensor(file, name, "codes", NULL, NULL);
    c->scale = read_tensor(file, name, "scale", NULL, NULL);
    c->zero = read_tensor(file, name, "zero", NULL, NULL);
    c->dequantized = read_tensor(file, name, "dequantized", NULL, NULL);
    c->score = read_tensor(file, name, "score", NULL, NULL);
    assert_non_null(c->weight);
    assert_non_null(c->hessian);
    assert_non_null(c->codes);
}

struct golden_case *golden_load(size_t *count)
{
    json_t *root = NULL;
    struct safetensors *file = NULL;
    struct err err = {0};
    assert_int_equal(jsonio_load(&root, TEST_GOLDEN "/gptq.json", 1u << 20, &err), 0);
    assert_int_equal(safetensors_open(&file, TEST_GOLDEN "/gptq.safetensors", &err), 0);
    const json_t *list = json_object_get(root, "cases");
    *count = json_array_size(list);
    struct golden_case *cases = calloc(*count, sizeof *cases);
    assert_non_null(cases);
    for (size_t i = 0; i < *count; i++)
        read_case(&cases[i], json_array_get(list, i), file);
    safetensors_free(file);
    json_decref(root);
    return cases;
}

void golden_free(struct golden_case *cases, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        free(cases[i].weight);
        free(cases[i].hessian);
        free(cases[i].codes);
        free(cases[i].scale);
        free(cases[i].zero);
        free(cases[i].dequantized);
        free(cases[i].score);
    }
    free(cases);
}
