/*
 * Every setting of the method under its one name: a flag (`--min-count 3`), a key of the plan's
 * `settings`, a slider. One table describes them all, so that the command line, the plan and the
 * workbench never differ. docs/method.md explains each.
 */
#ifndef MOQA_DATA_SETTINGS_H
#define MOQA_DATA_SETTINGS_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "data/base/err.h"

enum setting_fit { FIT_MLE, FIT_OLS };
enum setting_utilization { UTILIZATION_FIT, UTILIZATION_EMPIRICAL };
enum setting_reweight { REWEIGHT_INVERSE, REWEIGHT_PRODUCT, REWEIGHT_STEEP, REWEIGHT_UNIFORM };
enum setting_mapping { MAPPING_TYPES, MAPPING_MAJORITY, MAPPING_OCCURRENCES, MAPPING_GATE };
enum setting_rule { RULE_AUTO, RULE_THRESHOLD, RULE_JENKS };
enum setting_norm { NORM_MAX, NORM_MINMAX, NORM_SUM };
enum setting_channel_score { SCORE_ERROR, SCORE_HESSIAN, SCORE_AWQ };
enum setting_order { ORDER_ACT, ORDER_NATURAL };
enum setting_grid { GRID_ASYMMETRIC, GRID_SYMMETRIC };
enum setting_propagation { PROPAGATION_QUANT, PROPAGATION_FP };
enum setting_windows { WINDOWS_ORDER, WINDOWS_RANDOM, WINDOWS_WEIGHTED, WINDOWS_BALANCED };
enum setting_hessian_weight { WEIGHT_NONE, WEIGHT_GATE };

enum { SETTINGS_CLASSES_MAX = 4, SETTINGS_LAYERS_MAX = 256 };

/* A number that may be left to the program. */
struct setting_auto {
    bool given; /* false: `auto` */
    double value;
};

struct settings {
    int fit;                  /* enum setting_fit */
    struct setting_auto beta; /* Zipf */
    int utilization;
    int reweight;
    double alpha;
    int mapping;
    size_t min_count;
    double pattern_cv;
    int rule;
    double threshold_sigmas;
    struct setting_auto threshold;
    size_t classes;
    double beta_ch;
    int norm;
    int channel_score;
    int order;
    size_t group_size; /* 0: whole row */
    int grid;
    bool scale_search;
    double damping;
    double shrink;
    int hessian_weight;
    size_t refine; /* passes; 0: off */
    int propagation;
    bool shift;
    size_t learn; /* iterations; 0: off */
    unsigned bits_high, bits_low, bits_shared, bits_channel, bits_attention;
    size_t class_bits_count;                   /* 0: low .. high spread by the default rule */
    unsigned class_bits[SETTINGS_CLASSES_MAX]; /* low to high */
    int windows;
    uint64_t seed;
    /* Per layer (index among the MoE layers of the trace), what the workbench overrides. */
    struct {
        bool has_rule, has_threshold;
        int rule;
        double threshold;
    } layer[SETTINGS_LAYERS_MAX];
};

enum setting_kind {
    SETTING_CHOICE,    /* int, one of `choices` */
    SETTING_SWITCH,    /* bool: off, on */
    SETTING_REAL,      /* double */
    SETTING_AUTO,      /* struct setting_auto */
    SETTING_COUNT,     /* size_t */
    SETTING_BITS,      /* unsigned: 2, 3, 4, 8, 16 */
    SETTING_BITS_LIST, /* class_bits */
    SETTING_SEED,      /* uint64_t */
};

/* What a setting changes: an analysis only has to redo what stands at or after this stage. */
enum setting_stage {
    STAGE_ZIPF,
    STAGE_REWEIGHT,
    STAGE_MAPPING,
    STAGE_STRATEGY,
    STAGE_QUANTIZE,
    STAGE_CALIBRATION
};

struct setting_info {
    const char *name; /* "min_count" */
    enum setting_kind kind;
    enum setting_stage stage;
    size_t offset;              /* in struct settings */
    const char *const *choices; /* NULL-terminated, SETTING_CHOICE only */
    double min, max, step;      /* legal range and a slider's step; step 0: no slider */
    const char *help;           /* one line */
};

size_t settings_count(void);
const struct setting_info *settings_info(size_t i);
const struct setting_info *settings_find(const char *name); /* `-` and `_` are the same; or NULL */

void settings_defaults(struct settings *s);

/* Sets one from text, e.g. ("alpha", "0.3"), ("beta", "auto"), ("class_bits", "2,3,4"),
 * ("rule", "3:jenks") for one layer. ERR_USAGE names the value and what is legal. */
ERR_CHECK int settings_set(struct settings *s, const char *name, const char *value,
                           struct err *err);

/* The value as settings_set() would take it back. `out` is NUL-terminated, cut if too small. */
void settings_get(const struct settings *s, const struct setting_info *info, char *out,
                  size_t size);

/*
 * The rounding that loses least at 2 to 4 bits, for those who would rather wait longer: what
 * `--best-rounding` stands for. Ends with a name of NULL. docs/benchmarks.md has the figures.
 */
struct setting_value {
    const char *name, *value;
};
extern const struct setting_value settings_best_rounding[];

/* Numeric view for sliders: choices and switches as their index. False for `auto` and lists. */
bool settings_number(const struct settings *s, const struct setting_info *info, double *out);
/* Clamped to the legal range. */
void settings_set_number(struct settings *s, const struct setting_info *info, double value);

/* Combinations that contradict each other (class_bits against classes, ...): ERR_USAGE. */
ERR_CHECK int settings_check(const struct settings *s, struct err *err);

bool settings_equal(const struct settings *a, const struct settings *b);

/* Earliest stage in which two differ; STAGE_CALIBRATION + 1 if none. */
int settings_first_change(const struct settings *a, const struct settings *b);

/* As an object with every name (and "layers": {"3": {"rule": ..}} where overridden), and back. */
ERR_CHECK int settings_to_json(json_t **out, const struct settings *s, struct err *err);
ERR_CHECK int settings_from_json(struct settings *out, const json_t *object, const char *file,
                                 struct err *err);
/* The same over what is there: names that the object does not have stay as they are. */
ERR_CHECK int settings_merge_json(struct settings *s, const json_t *object, const char *file,
                                  struct err *err);

#endif
