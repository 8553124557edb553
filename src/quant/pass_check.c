/* What a run would do, and everything that is refused before it starts. */
#include <limits.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>

#include "data/base/log.h"
#include "data/base/mem.h"
#include "src/quant/pass_internal.h"

const struct plan_layer *pass_plan_layer(const struct pass_options *o, size_t layer)
{
    for (size_t i = 0; i < o->plan->layers_count; i++)
        if (o->plan->layers[i].layer == layer)
            return &o->plan->layers[i];
    return NULL;
}

static bool is_routed(enum model_linear linear)
{
    return linear == LINEAR_GATE || linear == LINEAR_UP || linear == LINEAR_DOWN;
}

struct pass_bits pass_bits_of(const struct pass_options *o, size_t layer, enum model_linear linear,
                              size_t expert)
{
    const struct settings *s = &o->plan->settings;
    struct pass_bits b = {.bits = 16};
    if (o->plan->quantizer == PLAN_NONE)
        return b;
    if (linear <= LINEAR_O) {
        b.bits = s->bits_attention;
        return b;
    }
    const struct plan_layer *l = pass_plan_layer(o, layer);
    if (!l)
        return b;
    if (!is_routed(linear)) {
        b.bits = plan_shared_bits(o->plan, l, (enum plan_linear)(linear - LINEAR_SHARED_GATE));
        return b;
    }
    const struct plan_expert *e = &l->experts[expert];
    b.bits = plan_expert_bits(e, (enum plan_linear)(linear - LINEAR_GATE));
    if (b.bits < 16 && writer_formats[o->format].channels) {
        b.channels = e->channels[linear - LINEAR_GATE];
        b.channel_bits = b.channels ? s->bits_channel : 0;
    }
    return b;
}

int pass_each_linear(const struct pass_options *o, size_t layer, pass_visit visit, void *context,
                     struct err *err)
{
    const struct model_config *c = o->model->config;
    int rc = 0;
    for (int i = LINEAR_Q; rc == 0 && i <= LINEAR_O; i++)
        rc = visit(context, layer, (enum model_linear)i, 0, err);
    if (!c->is_moe[layer])
        return rc;
    for (size_t e = 0; e < c->experts; e++)
        for (int i = LINEAR_GATE; rc == 0 && i <= LINEAR_DOWN; i++)
            rc = visit(context, layer, (enum model_linear)i, e, err);
    for (int i = LINEAR_SHARED_GATE; rc == 0 && c->shared_size && i <= LINEAR_SHARED_DOWN; i++)
        rc = visit(context, layer, (enum model_linear)i, 0, err);
    return rc;
}

static int stop_at_quantized(void *context, size_t layer, enum model_linear linear, size_t expert,
                             struct err *err)
{
    (void)err;
    return pass_bits_of(context, layer, linear, expert).bits < 16 ? 1 : 0;
}

bool pass_layer_quantized(const struct pass_options *o, size_t layer)
{
    struct pass_options copy = *o;
    return pass_each_linear(o, layer, stop_at_quantized, &copy, NULL) > 0;
}

/* --- Refusals --- */

static int check_linear(void *context, size_t layer, enum model_linear linear, size_t expert,
                        struct err *err)
{
    const struct pass_options *o = context;
    const struct writer_format *f = &writer_formats[o->format];
    struct pass_bits b = pass_bits_of(o, layer, linear, expert);
    char name[MODEL_NAME_MAX];
    size_t in, out;
    if (b.bits == 16)
        return 0;
    model_linear_name(name, o->model->config, layer, linear, expert);
    model_linear_shape(o->model->config, linear, &in, &out);
    if (b.bits != 2 && b.bits != 3 && b.bits != 4 && b.bits != 8)
        return err_set(err, ERR_INPUT, o->plan_path, "%s: found %u bits, expected 2, 3, 4, 8 or 16",
                       name, b.bits);
    if (b.bits == 3 && f->side_of_three && (in % f->side_of_three || out % f->side_of_three))
        return err_set(err, ERR_UNSUPPORTED, o->plan_path,
                       "%s is %zu x %zu: the %s format packs 3 bits only where both sides are "
                       "multiples of %zu; use --format moqa or other bits",
                       name, out, in, pass_format_names[o->format], f->side_of_three);
    if (b.channels && b.channel_bits > 8)
        return err_set(err, ERR_UNSUPPORTED, o->plan_path,
                       "bits_channel is %u: chosen channels can have 2, 3, 4 or 8 bits",
                       b.channel_bits);
    if (b.channels > in)
        return err_set(err, ERR_INPUT, o->plan_path, "%s: %zu channels of %zu inputs", name,
                       b.channels, in);
    char weight[MODEL_NAME_MAX + sizeof ".weight"];
    snprintf(weight, sizeof weight, "%s.weight", name);
    if (!checkpoint_find(o->model->checkpoint, weight))
        return err_set(err, ERR_INPUT, checkpoint_dir(o->model->checkpoint),
                       "tensor \"%s\" is missing", weight);
    return 0;
}

