/*
 * Measured losses: what every expert's linear layers lose at every width, and how much each layer
 * weighs. File format: docs/formats.md, "Losses". What the numbers mean: docs/method.md, "Budget".
 */
#ifndef MOQA_DATA_LOSSES_H
#define MOQA_DATA_LOSSES_H

#include "data/plan.h"

enum { LOSSES_WIDTHS_MAX = 4, LOSSES_SHARES_MAX = 4 };

struct losses_expert {
    size_t tokens;  /* calibration positions that reached it */
    double outlier; /* largest of max_i |W_ij| / mean_i |W_ij| over its linears and inputs j */
    /* Rise of the mean squared error of the layer's output, a position, [linear][width]. */
    double loss[PLAN_LINEARS][LOSSES_WIDTHS_MAX];
    /* The same with mixed channels, [linear][width][share]: of routed experts, and of the first
     * losses_channel_widths() widths. */
    double channel_loss[PLAN_LINEARS][LOSSES_WIDTHS_MAX][LOSSES_SHARES_MAX];
};

struct losses_layer {
    size_t layer;       /* the model's own number */
    double sensitivity; /* Kullback-Leibler divergence of the model's output for a unit of loss */
    double importance;  /* 1 - mean cosine of the hidden states before and behind the layer */
    struct losses_expert *experts; /* [losses.experts] */
    struct losses_expert shared;   /* zero where the model has none */
};

struct losses {
    char model_name[256];
    char model_type[64];
    char config_sha256[HASH_HEX_SIZE];
    char model_sha256[HASH_HEX_SIZE];       /* checkpoint_fingerprint() */
    char calibration_sha256[HASH_HEX_SIZE]; /* of its tokens */
    size_t positions;                       /* of the calibration */
    size_t probe_positions;                 /* that the sensitivities were measured on */
    struct settings settings;               /* those of the quantization count */
    size_t widths_count;
    unsigned widths[LOSSES_WIDTHS_MAX]; /* rising: of 2, 3, 4, 8 */
    size_t shares_count;                /* 0: measured without mixed channels */
    double shares[LOSSES_SHARES_MAX];   /* rising: of a linear's inputs, at bits_channel */
    size_t layers_count, experts;
    size_t layers_done; /* MoE layers measured; sensitivities are there once all are */
    bool complete;
    struct losses_layer *layers; /* [layers_count] */
};

ERR_CHECK int losses_alloc(struct losses *l, size_t layers, size_t experts, struct err *err);
void losses_release(struct losses *l);

/* An incomplete file is read, too: a run goes on from it. */
ERR_CHECK int losses_load(struct losses *out, const char *path, struct err *err);
ERR_CHECK int losses_save(const struct losses *l, const char *path, struct err *err);

/* Names of the settings that a measurement depends on, NULL at the end; those that only its mixed
 * channels depend on. */
const char *const *losses_settings(void);
const char *const *losses_channel_settings(void);

/* A share of a linear's inputs as channels: rounded, at least one. */
size_t losses_channels(double share, size_t inputs);
/* How many of the widths were measured with channels, too: those below settings.bits_channel. */
size_t losses_channel_widths(const struct losses *l);
/* Shares as a measurement takes them: at most LOSSES_SHARES_MAX, rising, above 0, at most half. */
bool losses_are_shares(const double *shares, size_t count);
/* "0.125,0.25"; `name` is what an error calls it. */
ERR_CHECK int losses_parse_shares(double shares[LOSSES_SHARES_MAX], size_t *count, const char *name,
                                  const char *text, struct err *err);

/* ERR_INPUT naming what differs unless both were made by the same measurement (model, calibration,
 * widths, channels, settings of the quantization). */
ERR_CHECK int losses_check_same(const struct losses *found, const char *file,
                                const struct losses *wanted, struct err *err);

/* Refuses incomplete losses and those of another model. */
struct model_config;
ERR_CHECK int losses_check_model(const struct losses *l, const char *file,
                                 const struct model_config *config, struct err *err);

/* Refuses losses of other weights than those of a checkpoint_fingerprint(); dir: their folder. */
ERR_CHECK int losses_check_weights(const struct losses *l, const char *file,
                                   const char *fingerprint, const char *dir, struct err *err);
/* The same for a model's folder, if it has weights at all: a plan needs none. What the fingerprint
 * hashes is read: config.json, headers and 256 KiB of each shard. */
ERR_CHECK int losses_check_folder(const struct losses *l, const char *file, const char *dir,
                                  struct err *err);

/* Refuses settings that round in another way than the measurement did. */
ERR_CHECK int losses_check_settings(const struct losses *l, const char *file,
                                    const struct settings *s, struct err *err);

/* Refuses losses without channels, or with channels that the settings choose in another way. */
ERR_CHECK int losses_check_channels(const struct losses *l, const char *file,
                                    const struct settings *s, struct err *err);

#endif
