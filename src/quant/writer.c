#include "src/quant/writer.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "data/base/jsonio.h"
#include "data/base/mem.h"
#include "data/base/parallel.h"

static const size_t config_limit = (size_t)16 << 20;
static const size_t copy_limit = (size_t)256 << 20;

/* --- Formats --- */

static int encode_packed(struct packed_tensors *out, const struct packed_linear *p,
                         const char *linear, enum checkpoint_format checkpoint, enum dtype dtype,
                         struct err *err)
{
    (void)dtype;
    return packed_encode(out, p, linear, checkpoint, err);
}

static void store(void *out, size_t i, float value, enum dtype dtype)
{
    if (dtype == DTYPE_F64)
        ((double *)out)[i] = (double)value;
    else if (dtype == DTYPE_F32)
        ((float *)out)[i] = value;
    else
        ((uint16_t *)out)[i] =
            dtype == DTYPE_F16 ? dtype_float_to_f16(value) : dtype_float_to_bf16(value);
}

static int encode_plain(struct packed_tensors *out, const struct packed_linear *p,
                        const char *linear, enum checkpoint_format checkpoint, enum dtype dtype,
                        struct err *err)
{
    (void)checkpoint;
    *out = (struct packed_tensors){.count = 1};
    struct str name = {0};
    size_t count = p->in * p->out;
    float *w = mem_array(count, sizeof *w, err);
    void *data = mem_array(count, dtype_size(dtype), err);
    str_appendf(&name, "%s.weight", linear);
    out->data[0] = data;
    out->spec[0] = (struct safetensors_spec){name.data, dtype, 2, {p->out, p->in}};
    out->bytes[0] = count * dtype_size(dtype);
    int rc = w && data ? str_ok(&name, err) : ERR_NOMEM;
    if (rc == 0) {
        packed_dequantize(p, w);
        for (size_t i = 0; i < count; i++)
            store(data, i, w[i], dtype);
    } else {
        packed_tensors_release(out);
    }
    free(w);
    return rc;
}

const struct writer_format writer_formats[PASS_FORMAT_COUNT] = {
    [PASS_MOQA] = {CHECKPOINT_MOQA, true, false, 0, false, encode_packed},
    [PASS_GPTQ] = {CHECKPOINT_GPTQ, false, true, 32, true, encode_packed},
    [PASS_GPTQ_V2] = {CHECKPOINT_GPTQ_V2, false, false, 32, true, encode_packed},
    [PASS_HF] = {CHECKPOINT_PLAIN, true, false, 0, false, encode_plain},
};

bool writer_keeps_codes(enum pass_format format, enum dtype dtype)
{
    return writer_formats[format].checkpoint != CHECKPOINT_PLAIN || dtype_size(dtype) >= 4;
}

void writer_dequantize(float *out, enum pass_format format, const struct packed_linear *p,
                       enum dtype dtype)
{
    packed_dequantize(p, out);
    if (writer_keeps_codes(format, dtype))
        return;
    bool half = dtype == DTYPE_F16;
    for (size_t i = 0; i < p->in * p->out; i++)
        out[i] = half ? dtype_f16_to_float(dtype_float_to_f16(out[i]))
                      : dtype_bf16_to_float(dtype_float_to_bf16(out[i]));
}

int writer_list_reserve(struct writer_list *list, size_t more, struct err *err)
{
    void *items = list->items;
    int rc = mem_grow(&items, &list->capacity, list->count + more, sizeof *list->items, err);
    list->items = items;
    if (rc < 0)
        return rc;
    for (size_t i = 0; i < more; i++)
        list->items[list->count++] = (struct writer_linear){0};
    return 0;
}

int writer_list_encode(struct writer_list *list, size_t i, enum pass_format format,
                       const struct packed_linear *p, const char *linear, enum dtype dtype,
                       struct err *err)
{
    struct writer_linear *item = &list->items[i];
    const struct writer_format *f = &writer_formats[format];
    snprintf(item->name, sizeof item->name, "%s", linear);
    return f->encode(&item->tensors, p, linear, f->checkpoint, dtype, err);
}

void writer_list_defer(struct writer_list *list, size_t i, struct packed_linear *p,
                       const char *linear, enum dtype dtype)
{
    struct writer_linear *item = &list->items[i];
    *item = (struct writer_linear){.deferred = true, .packed = *p, .dtype = dtype};
    snprintf(item->name, sizeof item->name, "%s", linear);
    *p = (struct packed_linear){0};
}

struct encode_job {
    struct writer_list *list;
    enum pass_format format;
    struct err *err; /* [list->count] */
};

static void encode_item(void *context, size_t i, size_t worker)
{
    (void)worker;
    const struct encode_job *job = context;
    struct writer_linear *item = &job->list->items[i];
    const struct writer_format *f = &writer_formats[job->format];
    if (!item->deferred || f->encode(&item->tensors, &item->packed, item->name, f->checkpoint,
                                     item->dtype, &job->err[i]) < 0)
        return;
    item->deferred = false;
    packed_release(&item->packed);
}

