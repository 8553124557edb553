#include "src/runs/original.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "data/base/jsonio.h"
#include "data/base/str.h"
#include "src/calibration.h"
#include "src/device.h"
#include "src/eval/eval_json.h"
#include "src/model/texts.h"
#include "src/runs/runs.h"

enum { VERSION = 1, FILE_LIMIT = 1 << 20, NAME_MAX_LENGTH = 64 };

static const char prefix[] = "original-", suffix[] = ".json";

int original_model_read(struct original_model *out, const char *dir, struct err *err)
{
    struct checkpoint *c = NULL;
    *out = (struct original_model){0};
    int rc = checkpoint_open(&c, dir, err);
    if (rc < 0)
        return rc;
    const struct model_config *config = checkpoint_config(c);
    snprintf(out->name, sizeof out->name, "%s", checkpoint_name(c));
    snprintf(out->config_sha256, sizeof out->config_sha256, "%s", config->sha256);
    snprintf(out->checkpoint, sizeof out->checkpoint, "%s", checkpoint_fingerprint(c));
    out->bits = 8.0 * (double)dtype_size(config->dtype);
    out->bytes = runs_folder_bytes(dir);
    checkpoint_free(c);
    return 0;
}

/* --- The record --- */

bool original_is_record(const char *name)
{
    size_t length = strlen(name), ends = sizeof suffix - 1;
    return strncmp(name, prefix, sizeof prefix - 1) == 0 && length > ends &&
           strcmp(name + length - ends, suffix) == 0;
}

/* False: only the first windows of the text were looked at. */
static bool is_whole(const struct perplexity *p)
{
    return p->windows == 0 || p->windows == p->tokens / p->window; /* 0: not measured yet */
}

static int record_name(char out[NAME_MAX_LENGTH], const struct original *o, struct err *err)
{
    char key[4 * HASH_HEX_SIZE], hex[HASH_HEX_SIZE];
    const struct perplexity *p = &o->perplexity;
    int used = snprintf(key, sizeof key, "%s %s %s %zu", o->model.config_sha256,
                        o->model.checkpoint, o->text.sha256, p->window);
    if (!is_whole(p))
        used += snprintf(key + used, sizeof key - (size_t)used, " %zu", p->windows);
    int rc = hash_bytes(hex, key, (size_t)used, err);
    snprintf(out, NAME_MAX_LENGTH, "%s%.8s%s", prefix, hex, suffix);
    return rc;
}

int original_save(const struct original *o, const char *dir, struct err *err)
{
    json_t *object = NULL, *evaluation = NULL;
    char name[NAME_MAX_LENGTH], *path = NULL;
    int rc = record_name(name, o, err);
    if (rc == 0)
        rc = eval_json(&evaluation, &o->perplexity, &o->text, err);
    if (rc < 0)
        return rc;
    object = json_pack(
        "{s:s, s:i, s:{s:o, s:s, s:s, s:f, s:I}, s:s, s:o}", "schema", "moqa.original",
        "schema_version", VERSION, "model", "name", jsonio_bytes(o->model.name), "config_sha256",
        o->model.config_sha256, "checkpoint", o->model.checkpoint, "bits", o->model.bits, "bytes",
        (json_int_t)o->model.bytes, "text_sha256", o->text.sha256, "evaluation", evaluation);
    path = str_path(dir, name, err);
    if (!object)
        rc = err_set(err, ERR_NOMEM, NULL, "no memory for the result");
    else if (!path)
        rc = ERR_NOMEM;
    else
        rc = jsonio_save(object, path, err);
    json_decref(object);
    free(path);
    return rc;
}

static int load_model(struct original_model *m, const json_t *object, const char *file,
                      struct err *err)
{
    struct jsonio_at at = {file, "model"};
    size_t bytes = 0;
    int rc = jsonio_text(m->name, sizeof m->name, object, "name", at, err);
    if (rc == 0)
        rc = jsonio_text(m->config_sha256, sizeof m->config_sha256, object, "config_sha256", at,
                         err);
    if (rc == 0)
        rc = jsonio_text(m->checkpoint, sizeof m->checkpoint, object, "checkpoint", at, err);
    if (rc == 0)
        rc = jsonio_real(&m->bits, object, "bits", at, err);
    if (rc == 0)
        rc = jsonio_size(&bytes, object, "bytes", SIZE_MAX, at, err);
    m->bytes = bytes;
    return rc;
}

