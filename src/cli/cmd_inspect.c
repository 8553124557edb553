#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "data/base/jsonio.h"
#include "data/base/sanitize.h"
#include "data/base/str.h"
#include "data/losses.h"
#include "data/plan.h"
#include "data/trace_h5.h"
#include "gpu/cuda_load.h"
#include "src/cli/cli.h"
#include "src/model/model.h"
#include "src/model/texts.h"

/*
 * Every kind of file is described as a JSON object; --json prints it as it is, else its entries
 * are printed as lines.
 */
struct arguments {
    const char *path, *encode;
    bool json, devices;
};

static const struct cli_option options[] = {
    {"encode", 0, "FILE", CLI_TEXT, offsetof(struct arguments, encode), false,
     "token ids of a text, with the tokenizer at hand"},
    {"devices", 0, NULL, CLI_FLAG, offsetof(struct arguments, devices), false,
     "instead of a file: the devices that there are to compute on"},
    {"json", 0, NULL, CLI_FLAG, offsetof(struct arguments, json), false, "as JSON"},
    {.type = CLI_END},
};

static const struct cli_option positional[] = {
    {"FILE|DIR", 0, NULL, CLI_TEXT, offsetof(struct arguments, path), false, NULL},
    {.type = CLI_END},
};

const struct cli_spec cmd_inspect_spec = {
    "inspect",
    "Says what is in a trace, plan, losses, tokenizer, safetensors file or checkpoint folder, and "
    "checks "
    "it.",
    "  moqa inspect wiki.h5\n"
    "  moqa inspect OLMoE-1B-7B\n"
    "  moqa inspect OLMoE-1B-7B --encode wiki.txt --json\n"
    "  moqa inspect --devices\n",
    options,
    positional,
    false,
};

enum { JSON_LIMIT = 256 << 20, DEVICES_MAX = 64 };

#define GIB 1073741824.0

static int inspect_trace(json_t *out, const char *path, struct err *err)
{
    struct trace t = {0};
    int rc = trace_h5_load(&t, path, NULL, err);
    if (rc < 0)
        return rc;
    json_object_set_new(out, "kind", json_string("trace"));
    json_object_set_new(out, "model", jsonio_bytes(t.model_name));
    json_object_set_new(out, "model_type", json_string(t.model_type));
    json_object_set_new(out, "dataset", json_string(t.dataset));
    json_object_set_new(out, "creator", json_string(t.creator));
    json_object_set_new(out, "created", json_string(t.created));
    json_object_set_new(out, "positions", json_integer((json_int_t)t.positions));
    json_object_set_new(out, "windows", json_integer((json_int_t)t.windows));
    json_object_set_new(out, "window", json_integer((json_int_t)t.window));
    json_object_set_new(out, "layers", json_integer((json_int_t)t.layers));
    json_object_set_new(out, "experts", json_integer((json_int_t)t.experts));
    json_object_set_new(out, "top_k", json_integer((json_int_t)t.top_k));
    json_object_set_new(out, "shared_experts", json_integer((json_int_t)t.shared_experts));
    json_object_set_new(out, "vocab", json_integer((json_int_t)t.vocab));
    json_object_set_new(out, "gates", json_boolean(t.gates != NULL));
    json_object_set_new(out, "token_texts", json_boolean(t.vocab_bytes != NULL));
    trace_release(&t);
    return 0;
}

static int inspect_plan(json_t *out, const char *path, struct err *err)
{
    struct plan p = {0};
    int rc = plan_load(&p, path, err);
    if (rc < 0)
        return rc;
    json_object_set_new(out, "kind", json_string("plan"));
    json_object_set_new(out, "method", json_string(p.method));
    json_object_set_new(out, "model", jsonio_bytes(p.model_name));
    json_object_set_new(out, "model_type", json_string(p.model_type));
    json_object_set_new(out, "trace", jsonio_bytes(p.trace_name));
    json_object_set_new(out, "layers", json_integer((json_int_t)p.layers_count));
    json_object_set_new(out, "experts", json_integer((json_int_t)p.experts));
    json_object_set_new(out, "nominal_bits", json_real(p.summary.nominal_bits));
    json_object_set_new(out, "effective_bits", json_real(p.summary.effective_bits));
    json_object_set_new(out, "bytes_after", json_integer((json_int_t)p.summary.bytes_after));
    plan_release(&p);
    return 0;
}

