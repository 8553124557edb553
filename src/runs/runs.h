/*
 * The runs of a workbench: quantized checkpoints in one folder, each with its plan and, once
 * evaluated, its perplexity. What stands on disk is the record; nothing else is kept. A run whose
 * weights were removed, but not its result (run_result.h), counts as finished.
 */
#ifndef MOQA_SRC_RUNS_RUNS_H
#define MOQA_SRC_RUNS_RUNS_H

#include "data/plan.h"
#include "ui/app/app_host.h"

/* What runs are made from beside their plan: a hash over the checkpoint's fingerprint and the bytes
 * of calibration files; none: calibrated on the plan's trace, which the plan tells. */
ERR_CHECK int runs_inputs(char out[HASH_HEX_SIZE], const char *model_dir, const char *const *calib,
                          size_t calib_count, struct err *err);

/* Name of the run of a plan: "moqa-1a2b3c4d", from its method, everything in it and its inputs. */
enum { RUNS_NAME_MAX = 96 };
ERR_CHECK int runs_name(char out[RUNS_NAME_MAX], const struct plan *plan,
                        const char inputs[HASH_HEX_SIZE], struct err *err);

/* The plan of a run: of a finished one, else of one that can be gone on with. */
ERR_CHECK int runs_plan(struct plan *out, const char *dir, struct err *err);

/* Runs of `dir` whose plan is for this model, and the model itself, where it was measured
 * (original.h), which comes first; sorted by name. checkpoint: its fingerprint, to tell other
 * weights of the same shape; NULL: any, each with a row. *out is freed by runs_free(). What is no
 * run and no record, or cannot be read, is passed over. */
ERR_CHECK int runs_list(struct app_result **out, size_t *count, const char *dir,
                        const char *config_sha256, const char *checkpoint, struct err *err);

void runs_free(struct app_result *list, size_t count);

/* Bytes of a folder's safetensors files. */
uint64_t runs_folder_bytes(const char *dir);

/* Settings that differ from the defaults, "alpha=0.5 min_count=3", cut to `size`. */
void runs_describe_settings(char *out, size_t size, const struct settings *s);

#endif