static int check_windows(const struct pass_options *o, struct err *err)
{
    size_t hidden;
    if (o->windows == 0 || o->window == 0)
        return err_set(err, ERR_USAGE, NULL, "%zu calibration windows of %zu tokens: none to use",
                       o->windows, o->window);
    if (o->plan->settings.learn && o->windows < 2)
        return err_set(err, ERR_USAGE, o->plan_path,
                       "learn = %zu holds some windows out: found 1 calibration window, expected 2 "
                       "or more",
                       o->plan->settings.learn);
    if (!mem_mul(&hidden, o->windows, o->window) ||
        !mem_mul(&hidden, hidden, o->model->config->hidden * sizeof(float)))
        return err_set(err, ERR_USAGE, NULL, "%zu windows of %zu tokens overflow", o->windows,
                       o->window);
    return 0;
}

static int check_plan(const struct pass_options *o, struct err *err)
{
    const struct model_config *c = o->model->config;
    size_t moe = model_config_moe_layers(c);
    int rc = plan_check_model(o->plan, o->plan_path, c, err);
    if (rc < 0)
        return rc;
    if (o->plan->layers_count != moe || o->plan->experts != c->experts)
        return err_set(err, ERR_INPUT, o->plan_path,
                       "%zu layers of %zu experts; the model has %zu of %zu", o->plan->layers_count,
                       o->plan->experts, moe, c->experts);
    for (size_t i = 0; i < moe; i++)
        if (o->plan->layers[i].layer != model_config_moe_layer(c, i))
            return err_set(err, ERR_INPUT, o->plan_path,
                           "layers[%zu]: found layer %zu, expected %zu", i,
                           o->plan->layers[i].layer, model_config_moe_layer(c, i));
    return 0;
}

int pass_check(const struct pass_options *o, struct err *err)
{
    if (checkpoint_quantization(o->model->checkpoint) != CHECKPOINT_PLAIN)
        return err_set(err, ERR_UNSUPPORTED, checkpoint_dir(o->model->checkpoint),
                       "is quantized already; a run starts from the original checkpoint");
    struct pass_options copy = *o;
    int rc = check_windows(o, err);
    if (rc == 0)
        rc = check_plan(o, err);
    for (size_t i = 0; rc == 0 && i < o->model->config->layers; i++)
        rc = pass_each_linear(o, i, check_linear, &copy, err);
    if (rc == 0 && !writer_formats[o->format].channels && plan_has_channels(o->plan))
        log_write(LOG_WARN, "the %s format has no mixed channels: those of the plan are left out",
                  pass_format_names[o->format]);
    return rc;
}

/* Real path of a folder that may not exist yet, by that of its parent. */
static char *real_out(const char *out, struct err *err)
{
    char *copy = mem_strdup(out, err);
    if (!copy)
        return NULL;
    size_t length = strlen(copy);
    while (length > 1 && copy[length - 1] == '/')
        copy[--length] = '\0';
    char *slash = strrchr(copy, '/');
    const char *name = slash ? slash + 1 : copy;
    char parent[PATH_MAX], *found = NULL;
    struct str path = {0};
    if (slash)
        *slash = '\0';
    if (length == 0 || !*name || strcmp(name, ".") == 0 || strcmp(name, "..") == 0)
        err_set(err, ERR_USAGE, out, "is not the name of a folder to make");
    else if (!realpath(!slash ? "." : slash == copy ? "/" : copy, parent))
        err_set_errno(err, ERR_USAGE, out, "its parent folder cannot be used");
    else
        str_appendf(&path, "%s/%s", strcmp(parent, "/") == 0 ? "" : parent, name);
    if (path.length && str_ok(&path, err) == 0)
        found = path.data;
    else
        str_release(&path);
    free(copy);
    return found;
}