/* Loss of all experts of a model at one width, as the measurement predicts it. */
static double total_loss(const struct losses *l, size_t width)
{
    double sum = 0;
    for (size_t i = 0; i < l->layers_count; i++)
        for (size_t k = 0; k < PLAN_LINEARS; k++) {
            double layer = l->layers[i].shared.loss[k][width];
            for (size_t e = 0; e < l->experts; e++)
                layer += l->layers[i].experts[e].loss[k][width];
            sum += layer * l->layers[i].sensitivity;
        }
    return sum;
}

static int inspect_losses(json_t *out, const char *path, struct err *err)
{
    struct losses l = {0};
    int rc = losses_load(&l, path, err);
    if (rc < 0)
        return rc;
    json_object_set_new(out, "kind", json_string("losses"));
    json_object_set_new(out, "model", jsonio_bytes(l.model_name));
    json_object_set_new(out, "model_type", json_string(l.model_type));
    json_object_set_new(out, "layers", json_integer((json_int_t)l.layers_count));
    json_object_set_new(out, "experts", json_integer((json_int_t)l.experts));
    json_object_set_new(out, "layers_done", json_integer((json_int_t)l.layers_done));
    json_object_set_new(out, "complete", json_boolean(l.complete));
    json_object_set_new(out, "calibration_positions", json_integer((json_int_t)l.positions));
    for (size_t w = 0; l.complete && w < l.widths_count; w++) {
        char key[32];
        snprintf(key, sizeof key, "predicted_rise_%u_bits", l.widths[w]);
        json_object_set_new(out, key, json_real(total_loss(&l, w)));
    }
    losses_release(&l);
    return 0;
}

static int inspect_tokenizer(json_t *out, const char *path, struct err *err)
{
    struct tokenizer *t = NULL;
    int rc = tokenizer_load(&t, path, err);
    if (rc < 0)
        return rc;
    json_object_set_new(out, "kind", json_string("tokenizer"));
    json_object_set_new(out, "vocab", json_integer((json_int_t)tokenizer_vocab(t)));
    json_object_set_new(out, "sha256", json_string(tokenizer_sha256(t)));
    tokenizer_free(t);
    return 0;
}

static int inspect_safetensors(json_t *out, const char *path, struct err *err)
{
    struct safetensors *s = NULL;
    int rc = safetensors_open(&s, path, err);
    if (rc < 0)
        return rc;
    uint64_t bytes = 0;
    json_t *tensors = json_object();
    for (size_t i = 0; i < safetensors_count(s); i++) {
        const struct tensor_info *info = safetensors_at(s, i);
        char shape[128] = "";
        for (size_t d = 0; d < info->rank; d++) {
            size_t used = strlen(shape);
            snprintf(shape + used, sizeof shape - used, "%s%zu", d ? " x " : " ", info->shape[d]);
        }
        json_object_set_new(tensors, info->name,
                            json_sprintf("%s%s", dtype_name(info->dtype), shape));
        bytes += info->bytes;
    }
    json_object_set_new(out, "kind", json_string("safetensors"));
    json_object_set_new(out, "tensors", json_integer((json_int_t)safetensors_count(s)));
    json_object_set_new(out, "bytes", json_integer((json_int_t)bytes));
    json_object_set_new(out, "content", tensors);
    safetensors_free(s);
    return 0;
}

/* Every weight that the model needs is there in the right shape: a layer at a time is read. */
static int check_layers(const struct model *m, struct err *err)
{
    struct backend *b = NULL;
    int rc = backend_cpu_new(&b, 0, err);
    for (size_t l = 0; rc == 0 && l < m->config->layers; l++) {
        struct model_layer layer = {0};
        rc = model_layer_load(&layer, m, b, l, err);
        if (rc == 0)
            model_layer_release(&layer, b);
    }
    backend_free(b);
    return rc;
}