int writer_list_encode_deferred(struct writer_list *list, enum pass_format format,
                                struct parallel *pool, struct err *err)
{
    struct encode_job job = {list, format, mem_array(list->count, sizeof *job.err, err)};
    if (!job.err)
        return ERR_NOMEM;
    parallel_for(pool, list->count, encode_item, &job);
    int rc = 0;
    for (size_t i = 0; rc == 0 && i < list->count; i++) {
        rc = (int)job.err[i].code;
        if (rc && err)
            *err = job.err[i];
    }
    free(job.err);
    return rc;
}

void writer_list_release(struct writer_list *list)
{
    for (size_t i = 0; i < list->count; i++) {
        packed_tensors_release(&list->items[i].tensors);
        packed_release(&list->items[i].packed);
    }
    free(list->items);
    *list = (struct writer_list){0};
}

/* --- Shards --- */

void writer_shard_name(char out[WRITER_NAME_MAX], size_t shard, size_t shards)
{
    snprintf(out, WRITER_NAME_MAX, "model-%05zu-of-%05zu.safetensors", shard + 1, shards);
}

bool writer_layer_of(const char *tensor, size_t *layer)
{
    static const char prefix[] = "model.layers.";
    if (strncmp(tensor, prefix, sizeof prefix - 1) != 0)
        return false;
    const char *digits = tensor + sizeof prefix - 1;
    char *end;
    errno = 0;
    unsigned long value = strtoul(digits, &end, 10);
    if (end == digits || *end != '.' || *digits < '0' || *digits > '9' || errno)
        return false;
    *layer = value;
    return true;
}

static const struct writer_linear *find_linear(const struct writer_list *list, const char *tensor)
{
    static const char suffix[] = ".weight";
    size_t length = strlen(tensor);
    if (!list || length < sizeof suffix || strcmp(tensor + length + 1 - sizeof suffix, suffix) != 0)
        return NULL;
    length -= sizeof suffix - 1;
    for (size_t i = 0; i < list->count; i++)
        if (strlen(list->items[i].name) == length &&
            strncmp(list->items[i].name, tensor, length) == 0)
            return &list->items[i];
    return NULL;
}

/* One tensor of a shard: kept from the checkpoint, or made here. */
struct source {
    const struct tensor_info *kept; /* NULL: data */
    const void *data;
    size_t bytes;
};

struct shard {
    struct source *sources;
    struct safetensors_spec *specs;
    size_t count, source_capacity, spec_capacity;
};

static int shard_add(struct shard *s, const struct safetensors_spec *spec,
                     const struct source *source, struct err *err)
{
    void *specs = s->specs, *sources = s->sources;
    int rc = mem_grow(&specs, &s->spec_capacity, s->count + 1, sizeof *s->specs, err);
    s->specs = specs;
    if (rc == 0)
        rc = mem_grow(&sources, &s->source_capacity, s->count + 1, sizeof *s->sources, err);
    s->sources = sources;
    if (rc < 0)
        return rc;
    s->specs[s->count] = *spec;
    s->sources[s->count++] = *source;
    return 0;
}

static int collect(struct shard *s, const struct checkpoint *c, size_t shard,
                   const struct writer_list *list, struct err *err)
{
    size_t layers = checkpoint_config(c)->layers;
    int rc = 0;
    for (size_t i = 0; rc == 0 && i < checkpoint_count(c); i++) {
        const struct tensor_info *t = checkpoint_at(c, i);
        size_t layer = layers;
        if (!writer_layer_of(t->name, &layer) || layer >= layers)
            layer = layers;
        if (layer != shard)
            continue;
        const struct writer_linear *l = find_linear(list, t->name);
        for (size_t k = 0; l && rc == 0 && k < l->tensors.count; k++) {
            struct source made = {NULL, l->tensors.data[k], l->tensors.bytes[k]};
            rc = shard_add(s, &l->tensors.spec[k], &made, err);
        }
        if (l)
            continue;
        struct safetensors_spec spec = {.name = t->name, .dtype = t->dtype, .rank = t->rank};
        memcpy(spec.shape, t->shape, sizeof spec.shape);
        rc = shard_add(s, &spec, &(struct source){.kept = t, .bytes = (size_t)t->bytes}, err);
    }
    return rc;
}

static int write_source(struct safetensors_writer *w, const struct checkpoint *c,
                        const struct source *s, struct err *err)
{
    if (!s->kept)
        return safetensors_writer_add(w, s->data, s->bytes, err);
    void *bytes = mem_array(s->bytes, 1, err);
    int rc = bytes ? checkpoint_read(c, s->kept, bytes, err) : ERR_NOMEM;
    if (rc == 0)
        rc = safetensors_writer_add(w, bytes, s->bytes, err);
    free(bytes);
    return rc;
}