static bool inside(const char *path, const char *folder)
{
    size_t n = strlen(folder);
    return strncmp(path, folder, n) == 0 && (path[n] == '\0' || path[n] == '/');
}

int pass_check_out(const struct pass_options *o, struct err *err)
{
    char model[PATH_MAX];
    struct stat st;
    const char *dir = checkpoint_dir(o->model->checkpoint);
    if (!realpath(dir, model))
        return err_set_errno(err, ERR_IO, dir, "cannot find the folder");
    char *out = real_out(o->out, err);
    if (!out)
        return err ? (int)err->code : ERR_USAGE;
    int rc = 0;
    if (inside(out, model) || inside(model, out))
        rc = err_set(err, ERR_USAGE, o->out, "lies in, above or on the model's folder %s", dir);
    else if (lstat(out, &st) == 0 && S_ISLNK(st.st_mode))
        rc = err_set(err, ERR_USAGE, o->out, "is a link; name the folder itself");
    free(out);
    return rc;
}

/* --- Sizes --- */

struct sizes {
    const struct pass_options *o;
    uint64_t bytes_out;                 /* of the changed linears */
    uint64_t bytes_replaced;            /* of the tensors that they replace */
    double weights, nominal, effective; /* routed and shared experts */
    uint64_t layer_floats, layer_hessians;
};

static enum checkpoint_format effective_format(enum pass_format f)
{
    enum checkpoint_format c = writer_formats[f].checkpoint;
    return c == CHECKPOINT_PLAIN ? CHECKPOINT_MOQA : c;
}

static int add_linear(void *context, size_t layer, enum model_linear linear, size_t expert,
                      struct err *err)
{
    struct sizes *s = context;
    (void)err;
    struct pass_bits b = pass_bits_of(s->o, layer, linear, expert);
    size_t in, out;
    model_linear_shape(s->o->model->config, linear, &in, &out);
    double cells = (double)in * (double)out;
    uint64_t bits = (uint64_t)in * out * 16;
    s->layer_floats += (uint64_t)in * out;
    if (linear != LINEAR_UP && linear != LINEAR_SHARED_UP && linear != LINEAR_K &&
        linear != LINEAR_V)
        s->layer_hessians += (uint64_t)in * in;
    char name[MODEL_NAME_MAX], weight[MODEL_NAME_MAX + sizeof ".weight"];
    model_linear_name(name, s->o->model->config, layer, linear, expert);
    snprintf(weight, sizeof weight, "%s.weight", name);
    const struct tensor_info *t = checkpoint_find(s->o->model->checkpoint, weight);
    uint64_t before = t ? t->bytes : bits / 8;
    if (b.bits < 16) {
        bits = packed_predict_bits(in, out, b.bits, s->o->plan->settings.group_size, b.channel_bits,
                                   b.channels, effective_format(s->o->format));
        bool plain = writer_formats[s->o->format].checkpoint == CHECKPOINT_PLAIN;
        s->bytes_out += plain ? before : bits / 8;
        s->bytes_replaced += before;
    } else {
        bits = before * 8;
    }
    if (linear >= LINEAR_GATE) {
        double chosen = (double)b.channels * (double)out;
        s->weights += cells;
        s->nominal += (cells - chosen) * b.bits + chosen * b.channel_bits;
        s->effective += (double)bits;
    }
    return 0;
}

bool pass_propagates(const struct pass_options *o)
{
    return o->plan->settings.propagation == PROPAGATION_QUANT;
}

bool pass_pairs(const struct pass_options *o)
{
    return pass_shifts(o) ||
           (o->plan->settings.learn && pass_propagates(o) && o->plan->quantizer != PLAN_NONE);
}

