/*
 * quantization_config of config.json: which linears are quantized, and how. docs/formats.md,
 * "Quantized checkpoint". Read: the gptq layout (bits, group_size, patterns in `dynamic`) and this
 * program's own (modules by name). Written: either.
 */
#ifndef MOQA_DATA_QUANT_CONFIG_H
#define MOQA_DATA_QUANT_CONFIG_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>

#include "data/checkpoint.h"

struct quant_config;

/* From a parsed config.json; without the field the format is CHECKPOINT_PLAIN. */
ERR_CHECK int quant_config_parse(struct quant_config **out, const json_t *config, const char *file,
                                 struct err *err);
void quant_config_free(struct quant_config *q);

enum checkpoint_format quant_config_format(const struct quant_config *q);

/* What the configuration says about a linear (name without suffix); whether the checkpoint has
 * its tensors is the caller's to check. Thread-safe. */
ERR_CHECK int quant_config_linear(const struct quant_config *q, const char *linear,
                                  struct checkpoint_linear *out, struct err *err);

/* A module and the bits of all linears below it, e.g. "model.layers.3.mlp.experts.7", or of one of
 * them. Modules must not contain one another. */
struct quant_module {
    const char *name;
    unsigned bits;         /* 2, 3, 4, 8; 16: left as it is */
    unsigned channel_bits; /* of mixed channels, 0: none (CHECKPOINT_GPTQ: must be 0) */
    const char *leaf;      /* NULL, or the one linear below it that is meant: "gate_proj" */
};

/* The field's value for a checkpoint that is to be written; group_size 0: whole row. In the moqa
 * layout what no module names is left as it is. Readers of the gptq layout expect every linear of
 * the layers to be quantized that no pattern excludes: attention (unless a module names a part of
 * it), routers and the shared expert's gate are excluded here, everything else that stays as it is
 * must be among the modules with 16 bits. Owned by the caller (json_decref). */
ERR_CHECK int quant_config_build(json_t **out, enum checkpoint_format format, size_t group_size,
                                 const struct quant_module *modules, size_t count, struct err *err);

#endif