static int inspect_checkpoint(json_t *out, const char *path, struct err *err)
{
    static const char *const formats[] = {"none", "gptq", "gptq_v2", "moqa"};
    struct model m = {0};
    int rc = model_open(&m, path, err);
    if (rc == 0)
        rc = check_layers(&m, err);
    if (rc == 0) {
        const struct model_config *c = m.config;
        uint64_t bytes = 0, elements = 0;
        for (size_t i = 0; i < checkpoint_count(m.checkpoint); i++) {
            const struct tensor_info *info = checkpoint_at(m.checkpoint, i);
            bytes += info->bytes;
            elements += info->bytes / dtype_size(info->dtype);
        }
        json_object_set_new(out, "kind", json_string("checkpoint"));
        json_object_set_new(out, "model_type", json_string(c->type_name));
        json_object_set_new(out, "layers", json_integer((json_int_t)c->layers));
        json_object_set_new(out, "moe_layers",
                            json_integer((json_int_t)model_config_moe_layers(c)));
        json_object_set_new(out, "hidden", json_integer((json_int_t)c->hidden));
        json_object_set_new(out, "heads", json_integer((json_int_t)c->heads));
        json_object_set_new(out, "kv_heads", json_integer((json_int_t)c->kv_heads));
        json_object_set_new(out, "experts", json_integer((json_int_t)c->experts));
        json_object_set_new(out, "top_k", json_integer((json_int_t)c->top_k));
        json_object_set_new(out, "expert_size", json_integer((json_int_t)c->expert_size));
        json_object_set_new(out, "shared_size", json_integer((json_int_t)c->shared_size));
        json_object_set_new(out, "vocab", json_integer((json_int_t)c->vocab));
        json_object_set_new(out, "max_positions", json_integer((json_int_t)c->max_positions));
        json_object_set_new(out, "dtype", json_string(dtype_name(c->dtype)));
        json_object_set_new(out, "quantization",
                            json_string(formats[checkpoint_quantization(m.checkpoint)]));
        json_object_set_new(out, "tensors",
                            json_integer((json_int_t)checkpoint_count(m.checkpoint)));
        json_object_set_new(out, "elements", json_integer((json_int_t)elements));
        json_object_set_new(out, "bytes", json_integer((json_int_t)bytes));
        json_object_set_new(out, "tokenizer", json_boolean(m.tokenizer != NULL));
    }
    model_release(&m);
    return rc;
}

static int inspect_json(json_t *out, const char *path, struct err *err)
{
    json_t *object = NULL;
    int rc = jsonio_load(&object, path, JSON_LIMIT, err);
    if (rc < 0)
        return rc;
    bool tokenizer = jsonio_has(object, "model") && jsonio_has(object, "added_tokens");
    const char *schema = json_string_value(json_object_get(object, "schema"));
    bool losses = schema && strcmp(schema, "moqa.losses") == 0;
    bool plan = jsonio_has(object, "schema");
    json_decref(object);
    if (losses)
        return inspect_losses(out, path, err);
    if (plan)
        return inspect_plan(out, path, err);
    if (tokenizer)
        return inspect_tokenizer(out, path, err);
    return err_set(err, ERR_INPUT, path, "is neither a plan nor losses nor a tokenizer.json");
}

static bool ends_with(const char *text, const char *end)
{
    size_t a = strlen(text), b = strlen(end);
    return a >= b && strcmp(text + a - b, end) == 0;
}

static int inspect(json_t *out, const char *path, struct err *err)
{
    struct stat st;
    if (stat(path, &st) < 0)
        return err_set_errno(err, ERR_INPUT, path, "cannot open");
    if (S_ISDIR(st.st_mode))
        return inspect_checkpoint(out, path, err);
    if (trace_h5_probe(path) || ends_with(path, ".h5") || ends_with(path, ".hdf5"))
        return inspect_trace(out, path, err);
    if (ends_with(path, ".safetensors"))
        return inspect_safetensors(out, path, err);
    return inspect_json(out, path, err);
}

/* The tokenizer of a checkpoint folder, or a tokenizer.json itself. */
static int encode(json_t *out, const struct arguments *a, struct err *err)
{
    struct stat st;
    struct tokenizer *t = NULL;
    struct token_ids ids = {0};
    bool folder = stat(a->path, &st) == 0 && S_ISDIR(st.st_mode);
    char *path = folder ? str_path(a->path, "tokenizer.json", err) : NULL;
    if (folder && !path)
        return ERR_NOMEM;
    int rc = tokenizer_load(&t, folder ? path : a->path, err);
    if (rc == 0)
        rc = texts_encode(&ids, t, &a->encode, 1, err);
    if (rc == 0) {
        json_t *list = json_array();
        for (size_t i = 0; i < ids.count; i++)
            json_array_append_new(list, json_integer(ids.data[i]));
        json_object_set_new(out, "ids", list);
    }
    token_ids_release(&ids);
    tokenizer_free(t);
    free(path);
    return rc;
}

