#include "data/checkpoint.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "data/base/jsonio.h"
#include "data/base/mem.h"
#include "data/base/str.h"
#include "data/quant_config.h"

#define SINGLE_NAME "model.safetensors"
#define INDEX_NAME "model.safetensors.index.json"

enum {
    CONFIG_BYTES_MAX = 4 << 20,
    INDEX_BYTES_MAX = 32 << 20,
    SHARDS_MAX = 4096,
    SHARD_NAME_MAX = 255
};

struct checkpoint {
    char *dir;
    char *name;
    int fd; /* of the folder */
    struct model_config config;
    struct quant_config *quant;
    struct safetensors **shards;
    char **shard_names;
    size_t shards_count, shards_room, names_room;
    const struct tensor_info **tensors; /* of all shards, sorted by name */
    size_t count;
    char fingerprint[HASH_HEX_SIZE];
};

/* --- Shards --- */

static int check_shard_name(const char *name, const char *file, struct err *err)
{
    static const char suffix[] = ".safetensors";
    size_t length = strlen(name), tail = sizeof suffix - 1;
    bool good = length > tail && length <= SHARD_NAME_MAX && !strchr(name, '/') &&
                strcmp(name + length - tail, suffix) == 0;
    for (const char *p = name; *p; p++)
        good = good && (unsigned char)*p >= 0x20 && *p != 0x7f;
    if (good)
        return 0;
    return err_set(err, ERR_INPUT, file,
                   "weight_map: found the file name \"%.300s\", expected NAME.safetensors in the "
                   "same folder",
                   name);
}

