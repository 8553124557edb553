/*
 * The plan: bits for every expert, and everything needed to repeat a run. The one hand-over
 * between the workbench and a batch run. File format: docs/formats.md, "Plan".
 */
#ifndef MOQA_DATA_PLAN_H
#define MOQA_DATA_PLAN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "data/base/err.h"
#include "data/base/hash.h"
#include "data/base/str.h"
#include "data/settings.h"

enum plan_linear { PLAN_GATE, PLAN_UP, PLAN_DOWN, PLAN_LINEARS };

extern const char *const plan_linear_names[PLAN_LINEARS]; /* "gate", "up", "down" */

struct plan_expert {
    double significance;
    size_t group;  /* 1: highest class */
    unsigned bits; /* 2, 3, 4, 8, 16; where linears differ, the width of most of its weights */
    bool pinned;
    uint8_t linear_bits[PLAN_LINEARS]; /* of gate, up and down; all 0: each has `bits` */
    size_t channels[PLAN_LINEARS];     /* how many of their inputs have settings.bits_channel */
};

struct plan_layer {
    size_t layer; /* the model's own number */
    double mu, sigma;
    size_t pattern; /* 1 or 2 */
    int rule;       /* RULE_THRESHOLD or RULE_JENKS: what was applied */
    double threshold;
    size_t breaks; /* number of Jenks breaks */
    double break_at[SETTINGS_CLASSES_MAX];
    double gvf;
    uint8_t shared_bits[PLAN_LINEARS]; /* of the shared expert; all 0: settings.bits_shared */
    struct plan_expert *experts;       /* [plan.experts] */
};

enum plan_quantizer { PLAN_GPTQ, PLAN_RTN, PLAN_NONE /* fp16: nothing is quantized */ };

struct plan {
    char method[64]; /* "moqa", "gptq-3", "moeptq-r", ... */
    enum plan_quantizer quantizer;
    char model_name[256];
    char model_type[64];
    char config_sha256[HASH_HEX_SIZE];
    char trace_name[256]; /* base name of the file */
    char trace_sha256[HASH_HEX_SIZE];
    size_t positions;
    struct settings settings;
    size_t layers_count;
    size_t experts; /* routed experts a layer */
    struct plan_layer *layers;
    struct {
        double nominal_bits;
        double effective_bits;
        uint64_t bytes_before; /* the routed and shared experts in the checkpoint's type */
        uint64_t bytes_after;  /* the same as the default format will hold them */
    } summary;
};

ERR_CHECK int plan_alloc(struct plan *p, size_t layers, size_t experts, struct err *err);
void plan_release(struct plan *p);
/* A copy of its own; `out` is released or zeroed before. */
ERR_CHECK int plan_copy(struct plan *out, const struct plan *p, struct err *err);

/* Bits of one linear of a routed expert, and of the shared expert of a layer. */
unsigned plan_expert_bits(const struct plan_expert *x, enum plan_linear linear);
/* Its gate, up and down differ in bits. */
bool plan_expert_is_mixed(const struct plan_expert *x);
bool plan_is_mixed(const struct plan *p); /* any of its routed experts */
unsigned plan_shared_bits(const struct plan *p, const struct plan_layer *l,
                          enum plan_linear linear);

/* Has any linear of the expert, or of the plan, mixed channels? */
bool plan_expert_has_channels(const struct plan_expert *x);
bool plan_has_channels(const struct plan *p);

/* The same decisions: method, settings, model, bits, channels and pins; where they came from (the
 * trace's name) and what was measured (significance) may differ. */
bool plan_equal(const struct plan *a, const struct plan *b);

ERR_CHECK int plan_validate(const struct plan *p, const char *file, struct err *err);
ERR_CHECK int plan_load(struct plan *out, const char *path, struct err *err);
ERR_CHECK int plan_save(const struct plan *p, const char *path, struct err *err);
/* Appends what plan_save() writes; `path` stands for the file in messages. */
ERR_CHECK int plan_write(struct str *out, const struct plan *p, const char *path, struct err *err);
/* hash_file() of what plan_save() would write; `path` stands for the file in messages. */
ERR_CHECK int plan_hash(char out[HASH_HEX_SIZE], const struct plan *p, const char *path,
                        struct err *err);

/* Refuses, with the differing fields named, a plan that was made for another model. */
struct model_config;
ERR_CHECK int plan_check_model(const struct plan *p, const char *file,
                               const struct model_config *config, struct err *err);

/* Bits of a routed expert's weight on average, chosen channels at their own width. */
double plan_expert_mean_bits(const struct plan *p, const struct plan_expert *x,
                             const struct model_config *config);

/* Fills `summary` from the bits and channels, for a model's shapes. */
ERR_CHECK int plan_summarize(struct plan *p, const struct model_config *config, struct err *err);

#endif