/* The CPU, and the GPUs or why there are none. */
static int inspect_devices(json_t *out, struct err *err)
{
    struct cuda_device list[DEVICES_MAX];
    struct err refused = {0};
    struct backend *cpu = NULL;
    size_t count;
    char text[ERR_MESSAGE_MAX];
    int rc = backend_cpu_new(&cpu, 0, err);
    if (rc < 0)
        return rc;
    cpu->ops->describe(cpu, text, sizeof text);
    backend_free(cpu);
    json_object_set_new(out, "kind", json_string("devices"));
    json_object_set_new(out, "cpu", json_string(text));
    json_t *gpus = json_object();
    if (cuda_load_devices(list, DEVICES_MAX, &count, &refused) < 0) {
        err_format(text, sizeof text, &refused);
        json_object_set_new(out, "no_gpu", json_string(text));
        count = 0;
    }
    for (size_t i = 0; i < count && i < DEVICES_MAX; i++) {
        const struct cuda_device *d = &list[i];
        json_t *o = json_pack(
            "{s:s,s:s,s:f,s:f}", "name", d->name, "usable", d->unusable[0] ? d->unusable : "yes",
            "memory_gib", (double)d->memory_total / GIB, "free_gib", (double)d->memory_free / GIB);
        char number[16];
        snprintf(number, sizeof number, "%zu", i);
        json_object_set_new(o, "capability", json_sprintf("%u.%u", d->major, d->minor));
        json_object_set_new(gpus, number, o);
    }
    if (count)
        json_object_set(out, "gpus", gpus);
    json_decref(gpus);
    return 0;
}

static void append_value(struct str *text, const json_t *value)
{
    if (json_is_string(value)) {
        char line[1024];
        sanitize(line, sizeof line, json_string_value(value), json_string_length(value));
        str_append(text, line);
    } else {
        char *dump = json_dumps(value, JSON_ENCODE_ANY | JSON_REAL_PRECISION(6));
        str_append(text, dump ? dump : "?");
        free(dump);
    }
}

/* "name   value" a line; a nested object as a block, a list of ids on one line. */
static void append_lines(struct str *text, json_t *object, const char *indent)
{
    const char *key;
    json_t *value;
    json_object_foreach(object, key, value)
    {
        char name[512];
        sanitize(name, sizeof name, key, strlen(key));
        if (json_is_object(value)) {
            str_appendf(text, "%s%s\n", indent, name);
            append_lines(text, value, "  ");
        } else if (json_is_array(value)) {
            size_t i;
            json_t *item;
            json_array_foreach(value, i, item) str_appendf(text, "%s%" JSON_INTEGER_FORMAT,
                                                           i ? " " : "", json_integer_value(item));
            str_append(text, "\n");
        } else {
            str_appendf(text, "%s%-16s ", indent, name);
            append_value(text, value);
            str_append(text, "\n");
        }
    }
}

static int print(json_t *object, bool as_json, struct err *err)
{
    struct str text = {0};
    if (as_json) {
        char *dump = json_dumps(object, JSON_COMPACT | JSON_REAL_PRECISION(17));
        str_append(&text, dump ? dump : "");
        str_append(&text, "\n");
        free(dump);
    } else {
        append_lines(&text, object, "");
    }
    int rc = str_ok(&text, err);
    if (rc == 0)
        rc = cli_print(text.data, err);
    str_release(&text);
    return rc;
}

int cmd_inspect(int argc, char **argv, struct err *err)
{
    struct arguments a = {0};
    int rc = cli_parse(&cmd_inspect_spec, argc, argv, &a, NULL, err);
    if (rc < 0)
        return rc;
    if (!a.path == !a.devices)
        return err_set(err, ERR_USAGE, NULL,
                       a.devices ? "--devices stands alone"
                                 : "FILE|DIR is missing; see moqa inspect --help");
    if (a.devices && a.encode)
        return err_set(err, ERR_USAGE, NULL, "--encode needs a tokenizer or checkpoint");
    json_t *object = json_object();
    if (!object)
        return err_set(err, ERR_NOMEM, NULL, "no memory for the result");
    if (a.json && !a.encode) {
        json_object_set_new(object, "schema", json_string("moqa.inspect"));
        json_object_set_new(object, "schema_version", json_integer(1));
    }
    rc = a.devices  ? inspect_devices(object, err)
         : a.encode ? encode(object, &a, err)
                    : inspect(object, a.path, err);
    if (rc == 0)
        rc = print(object, a.json, err);
    json_decref(object);
    return rc;
}