static int open_shard(struct checkpoint *c, const char *name, struct err *err)
{
    int rc =
        mem_grow((void **)&c->shards, &c->shards_room, c->shards_count + 1, sizeof *c->shards, err);
    if (rc == 0)
        rc = mem_grow((void **)&c->shard_names, &c->names_room, c->shards_count + 1,
                      sizeof *c->shard_names, err);
    if (rc < 0)
        return rc;
    char *path = str_path(c->dir, name, err), *copy = mem_strdup(name, err);
    int fd = -1;
    rc = path && copy ? 0 : ERR_NOMEM;
    if (rc == 0) {
        fd = openat(c->fd, name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
        if (fd < 0 && errno == ELOOP)
            rc = err_set(err, ERR_INPUT, path,
                         "a symbolic link; expected the file itself in the folder (a download "
                         "cache links to its files: copy them)");
        else if (fd < 0)
            rc = err_set_errno(err, ERR_INPUT, path, "cannot open");
    }
    if (rc == 0)
        rc = safetensors_open_fd(&c->shards[c->shards_count], fd, path, err);
    if (rc == 0)
        c->shard_names[c->shards_count++] = copy;
    else
        free(copy);
    free(path);
    return rc;
}

static struct safetensors *find_shard(const struct checkpoint *c, const char *name)
{
    for (size_t i = 0; i < c->shards_count; i++) {
        if (strcmp(c->shard_names[i], name) == 0)
            return c->shards[i];
    }
    return NULL;
}

static int open_listed(struct checkpoint *c, const json_t *map, const char *path, struct err *err)
{
    const char *tensor;
    json_t *value;
    struct jsonio_at at = {path, "weight_map"};
    struct safetensors *shard = NULL;
    json_object_foreach((json_t *)map, tensor, value)
    {
        const char *name;
        int rc = jsonio_string(&name, map, tensor, at, err);
        if (rc == 0)
            rc = check_shard_name(name, path, err);
        if (rc < 0)
            return rc;
        shard = find_shard(c, name);
        if (!shard) {
            if (c->shards_count == SHARDS_MAX)
                return err_set(err, ERR_UNSUPPORTED, path, "more than %d shards", SHARDS_MAX);
            rc = open_shard(c, name, err);
            if (rc < 0)
                return rc;
            shard = c->shards[c->shards_count - 1];
        }
        if (!safetensors_find(shard, tensor))
            return err_set(err, ERR_INPUT, path,
                           "tensor \"%s\": expected in %s, which does not have it", tensor, name);
    }
    return 0;
}

static int open_index(struct checkpoint *c, struct err *err)
{
    json_t *root = NULL, *map;
    char *path = str_path(c->dir, INDEX_NAME, err);
    if (!path)
        return ERR_NOMEM;
    int rc = jsonio_load(&root, path, INDEX_BYTES_MAX, err);
    if (rc == 0)
        rc = jsonio_object(&map, root, "weight_map", (struct jsonio_at){path, ""}, err);
    if (rc == 0)
        rc = open_listed(c, map, path, err);
    json_decref(root);
    free(path);
    return rc;
}

bool checkpoint_has_weights(const char *dir)
{
    static const char *const names[] = {SINGLE_NAME, INDEX_NAME};
    bool found = false;
    for (size_t i = 0; !found && i < sizeof names / sizeof *names; i++) {
        char *path = str_path(dir, names[i], NULL);
        found = path && access(path, F_OK) == 0;
        free(path);
    }
    return found;
}

static int open_shards(struct checkpoint *c, struct err *err)
{
    struct stat st;
    if (fstatat(c->fd, SINGLE_NAME, &st, AT_SYMLINK_NOFOLLOW) == 0)
        return open_shard(c, SINGLE_NAME, err);
    if (fstatat(c->fd, INDEX_NAME, &st, AT_SYMLINK_NOFOLLOW) == 0)
        return open_index(c, err);
    return err_set(err, ERR_INPUT, c->dir, "found neither %s nor %s in the folder", SINGLE_NAME,
                   INDEX_NAME);
}

/* --- All tensors --- */

static int compare_name(const void *a, const void *b)
{
    const struct tensor_info *const *x = a, *const *y = b;
    return strcmp((*x)->name, (*y)->name);
}

static const struct safetensors *owner(const struct checkpoint *c, const struct tensor_info *info)
{
    for (size_t i = 0; i < c->shards_count; i++) {
        if (safetensors_owns(c->shards[i], info))
            return c->shards[i];
    }
    return NULL;
}

static int gather_tensors(struct checkpoint *c, struct err *err)
{
    size_t total = 0;
    for (size_t i = 0; i < c->shards_count; i++)
        total += safetensors_count(c->shards[i]);
    c->tensors = mem_array(total, sizeof *c->tensors, err);
    if (!c->tensors)
        return ERR_NOMEM;
    for (size_t i = 0; i < c->shards_count; i++) {
        for (size_t j = 0; j < safetensors_count(c->shards[i]); j++)
            c->tensors[c->count++] = safetensors_at(c->shards[i], j);
    }
    qsort(c->tensors, c->count, sizeof *c->tensors, compare_name);
    for (size_t i = 1; i < c->count; i++) {
        if (strcmp(c->tensors[i - 1]->name, c->tensors[i]->name) == 0)
            return err_set(err, ERR_INPUT, safetensors_path(owner(c, c->tensors[i])),
                           "tensor \"%s\" is also in %s", c->tensors[i]->name,
                           safetensors_path(owner(c, c->tensors[i - 1])));
    }
    return 0;
}

/* As transformers does where config.json names no type. */
static void guess_dtype(struct checkpoint *c)
{
    for (size_t i = 0; i < c->count && !c->config.has_dtype; i++) {
        if (c->tensors[i]->rank > 1 && dtype_is_float(c->tensors[i]->dtype)) {
            c->config.dtype = c->tensors[i]->dtype;
            return;
        }
    }
}

/* Over config.json, names of the shards, and what `add` tells of each. */
static int hash_shards(char out[HASH_HEX_SIZE], const struct checkpoint *c,
                       int (*add)(const struct safetensors *, struct hash *, struct err *),
                       struct err *err)
{
    struct hash *h = NULL;
    int rc = hash_new(&h, err);
    if (rc == 0)
        rc = hash_update(h, c->config.sha256, strlen(c->config.sha256), err);
    for (size_t i = 0; i < c->shards_count && rc == 0; i++) {
        const char *name = c->shard_names[i];
        rc = hash_update(h, name, strlen(name) + 1, err);
        if (rc == 0)
            rc = add(c->shards[i], h, err);
    }
    if (rc == 0)
        rc = hash_finish(h, out, err);
    hash_free(h);
    return rc;
}

int checkpoint_stamp(char out[HASH_HEX_SIZE], const struct checkpoint *c, struct err *err)
{
    return hash_shards(out, c, safetensors_stamp, err);
}

/* --- The folder --- */

static int load_config(struct checkpoint *c, struct err *err)
{
    json_t *root = NULL;
    char *path = str_path(c->dir, "config.json", err);
    if (!path)
        return ERR_NOMEM;
    int rc = model_config_load(&c->config, path, err);
    if (rc == 0)
        rc = jsonio_load(&root, path, CONFIG_BYTES_MAX, err);
    if (rc == 0)
        rc = quant_config_parse(&c->quant, root, path, err);
    json_decref(root);
    free(path);
    return rc;
}

/* The folder's own name, also for "." and "dir/..". */
static char *folder_name(const char *dir, struct err *err)
{
    char *real = realpath(dir, NULL), *name;
    if (!real) {
        err_set_errno(err, ERR_INPUT, dir, "cannot resolve the path");
        return NULL;
    }
    name = mem_strdup(real[1] ? strrchr(real, '/') + 1 : "/", err);
    free(real);
    return name;
}

static int open_folder(struct checkpoint *c, const char *dir, struct err *err)
{
    c->dir = mem_strdup(dir, err);
    if (!c->dir)
        return ERR_NOMEM;
    c->fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (c->fd < 0)
        return err_set_errno(err, ERR_INPUT, dir, "cannot open the model's folder");
    c->name = folder_name(dir, err);
    return c->name ? 0 : ERR_INPUT;
}

int checkpoint_open(struct checkpoint **out, const char *dir, struct err *err)
{
    *out = NULL;
    struct checkpoint *c = mem_array(1, sizeof *c, err);
    if (!c)
        return ERR_NOMEM;
    c->fd = -1;
    int rc = open_folder(c, dir, err);
    if (rc == 0)
        rc = load_config(c, err);
    if (rc == 0)
        rc = open_shards(c, err);
    if (rc == 0)
        rc = gather_tensors(c, err);
    if (rc == 0)
        rc = hash_shards(c->fingerprint, c, safetensors_digest, err);
    if (rc < 0) {
        checkpoint_free(c);
        return rc;
    }
    guess_dtype(c);
    *out = c;
    return 0;
}

void checkpoint_free(struct checkpoint *c)
{
    if (!c)
        return;
    for (size_t i = 0; i < c->shards_count; i++) {
        safetensors_free(c->shards[i]);
        free(c->shard_names[i]);
    }
    if (c->fd >= 0)
        close(c->fd);
    quant_config_free(c->quant);
    free(c->shards);
    free(c->shard_names);
    free(c->tensors);
    free(c->name);
    free(c->dir);
    free(c);
}

const struct model_config *checkpoint_config(const struct checkpoint *c)
{
    return &c->config;
}

const char *checkpoint_dir(const struct checkpoint *c)
{
    return c->dir;
}

const char *checkpoint_name(const struct checkpoint *c)
{
    return c->name;
}

const struct tensor_info *checkpoint_find(const struct checkpoint *c, const char *name)
{
    const struct tensor_info key = {.name = name}, *wanted = &key;
    const struct tensor_info **found =
        bsearch(&wanted, c->tensors, c->count, sizeof *c->tensors, compare_name);
    return found ? *found : NULL;
}

size_t checkpoint_count(const struct checkpoint *c)
{
    return c->count;
}

const struct tensor_info *checkpoint_at(const struct checkpoint *c, size_t i)
{
    return c->tensors[i];
}

int checkpoint_read(const struct checkpoint *c, const struct tensor_info *info, void *out,
                    struct err *err)
{
    const struct safetensors *shard = owner(c, info);
    if (!shard)
        return err_set(err, ERR_USAGE, c->dir, "tensor \"%s\" is not of this checkpoint",
                       info->name);
    return safetensors_read(shard, info, out, err);
}

static void print_shape(char *out, size_t size, const size_t *shape, size_t rank)
{
    size_t used = 0;
    used += (size_t)snprintf(out, size, "[");
    for (size_t i = 0; i < rank && used < size; i++)
        used += (size_t)snprintf(out + used, size - used, "%s%zu", i ? ", " : "", shape[i]);
    if (used < size)
        snprintf(out + used, size - used, "]");
}

static int check_shape(const struct checkpoint *c, const struct tensor_info *t, const size_t *shape,
                       size_t rank, struct err *err)
{
    char found[256], expected[256];
    if (t->rank == rank && (rank == 0 || memcmp(t->shape, shape, rank * sizeof *shape) == 0))
        return 0;
    print_shape(found, sizeof found, t->shape, t->rank);
    print_shape(expected, sizeof expected, shape, rank);
    return err_set(err, ERR_INPUT, safetensors_path(owner(c, t)),
                   "tensor \"%s\": found shape %s, expected %s", t->name, found, expected);
}

int checkpoint_read_float(const struct checkpoint *c, const char *name, const size_t *shape,
                          size_t rank, float *out, struct err *err)
{
    const struct tensor_info *t = checkpoint_find(c, name);
    if (!t)
        return err_set(err, ERR_INPUT, c->dir, "tensor \"%s\" is missing", name);
    int rc = check_shape(c, t, shape, rank, err);
    if (rc < 0)
        return rc;
    if (!dtype_is_float(t->dtype))
        return err_set(err, ERR_INPUT, safetensors_path(owner(c, t)),
                       "tensor \"%s\": found type %s, expected F64, F32, F16 or BF16", name,
                       dtype_name(t->dtype));
    if (t->dtype == DTYPE_F32)
        return checkpoint_read(c, t, out, err);
    void *raw = mem_aligned((size_t)t->bytes, 1, err);
    if (!raw)
        return ERR_NOMEM;
    rc = checkpoint_read(c, t, raw, err);
    if (rc == 0)
        rc = dtype_to_float(out, raw, t->dtype, (size_t)t->bytes / dtype_size(t->dtype), err);
    free(raw);
    return rc;
}

enum checkpoint_format checkpoint_quantization(const struct checkpoint *c)
{
    return quant_config_format(c->quant);
}

static const struct tensor_info *find_part(const struct checkpoint *c, const char *linear,
                                           const char *suffix, struct err *err)
{
    struct str name = {0};
    const struct tensor_info *found = NULL;
    str_appendf(&name, "%s.%s", linear, suffix);
    if (str_ok(&name, err) == 0)
        found = checkpoint_find(c, str_get(&name));
    str_release(&name);
    return found;
}

int checkpoint_linear_config(const struct checkpoint *c, const char *linear,
                             struct checkpoint_linear *out, struct err *err)
{
    bool packed = find_part(c, linear, "qweight", err) != NULL;
    int rc = quant_config_linear(c->quant, linear, out, err);
    if (rc < 0)
        return rc;
    if (packed && out->quantized)
        return 0;
    if (packed)
        return err_set(err, ERR_INPUT, c->dir,
                       "tensor \"%s.qweight\": the checkpoint has it, but quantization_config of "
                       "config.json does not count this linear as quantized",
                       linear);
    /* A reader of the gptq layout takes a linear that still has its weight for a plain one. */
    bool named = out->quantized && quant_config_format(c->quant) == CHECKPOINT_MOQA;
    if (named || !find_part(c, linear, "weight", err))
        return err_set(err, ERR_INPUT, c->dir, "tensor \"%s.%s\" is missing", linear,
                       out->quantized ? "qweight" : "weight");
    *out = (struct checkpoint_linear){0};
    return 0;
}

const char *checkpoint_fingerprint(const struct checkpoint *c)
{
    return c->fingerprint;
}