int writer_shard(const struct checkpoint *c, const char *out, size_t shard,
                 const struct writer_list *list, struct err *err)
{
    struct shard s = {0};
    struct safetensors_writer *w = NULL;
    char name[WRITER_NAME_MAX];
    writer_shard_name(name, shard, checkpoint_config(c)->layers + 1);
    char *path = str_path(out, name, err);
    int rc = path ? collect(&s, c, shard, list, err) : ERR_NOMEM;
    if (rc == 0)
        rc = safetensors_writer_new(&w, path, s.specs, s.count, err);
    for (size_t i = 0; rc == 0 && i < s.count; i++)
        rc = write_source(w, c, &s.sources[i], err);
    if (rc == 0)
        rc = safetensors_writer_finish(w, err);
    else
        safetensors_writer_free(w);
    free(s.specs);
    free(s.sources);
    free(path);
    return rc;
}

/* --- Everything else --- */

static int index_shard(json_t *map, uint64_t *total, const char *out, const char *name,
                       struct err *err)
{
    struct safetensors *file = NULL;
    char *path = str_path(out, name, err);
    int rc = path ? safetensors_open(&file, path, err) : ERR_NOMEM;
    for (size_t i = 0; rc == 0 && i < safetensors_count(file); i++) {
        const struct tensor_info *t = safetensors_at(file, i);
        *total += t->bytes;
        if (json_object_set_new(map, t->name, json_string(name)) < 0)
            rc = err_set(err, ERR_NOMEM, NULL, "no memory for the index");
    }
    safetensors_free(file);
    free(path);
    return rc;
}

int writer_index(const char *out, size_t shards, struct err *err)
{
    json_t *map = json_object();
    uint64_t total = 0;
    int rc = map ? 0 : err_set(err, ERR_NOMEM, NULL, "no memory for the index");
    for (size_t i = 0; rc == 0 && i < shards; i++) {
        char name[WRITER_NAME_MAX];
        writer_shard_name(name, i, shards);
        rc = index_shard(map, &total, out, name, err);
    }
    json_t *root = rc == 0 ? json_pack("{s:{s:I},s:O}", "metadata", "total_size", (json_int_t)total,
                                       "weight_map", map)
                           : NULL;
    char *path = str_path(out, "model.safetensors.index.json", err);
    if (rc == 0)
        rc = root && path ? jsonio_save(root, path, err)
                          : err_set(err, ERR_NOMEM, NULL, "no memory for the index");
    free(path);
    json_decref(root);
    json_decref(map);
    return rc;
}

static bool holds(const char *path, const char *text, size_t size)
{
    char *found = NULL;
    size_t found_size = 0;
    bool same = access(path, F_OK) == 0 &&
                str_read_file(&found, &found_size, path, copy_limit, NULL) == 0 &&
                found_size == size && memcmp(found, text, size) == 0;
    free(found);
    return same;
}

static int copy_file(const char *from, const char *out, const char *name, struct err *err)
{
    char *source = str_path(from, name, err), *target = str_path(out, name, err), *text = NULL;
    size_t size = 0;
    int rc = source && target ? 0 : ERR_NOMEM;
    if (rc == 0 && access(source, F_OK) == 0) {
        rc = str_read_file(&text, &size, source, copy_limit, err);
        if (rc == 0 && !holds(target, text, size))
            rc = atomic_file_save(target, text, size, err);
    }
    free(text);
    free(source);
    free(target);
    return rc;
}

int writer_copy(const char *from, const char *out, struct err *err)
{
    static const char *const names[] = {"tokenizer.json",
                                        "tokenizer_config.json",
                                        "special_tokens_map.json",
                                        "added_tokens.json",
                                        "tokenizer.model",
                                        "vocab.json",
                                        "merges.txt",
                                        "chat_template.jinja",
                                        "chat_template.json",
                                        "generation_config.json"};
    int rc = 0;
    for (size_t i = 0; rc == 0 && i < sizeof names / sizeof *names; i++)
        rc = copy_file(from, out, names[i], err);
    return rc;
}

static int save_in(const json_t *value, const char *out, const char *name, struct err *err)
{
    char *path = str_path(out, name, err);
    int rc = path ? jsonio_save(value, path, err) : ERR_NOMEM;
    free(path);
    return rc;
}

int writer_config(const char *from, const char *out, enum pass_format format, size_t group_size,
                  const struct quant_module *modules, size_t count, struct err *err)
{
    const struct writer_format *f = &writer_formats[format];
    json_t *config = NULL, *field = NULL;
    char *path = str_path(from, "config.json", err);
    int rc = path ? jsonio_load(&config, path, config_limit, err) : ERR_NOMEM;
    if (rc == 0 && count && f->checkpoint != CHECKPOINT_PLAIN) {
        rc = quant_config_build(&field, f->checkpoint, group_size, modules, count, err);
        if (rc == 0 && f->config_file)
            rc = save_in(field, out, "quantize_config.json", err);
        if (rc == 0 && json_object_set(config, "quantization_config", field) < 0)
            rc = err_set(err, ERR_NOMEM, NULL, "no memory for quantization_config");
    }
    if (rc == 0)
        rc = save_in(config, out, "config.json", err);
    json_decref(field);
    json_decref(config);
    free(path);
    return rc;
}