bool pass_shifts(const struct pass_options *o)
{
    return o->plan->settings.shift && pass_propagates(o) && o->plan->quantizer == PLAN_GPTQ;
}

/* A batch of factors, and of linears that are rounded. */
static uint64_t device_batch(const struct pass_options *o, uint64_t floats, uint64_t hessians)
{
    const uint64_t most = (uint64_t)4 << 30, most_rounded = (uint64_t)8 << 30;
    if (!o->backend->ops->hessian_factorize)
        return 0;
    uint64_t factors = hessians * sizeof(double);
    uint64_t rounded = hessians * sizeof(float) + floats * (2 * sizeof(float) + 2);
    return 2 * (factors < most ? factors : most) +
           (rounded < most_rounded ? rounded : most_rounded);
}

/* Hidden states, one layer's weights and raw Hessians, one chunk of activations; or the embedding,
 * from which the hidden states are made. */
static uint64_t device_memory(const struct pass_options *o, uint64_t floats, uint64_t hessians)
{
    const struct model_config *c = o->model->config;
    uint64_t hidden = (uint64_t)o->windows * o->window * c->hidden * sizeof(float);
    uint64_t chunk = o->backend->chunk_tokens ? o->backend->chunk_tokens : 4096;
    chunk = o->window > chunk ? o->window : chunk;
    uint64_t slot = (uint64_t)c->hidden + 2 * (uint64_t)c->expert_size;
    uint64_t work = chunk * (6 * (uint64_t)c->hidden + c->top_k * slot) * sizeof(float);
    uint64_t layer = work + floats * sizeof(float) + hessians * sizeof(double) +
                     device_batch(o, floats, hessians);
    if (o->plan->settings.hessian_weight == WEIGHT_GATE)
        layer += chunk * c->top_k * (slot - c->expert_size) * sizeof(float);
    uint64_t embedding = (uint64_t)c->vocab * c->hidden * sizeof(float);
    /* A second pass with its layer; matrices of twice the side. */
    if (pass_pairs(o)) {
        layer += work + floats * sizeof(float);
        hidden *= 2;
    }
    if (pass_shifts(o))
        layer += 4 * hessians * sizeof(double);
    return hidden + (layer > embedding ? layer : embedding);
}

/* What threads have of their own: a factor in single precision on the CPU, gradients of an expert's
 * weights and activations of a batch of tokens where its rounding is learned. */
static uint64_t thread_memory(const struct pass_options *o)
{
    const struct model_config *c = o->model->config;
    const struct parallel *pool = backend_pool(o->backend);
    uint64_t width = c->expert_size > c->shared_size ? c->expert_size : c->shared_size;
    uint64_t side = c->hidden > width ? c->hidden : width;
    uint64_t tokens = o->window > LEARN_BATCH_TOKENS ? o->window : LEARN_BATCH_TOKENS;
    uint64_t factor = o->backend->ops->hessian_factorize ? 0 : side * (side + 128);
    uint64_t gradients = o->plan->settings.learn ? 3 * c->hidden * width + tokens * width : 0;
    return (parallel_spaces(pool, c->experts) * factor +
            parallel_spaces(pool, c->experts + (c->shared_size > 0)) * gradients) *
           sizeof(float);
}

/* The same, a copy of the hidden states while they are saved, and a batch of factors and codes. */
static uint64_t peak_memory(const struct pass_options *o, uint64_t floats, uint64_t hessians)
{
    const struct model_config *c = o->model->config;
    uint64_t hidden = (uint64_t)o->windows * o->window * c->hidden * sizeof(float);
    uint64_t batch = (uint64_t)1536 << 20;
    uint64_t all = (floats + hessians) * (sizeof(double) + sizeof(float));
    uint64_t rest = hidden + floats + (all < batch ? all : batch);
    /* Inputs and targets; weights and codes, and what learn_run() takes beside them. */
    if (o->plan->settings.learn)
        rest += 2 * hidden + floats * (sizeof(float) + 1 + 17);
    /* The codes of the layer before, until the lane has encoded them. */
    if (o->backend->ops->memory)
        rest += floats;
    return device_memory(o, floats, hessians) + rest + thread_memory(o);
}

