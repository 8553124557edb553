#include "src/runs/runs_report.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "data/base/jsonio.h"
#include "data/base/mem.h"
#include "data/base/str.h"

enum { VERSION = 1, FILE_LIMIT = 64 << 20, BITS_MAX = 16 };

static int read_expert(struct app_run_expert *out, const json_t *object, const char *file,
                       struct err *err)
{
    struct jsonio_at at = {file, "layers[].experts[]"};
    size_t bits = 0;
    int rc = jsonio_size(&bits, object, "bits", BITS_MAX, at, err);
    if (rc == 0)
        rc = jsonio_size(&out->tokens, object, "tokens", SIZE_MAX, at, err);
    if (rc == 0)
        rc = jsonio_real(&out->loss, object, "loss", at, err);
    if (rc == 0)
        rc = jsonio_real(&out->loss_rtn, object, "loss_rtn", at, err);
    if (rc == 0)
        rc = jsonio_bool(&out->fallback, object, "fallback", at, err);
    out->bits = (unsigned)bits;
    out->done = rc == 0;
    return rc;
}

static int count(size_t *layers, size_t *experts, const json_t *list, const char *file,
                 struct err *err)
{
    *layers = *experts = 0;
    for (size_t l = 0; l < json_array_size(list); l++) {
        size_t n = json_array_size(json_object_get(json_array_get(list, l), "experts"));
        if (n == 0)
            continue;
        if (*experts && n != *experts)
            return err_set(err, ERR_INPUT, file, "layers[%zu]: found %zu experts, expected %zu", l,
                           n, *experts);
        *experts = n;
        ++*layers;
    }
    return *layers ? 0 : err_set(err, ERR_INPUT, file, "names no experts");
}

static int read_layers(struct runs_report *out, const json_t *list, const char *file,
                       struct err *err)
{
    size_t cells, used = 0;
    int rc = count(&out->layers, &out->experts, list, file, err);
    if (rc < 0)
        return rc;
    if (!mem_mul(&cells, out->layers, out->experts))
        return err_set(err, ERR_INPUT, file, "names too many experts");
    out->expert = mem_array(cells, sizeof *out->expert, err);
    if (!out->expert)
        return ERR_NOMEM;
    for (size_t l = 0; rc == 0 && l < json_array_size(list); l++) {
        const json_t *experts = json_object_get(json_array_get(list, l), "experts");
        for (size_t e = 0; rc == 0 && e < json_array_size(experts); e++)
            rc = read_expert(&out->expert[used++], json_array_get(experts, e), file, err);
    }
    return rc;
}

int runs_report_load(struct runs_report *out, const char *dir, struct err *err)
{
    json_t *root = NULL, *layers;
    char *path = str_path(dir, "moqa_report.json", err);
    *out = (struct runs_report){0};
    int rc = path ? jsonio_load(&root, path, FILE_LIMIT, err) : ERR_NOMEM;
    if (rc == 0)
        rc = jsonio_check_schema(root, "moqa.report", VERSION, path, err);
    if (rc == 0)
        rc = jsonio_array(&layers, root, "layers", (struct jsonio_at){path, ""}, err);
    if (rc == 0)
        rc = read_layers(out, layers, path, err);
    if (rc == 0)
        snprintf(out->name, sizeof out->name, "%s", dir);
    else
        runs_report_release(out);
    json_decref(root);
    free(path);
    return rc;
}

void runs_report_release(struct runs_report *r)
{
    free(r->expert);
    *r = (struct runs_report){0};
}
