#include "src/eval/eval_json.h"

#include "data/base/jsonio.h"

enum { VERSION = 1, FILE_LIMIT = 1 << 20 };

int eval_json(json_t **out, const struct perplexity *p, const struct eval_text *text,
              struct err *err)
{
    *out = json_pack("{s:s, s:i, s:f, s:f, s:I, s:I, s:I, s:I, s:f, s:o, s:s}", "schema",
                     "moqa.eval", "schema_version", VERSION, "perplexity", p->value, "nll", p->nll,
                     "tokens", (json_int_t)p->tokens, "window", (json_int_t)p->window, "windows",
                     (json_int_t)p->windows, "predicted", (json_int_t)p->predicted, "seconds",
                     p->seconds, "text", jsonio_bytes(text->name), "text_sha256", text->sha256);
    return *out ? 0 : err_set(err, ERR_NOMEM, NULL, "no memory for the result");
}

int eval_json_add_divergence(json_t *object, const struct divergence *d, struct err *err)
{
    bool failed = json_object_set_new(object, "divergence", json_real(d->mean)) < 0 ||
                  json_object_set_new(object, "divergence_error", json_real(d->error)) < 0 ||
                  json_object_set_new(object, "divergence_seconds", json_real(d->seconds)) < 0;
    return failed ? err_set(err, ERR_NOMEM, NULL, "no memory for the result") : 0;
}

int eval_json_save(const struct perplexity *p, const struct eval_text *text, const char *path,
                   struct err *err)
{
    json_t *object = NULL;
    int rc = eval_json(&object, p, text, err);
    if (rc == 0)
        rc = jsonio_save(object, path, err);
    json_decref(object);
    return rc;
}

int eval_json_read(struct perplexity *out, struct eval_text *text, const json_t *object,
                   const char *file, struct err *err)
{
    struct jsonio_at at = {file, ""};
    *out = (struct perplexity){0};
    *text = (struct eval_text){0};
    int rc = jsonio_check_schema(object, "moqa.eval", VERSION, file, err);
    if (rc == 0)
        rc = jsonio_real(&out->value, object, "perplexity", at, err);
    if (rc == 0)
        rc = jsonio_real(&out->nll, object, "nll", at, err);
    if (rc == 0)
        rc = jsonio_size(&out->tokens, object, "tokens", SIZE_MAX, at, err);
    if (rc == 0)
        rc = jsonio_size(&out->window, object, "window", SIZE_MAX, at, err);
    if (rc == 0)
        rc = jsonio_size(&out->windows, object, "windows", SIZE_MAX, at, err);
    if (rc == 0)
        rc = jsonio_size(&out->predicted, object, "predicted", SIZE_MAX, at, err);
    if (rc == 0)
        rc = jsonio_real(&out->seconds, object, "seconds", at, err);
    if (rc == 0 && jsonio_has(object, "text"))
        rc = jsonio_text(text->name, sizeof text->name, object, "text", at, err);
    if (rc == 0 && jsonio_has(object, "text_sha256"))
        rc = jsonio_text(text->sha256, sizeof text->sha256, object, "text_sha256", at, err);
    return rc;
}

int eval_json_read_divergence(struct divergence *out, bool *found, const struct perplexity *p,
                              const json_t *object, const char *file, struct err *err)
{
    struct jsonio_at at = {file, ""};
    *out = (struct divergence){.windows = p->windows, .window = p->window};
    *found = jsonio_has(object, "divergence");
    if (!*found)
        return 0;
    int rc = jsonio_real(&out->mean, object, "divergence", at, err);
    if (rc == 0)
        rc = jsonio_real(&out->error, object, "divergence_error", at, err);
    return rc == 0 ? jsonio_real(&out->seconds, object, "divergence_seconds", at, err) : rc;
}

int eval_json_load(struct perplexity *out, struct eval_text *text, const char *path,
                   struct err *err)
{
    json_t *object = NULL;
    *out = (struct perplexity){0};
    int rc = jsonio_load(&object, path, FILE_LIMIT, err);
    if (rc == 0)
        rc = eval_json_read(out, text, object, path, err);
    json_decref(object);
    return rc;
}