int pass_estimate(struct pass_estimate *out, const struct pass_options *o, struct err *err)
{
    struct sizes s = {.o = o};
    uint64_t floats = 0, hessians = 0;
    *out = (struct pass_estimate){.calibration_tokens = o->windows * o->window};
    int rc = 0;
    for (size_t i = 0; rc == 0 && i < o->model->config->layers; i++) {
        s.layer_floats = s.layer_hessians = 0;
        rc = pass_each_linear(o, i, add_linear, &s, err);
        floats = s.layer_floats > floats ? s.layer_floats : floats;
        hessians = s.layer_hessians > hessians ? s.layer_hessians : hessians;
    }
    for (size_t i = 0; i < checkpoint_count(o->model->checkpoint); i++)
        out->bytes_in += checkpoint_at(o->model->checkpoint, i)->bytes;
    out->bytes_out = out->bytes_in - s.bytes_replaced + s.bytes_out;
    out->nominal_bits = s.weights > 0.0 ? s.nominal / s.weights : 0.0;
    out->effective_bits = s.weights > 0.0 ? s.effective / s.weights : 0.0;
    out->peak_memory = peak_memory(o, floats, hessians);
    out->device_memory = device_memory(o, floats, hessians);
    out->layer_weights = floats * sizeof(float);
    char *path = real_out(o->out, err);
    if (!path)
        return err ? (int)err->code : ERR_USAGE;
    struct statvfs disk;
    char *slash = strrchr(path, '/');
    *(slash == path ? slash + 1 : slash) = '\0';
    if (statvfs(path, &disk) < 0)
        rc = err_set_errno(err, ERR_IO, path, "cannot ask for free space");
    else
        out->bytes_free = (uint64_t)disk.f_bavail * disk.f_frsize;
    free(path);
    return rc;
}

bool pass_quantizes_from(const struct pass_options *o, size_t layer)
{
    for (size_t i = layer; i < o->model->config->layers; i++)
        if (pass_layer_quantized(o, i))
            return true;
    return false;
}

/* What lies there already counts; a shard that is made again stays until it is replaced. */
int pass_check_space(const struct pass_options *o, const struct pass_estimate *e,
                     const struct journal_state *done, struct err *err)
{
    const uint64_t spare = (uint64_t)16 << 20; /* index, reports, tokenizer */
    size_t layers_done = done->layers;
    if (done->hidden_layers < done->layers && pass_quantizes_from(o, done->layers))
        layers_done--;
    uint64_t hidden = (uint64_t)e->calibration_tokens * o->model->config->hidden * sizeof(float);
    uint64_t need = e->bytes_out + 2 * hidden + spare, written = 0;
    for (size_t i = 0; i < layers_done; i++) {
        char name[WRITER_NAME_MAX];
        struct stat st;
        writer_shard_name(name, i, o->model->config->layers + 1);
        char *path = str_path(o->out, name, err);
        if (!path)
            return ERR_NOMEM;
        if (stat(path, &st) == 0)
            written += (uint64_t)st.st_size;
        free(path);
    }
    written += done->hidden_layers ? hidden : 0;
    need -= written < need ? written : need;
    if (done->complete || need <= e->bytes_free)
        return 0;
    return err_set(err, ERR_IO, o->out, "needs %.1f MiB, the disk has %.1f MiB free",
                   (double)need / 1048576.0, (double)e->bytes_free / 1048576.0);
}

int pass_dry_run(struct pass_estimate *out, const struct pass_options *options, struct err *err)
{
    bool unfinished = false;
    struct journal_state written = {0};
    *out = (struct pass_estimate){0};
    int rc = pass_check(options, err);
    if (rc == 0)
        rc = pass_check_out(options, err);
    if (rc == 0)
        rc = pass_estimate(out, options, err);
    if (rc == 0)
        rc = journal_probe(options->out, options->resume, &unfinished, err);
    if (rc == 0 && unfinished)
        rc = journal_look(&written, options->out, err);
    return rc == 0 ? pass_check_space(options, out, &written, err) : rc;
}