int original_load(struct original *out, const char *path, struct err *err)
{
    json_t *root = NULL, *model, *evaluation;
    struct jsonio_at at = {path, ""};
    *out = (struct original){0};
    int rc = jsonio_load(&root, path, FILE_LIMIT, err);
    if (rc == 0)
        rc = jsonio_check_schema(root, "moqa.original", VERSION, path, err);
    if (rc == 0)
        rc = jsonio_object(&model, root, "model", at, err);
    if (rc == 0)
        rc = load_model(&out->model, model, path, err);
    if (rc == 0)
        rc = jsonio_object(&evaluation, root, "evaluation", at, err);
    if (rc == 0)
        rc = eval_json_read(&out->perplexity, &out->text, evaluation, path, err);
    if (rc == 0)
        rc = jsonio_text(out->text.sha256, sizeof out->text.sha256, root, "text_sha256", at, err);
    json_decref(root);
    return rc;
}

/* --- Measuring --- */

/* True if there is a record of this key. */
static bool find_record(struct original *o, const char *dir)
{
    struct original kept;
    char name[NAME_MAX_LENGTH];
    char *path = record_name(name, o, NULL) == 0 ? str_path(dir, name, NULL) : NULL;
    bool found = path && original_load(&kept, path, NULL) == 0 &&
                 strcmp(kept.model.config_sha256, o->model.config_sha256) == 0 &&
                 strcmp(kept.model.checkpoint, o->model.checkpoint) == 0 &&
                 strcmp(kept.text.sha256, o->text.sha256) == 0 &&
                 kept.perplexity.window == o->perplexity.window && is_whole(&kept.perplexity);
    free(path);
    if (found)
        o->perplexity = kept.perplexity;
    return found;
}

static int run(struct original *o, const struct model *m, const struct original_request *r,
               struct err *err)
{
    struct token_ids ids = {0};
    struct device device = {0};
    struct device_request wanted = {.threads = r->threads};
    size_t window = o->perplexity.window;
    if (!m->tokenizer)
        return err_set(err, ERR_INPUT, r->model_dir,
                       "has no tokenizer.json, which the texts to evaluate on need");
    int rc = texts_encode(&ids, m->tokenizer, r->texts, r->texts_count, err);
    if (rc == 0)
        rc = device_open(&device, &wanted, err);
    if (rc == 0)
        do
            rc = perplexity_run(&o->perplexity, m, device.backend, ids.data, ids.count, window, 0,
                                NULL, r->progress, err);
        while (rc < 0 && device_recover(&device, rc, err));
    device_close(&device);
    token_ids_release(&ids);
    return rc;
}

/* What the record is kept under, with the model open. */
static int find_key(struct original *o, struct model *m, const struct original_request *r,
                    struct err *err)
{
    *o = (struct original){0};
    int rc = original_model_read(&o->model, r->model_dir, err);
    if (rc == 0)
        rc = eval_text_read(&o->text, r->model_dir, r->texts, r->texts_count, err);
    if (rc == 0)
        rc = model_open(m, r->model_dir, err);
    if (rc == 0)
        rc = calibration_window(&o->perplexity.window, m->config, r->window, err);
    return rc;
}

int original_find(struct original *out, bool *found, const struct original_request *r,
                  struct err *err)
{
    struct model m = {0};
    int rc = find_key(out, &m, r, err);
    *found = rc == 0 && find_record(out, r->runs_dir);
    model_release(&m);
    return rc;
}

int original_measure(struct original *out, const struct original_request *r, struct err *err)
{
    struct model m = {0};
    int rc = find_key(out, &m, r, err);
    if (rc == 0 && !find_record(out, r->runs_dir)) {
        rc = run(out, &m, r, err);
        if (rc == 0) {
            mkdir(r->runs_dir, 0777); /* if it fails, saving says why */
            rc = original_save(out, r->runs_dir, err);
        }
    }
    model_release(&m);
    return rc;
}
