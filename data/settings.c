#include "data/settings.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char *const fit_names[] = {"mle", "ols", NULL};
static const char *const utilization_names[] = {"fit", "empirical", NULL};
static const char *const reweight_names[] = {"inverse", "product", "steep", "uniform", NULL};
static const char *const mapping_names[] = {"types", "majority", "occurrences", "gate", NULL};
static const char *const rule_names[] = {"auto", "threshold", "jenks", NULL};
static const char *const norm_names[] = {"max", "minmax", "sum", NULL};
static const char *const score_names[] = {"error", "hessian", "awq", NULL};
static const char *const order_names[] = {"act", "natural", NULL};
static const char *const grid_names[] = {"asymmetric", "symmetric", NULL};
static const char *const propagation_names[] = {"quant", "fp", NULL};
static const char *const weight_names[] = {"none", "gate", NULL};
static const char *const windows_names[] = {"order", "random", "weighted", "balanced", NULL};

#define AT(field) offsetof(struct settings, field)

static const struct setting_info table[] = {
    {"fit", SETTING_CHOICE, STAGE_ZIPF, AT(fit), fit_names, 0, 1, 1,
     "how Zipf's law is fitted: maximum likelihood, or a line through the log-log points"},
    {"beta", SETTING_AUTO, STAGE_ZIPF, AT(beta), NULL, 0.01, 5, 0.01,
     "Zipf exponent; auto: fitted"},
    {"utilization", SETTING_CHOICE, STAGE_REWEIGHT, AT(utilization), utilization_names, 0, 1, 1,
     "token utilization from the fit or from the counts (Eq. 1)"},
    {"reweight", SETTING_CHOICE, STAGE_REWEIGHT, AT(reweight), reweight_names, 0, 3, 1,
     "re-weighting: U^-alpha, U^(1-alpha), U^(1+alpha) or 1 (Eq. 2)"},
    {"alpha", SETTING_REAL, STAGE_REWEIGHT, AT(alpha), NULL, 0, 2, 0.01,
     "exponent of the re-weighting (Eq. 2)"},
    {"mapping", SETTING_CHOICE, STAGE_MAPPING, AT(mapping), mapping_names, 0, 3, 1,
     "what of a token's routing counts for an expert (Eq. 4)"},
    {"min_count", SETTING_COUNT, STAGE_MAPPING, AT(min_count), NULL, 1, 1e9, 1,
     "mapping = types: occurrences routed to the expert that make a type its own"},
    {"pattern_cv", SETTING_REAL, STAGE_STRATEGY, AT(pattern_cv), NULL, 0, 10, 0.01,
     "sigma/mu from which a layer is of pattern 1"},
    {"rule", SETTING_CHOICE, STAGE_STRATEGY, AT(rule), rule_names, 0, 2, 1,
     "partition of a layer: by pattern, by threshold or by Jenks breaks; LAYER:RULE for one MoE "
     "layer, from 0"},
    {"threshold_sigmas", SETTING_REAL, STAGE_STRATEGY, AT(threshold_sigmas), NULL, -5, 5, 0.05,
     "threshold T = mu + this many sigma (Eq. 7)"},
    {"threshold", SETTING_AUTO, STAGE_STRATEGY, AT(threshold), NULL, 0, 1, 0.005,
     "absolute threshold T; auto: from threshold_sigmas; LAYER:T for one MoE layer, from 0"},
    {"classes", SETTING_COUNT, STAGE_STRATEGY, AT(classes), NULL, 2, SETTINGS_CLASSES_MAX, 1,
     "Jenks classes (Eq. 8)"},
    {"beta_ch", SETTING_REAL, STAGE_STRATEGY, AT(beta_ch), NULL, 0, 1, 0.005,
     "share of input channels at the channel bits in the high group (Eq. 9); 0: none"},
    {"norm", SETTING_CHOICE, STAGE_STRATEGY, AT(norm), norm_names, 0, 2, 1,
     "how significance is normalised for the channel share (Eq. 9)"},
    {"channel_score", SETTING_CHOICE, STAGE_QUANTIZE, AT(channel_score), score_names, 0, 2, 1,
     "which channels are chosen: by error, by the Hessian's diagonal or by mean |x|"},
    {"order", SETTING_CHOICE, STAGE_QUANTIZE, AT(order), order_names, 0, 1, 1,
     "order of columns: by falling diagonal of the Hessian, or as they are"},
    {"group_size", SETTING_COUNT, STAGE_QUANTIZE, AT(group_size), NULL, 0, 65536, 32,
     "inputs that share a scale; 0: the whole row"},
    {"grid", SETTING_CHOICE, STAGE_QUANTIZE, AT(grid), grid_names, 0, 1, 1,
     "asymmetric min-max or symmetric grid"},
    {"scale_search", SETTING_SWITCH, STAGE_QUANTIZE, AT(scale_search), NULL, 0, 1, 1,
     "search the grid's range by squared error"},
    {"damping", SETTING_REAL, STAGE_QUANTIZE, AT(damping), NULL, 0, 1, 0.005,
     "part of the mean diagonal that is added to the Hessian's diagonal"},
    {"shrink", SETTING_REAL, STAGE_QUANTIZE, AT(shrink), NULL, 0, 100, 0.05,
     "pull of a rare expert's Hessian to the layer's: n0 / d; 0: off"},
    {"hessian_weight", SETTING_CHOICE, STAGE_QUANTIZE, AT(hessian_weight), weight_names, 0, 1, 1,
     "what a token counts in a routed expert's Hessian: one, or its gate value squared"},
    {"refine", SETTING_COUNT, STAGE_QUANTIZE, AT(refine), NULL, 0, 100, 1,
     "passes over the codes that GPTQ chose, scales refitted to them; 0: none"},
    {"propagation", SETTING_CHOICE, STAGE_QUANTIZE, AT(propagation), propagation_names, 0, 1, 1,
     "calibrate a layer on the quantized or on the original layers before it"},
    {"shift", SETTING_SWITCH, STAGE_QUANTIZE, AT(shift), NULL, 0, 1, 1,
     "aim at the original's outputs: weights make up for what rounding before them shifted"},
    {"learn", SETTING_COUNT, STAGE_QUANTIZE, AT(learn), NULL, 0, 10000, 20,
     "iterations in which codes and scales are learned against the layer's output; 0: off"},
    {"bits_high", SETTING_BITS, STAGE_STRATEGY, AT(bits_high), NULL, 2, 16, 1,
     "bits of the high group"},
    {"bits_low", SETTING_BITS, STAGE_STRATEGY, AT(bits_low), NULL, 2, 16, 1,
     "bits of the low group"},
    {"bits_shared", SETTING_BITS, STAGE_STRATEGY, AT(bits_shared), NULL, 2, 16, 1,
     "bits of shared experts"},
    {"bits_channel", SETTING_BITS, STAGE_STRATEGY, AT(bits_channel), NULL, 2, 16, 1,
     "bits of the chosen channels"},
    {"bits_attention", SETTING_BITS, STAGE_STRATEGY, AT(bits_attention), NULL, 2, 16, 1,
     "bits of the attention's linear layers: 16, 8 or 4"},
    {"class_bits", SETTING_BITS_LIST, STAGE_STRATEGY, AT(class_bits), NULL, 2, 16, 0,
     "bits of the classes, low to high, e.g. 2,3,4; auto: from bits_low to bits_high"},
    {"windows", SETTING_CHOICE, STAGE_CALIBRATION, AT(windows), windows_names, 0, 3, 1,
     "choice of windows: in order, random by seed, weighted by R, or of a trace for rare experts"},
    {"seed", SETTING_SEED, STAGE_CALIBRATION, AT(seed), NULL, 0, 18446744073709551615.0, 0,
     "seed of every random choice"},
};

const struct setting_value settings_best_rounding[] = {
    {"scale_search", "on"}, {"shift", "on"}, {"refine", "2"}, {0}};

enum { COUNT = sizeof table / sizeof table[0] };

static const unsigned legal_bits[] = {2, 3, 4, 8, 16};
enum { LEGAL_BITS = sizeof legal_bits / sizeof legal_bits[0] };

size_t settings_count(void)
{
    return COUNT;
}

const struct setting_info *settings_info(size_t i)
{
    return &table[i];
}

static bool same_name(const char *a, const char *b)
{
    for (; *a && *b; a++, b++)
        if (*a != *b && !(*a == '-' && *b == '_') && !(*a == '_' && *b == '-'))
            return false;
    return *a == *b;
}

const struct setting_info *settings_find(const char *name)
{
    for (size_t i = 0; i < COUNT; i++)
        if (same_name(name, table[i].name))
            return &table[i];
    return NULL;
}

void settings_defaults(struct settings *s)
{
    *s = (struct settings){
        .alpha = 0.3,
        .min_count = 1,
        .pattern_cv = 0.25,
        .classes = 2,
        .beta_ch = 0.05,
        .group_size = 128,
        .damping = 0.01,
        .shrink = 0.25,
        .bits_high = 4,
        .bits_low = 2,
        .bits_shared = 8,
        .bits_channel = 8,
        .bits_attention = 16,
    };
}

static void *field(struct settings *s, const struct setting_info *info)
{
    return (char *)s + info->offset;
}

static const void *field_const(const struct settings *s, const struct setting_info *info)
{
    return (const char *)s + info->offset;
}

static bool is_legal_bits(const struct setting_info *info, double value)
{
    for (size_t i = 0; i < LEGAL_BITS; i++)
        if (value == legal_bits[i])
            return info->offset != AT(bits_attention) || value == 4 || value == 8 || value == 16;
    return false;
}

static int refuse(const struct setting_info *info, const char *value, const char *expected,
                  struct err *err)
{
    return err_set(err, ERR_USAGE, NULL, "%s: found \"%s\", expected %s", info->name, value,
                   expected);
}

static int refuse_range(const struct setting_info *info, const char *value, struct err *err)
{
    char expected[96];
    snprintf(expected, sizeof expected, "%s%s from %g to %g",
             info->kind == SETTING_AUTO ? "auto or " : "",
             info->kind == SETTING_COUNT ? "an integer" : "a number", info->min, info->max);
    return refuse(info, value, expected, err);
}

static int parse_number(double *out, const struct setting_info *info, const char *value,
                        struct err *err)
{
    char *end;
    double number = strtod(value, &end);
    bool whole = info->kind != SETTING_COUNT || number == floor(number);
    if (end == value || *end || !isfinite(number) || !whole || number < info->min ||
        number > info->max)
        return refuse_range(info, value, err);
    *out = number;
    return 0;
}

static int parse_choice(int *out, const struct setting_info *info, const char *value,
                        struct err *err)
{
    char expected[128] = "one of";
    for (int i = 0; info->choices[i]; i++) {
        if (strcmp(value, info->choices[i]) == 0) {
            *out = i;
            return 0;
        }
        size_t used = strlen(expected);
        snprintf(expected + used, sizeof expected - used, "%s %s", i ? "," : "", info->choices[i]);
    }
    return refuse(info, value, expected, err);
}

static int parse_bits(unsigned *out, const struct setting_info *info, const char *value,
                      const char *whole, struct err *err)
{
    char *end;
    double number = strtod(value, &end);
    if (end == value || *end || !is_legal_bits(info, number))
        return refuse(info, whole,
                      info->offset == AT(bits_attention) ? "4, 8 or 16" : "2, 3, 4, 8 or 16", err);
    *out = (unsigned)number;
    return 0;
}

static int parse_bits_list(struct settings *s, const struct setting_info *info, const char *value,
                           struct err *err)
{
    unsigned bits[SETTINGS_CLASSES_MAX];
    size_t count = 0;
    char copy[64], *save = NULL;
    if (strcmp(value, "auto") == 0) {
        s->class_bits_count = 0;
        return 0;
    }
    snprintf(copy, sizeof copy, "%s", value);
    for (char *part = strtok_r(copy, ",", &save); part; part = strtok_r(NULL, ",", &save)) {
        if (count == SETTINGS_CLASSES_MAX)
            return refuse(info, value, "at most 4 numbers", err);
        int rc = parse_bits(&bits[count++], info, part, value, err);
        if (rc < 0)
            return rc;
    }
    if (count < 2 || strlen(value) >= sizeof copy)
        return refuse(info, value, "auto or 2 to 4 numbers with commas between them", err);
    s->class_bits_count = count;
    memset(s->class_bits, 0, sizeof s->class_bits);
    memcpy(s->class_bits, bits, count * sizeof bits[0]);
    return 0;
}

/* "LAYER:VALUE" for rule and threshold. */
static int set_layer(struct settings *s, const struct setting_info *info, const char *value,
                     const char *colon, struct err *err)
{
    char *end;
    errno = 0;
    unsigned long layer = strtoul(value, &end, 10);
    bool takes_layer = info->offset == AT(rule) || info->offset == AT(threshold);
    if (!takes_layer || end != colon || errno || layer >= SETTINGS_LAYERS_MAX || value[0] < '0' ||
        value[0] > '9')
        return refuse(info, value,
                      takes_layer ? "LAYER:VALUE with a layer number" : "a value without a layer",
                      err);
    int rc;
    if (info->offset == AT(rule)) {
        rc = parse_choice(&s->layer[layer].rule, info, colon + 1, err);
        if (rc == 0)
            s->layer[layer].has_rule = true;
    } else if (strcmp(colon + 1, "auto") == 0) {
        s->layer[layer].has_threshold = false;
        s->layer[layer].threshold = 0;
        rc = 0;
    } else {
        rc = parse_number(&s->layer[layer].threshold, info, colon + 1, err);
        if (rc == 0)
            s->layer[layer].has_threshold = true;
    }
    return rc;
}

static int set_seed(struct settings *s, const struct setting_info *info, const char *value,
                    struct err *err)
{
    char *end;
    errno = 0;
    unsigned long long number = strtoull(value, &end, 10);
    if (value[0] < '0' || value[0] > '9' || *end || errno)
        return refuse(info, value, "an integer from 0 to 18446744073709551615", err);
    s->seed = number;
    return 0;
}

static int set_switch(struct settings *s, const struct setting_info *info, const char *value,
                      struct err *err)
{
    bool on = strcmp(value, "on") == 0;
    if (!on && strcmp(value, "off") != 0)
        return refuse(info, value, "on or off", err);
    *(bool *)field(s, info) = on;
    return 0;
}

static int set_auto(struct settings *s, const struct setting_info *info, const char *value,
                    struct err *err)
{
    struct setting_auto next = {0};
    if (strcmp(value, "auto") != 0) {
        int rc = parse_number(&next.value, info, value, err);
        if (rc < 0)
            return rc;
        next.given = true;
    }
    *(struct setting_auto *)field(s, info) = next;
    return 0;
}

int settings_set(struct settings *s, const char *name, const char *value, struct err *err)
{
    const struct setting_info *info = settings_find(name);
    if (!info)
        return err_set(err, ERR_USAGE, NULL, "no setting is called \"%s\"", name);
    const char *colon = strchr(value, ':');
    if (colon)
        return set_layer(s, info, value, colon, err);
    double number;
    int rc;
    switch (info->kind) {
    case SETTING_CHOICE:
        return parse_choice(field(s, info), info, value, err);
    case SETTING_SWITCH:
        return set_switch(s, info, value, err);
    case SETTING_REAL:
        return parse_number(field(s, info), info, value, err);
    case SETTING_AUTO:
        return set_auto(s, info, value, err);
    case SETTING_COUNT:
        rc = parse_number(&number, info, value, err);
        if (rc == 0)
            *(size_t *)field(s, info) = (size_t)number;
        return rc;
    case SETTING_BITS:
        return parse_bits(field(s, info), info, value, value, err);
    case SETTING_BITS_LIST:
        return parse_bits_list(s, info, value, err);
    case SETTING_SEED:
        return set_seed(s, info, value, err);
    }
    return 0;
}

/* Shortest of %.15g and %.17g that reads back as the same number. */
static void print_number(char *out, size_t size, double value)
{
    snprintf(out, size, "%.15g", value);
    if (strtod(out, NULL) != value)
        snprintf(out, size, "%.17g", value);
}

void settings_get(const struct settings *s, const struct setting_info *info, char *out, size_t size)
{
    const void *p = field_const(s, info);
    switch (info->kind) {
    case SETTING_CHOICE:
        snprintf(out, size, "%s", info->choices[*(const int *)p]);
        break;
    case SETTING_SWITCH:
        snprintf(out, size, "%s", *(const bool *)p ? "on" : "off");
        break;
    case SETTING_REAL:
        print_number(out, size, *(const double *)p);
        break;
    case SETTING_AUTO:
        if (((const struct setting_auto *)p)->given)
            print_number(out, size, ((const struct setting_auto *)p)->value);
        else
            snprintf(out, size, "auto");
        break;
    case SETTING_COUNT:
        snprintf(out, size, "%zu", *(const size_t *)p);
        break;
    case SETTING_BITS:
        snprintf(out, size, "%u", *(const unsigned *)p);
        break;
    case SETTING_BITS_LIST: {
        size_t used = 0;
        if (!s->class_bits_count)
            snprintf(out, size, "auto");
        for (size_t i = 0; i < s->class_bits_count && used < size; i++)
            used +=
                (size_t)snprintf(out + used, size - used, "%s%u", i ? "," : "", s->class_bits[i]);
        break;
    }
    case SETTING_SEED:
        snprintf(out, size, "%llu", (unsigned long long)*(const uint64_t *)p);
        break;
    }
}

bool settings_number(const struct settings *s, const struct setting_info *info, double *out)
{
    const void *p = field_const(s, info);
    switch (info->kind) {
    case SETTING_CHOICE:
        *out = *(const int *)p;
        return true;
    case SETTING_SWITCH:
        *out = *(const bool *)p;
        return true;
    case SETTING_REAL:
        *out = *(const double *)p;
        return true;
    case SETTING_AUTO:
        *out = ((const struct setting_auto *)p)->value;
        return ((const struct setting_auto *)p)->given;
    case SETTING_COUNT:
        *out = (double)*(const size_t *)p;
        return true;
    case SETTING_BITS:
        *out = *(const unsigned *)p;
        return true;
    case SETTING_SEED:
        *out = (double)*(const uint64_t *)p;
        return true;
    case SETTING_BITS_LIST:
        break;
    }
    return false;
}

/* The legal width nearest to `value`; between two, the one on the far side of `current`, so that
 * a slider's step from 4 reaches 8 and not 4 again. */
static unsigned nearest_bits(const struct setting_info *info, double value, unsigned current)
{
    unsigned best = current;
    if (value > current) {
        for (size_t i = LEGAL_BITS; i-- > 0;)
            if (legal_bits[i] > current && is_legal_bits(info, legal_bits[i]) &&
                (best == current || legal_bits[i] >= value))
                best = legal_bits[i];
    } else if (value < current) {
        for (size_t i = 0; i < LEGAL_BITS; i++)
            if (legal_bits[i] < current && is_legal_bits(info, legal_bits[i]) &&
                (best == current || legal_bits[i] <= value))
                best = legal_bits[i];
    }
    return best;
}

void settings_set_number(struct settings *s, const struct setting_info *info, double value)
{
    void *p = field(s, info);
    double clamped = value < info->min ? info->min : value > info->max ? info->max : value;
    switch (info->kind) {
    case SETTING_CHOICE:
        *(int *)p = (int)lround(clamped);
        break;
    case SETTING_SWITCH:
        *(bool *)p = clamped >= 0.5;
        break;
    case SETTING_REAL:
        *(double *)p = clamped;
        break;
    case SETTING_AUTO:
        *(struct setting_auto *)p = (struct setting_auto){true, clamped};
        break;
    case SETTING_COUNT:
        *(size_t *)p = (size_t)llround(clamped);
        break;
    case SETTING_BITS:
        *(unsigned *)p = nearest_bits(info, clamped, *(unsigned *)p);
        break;
    case SETTING_SEED:
        *(uint64_t *)p = clamped >= 18446744073709551615.0 ? UINT64_MAX : (uint64_t)clamped;
        break;
    case SETTING_BITS_LIST:
        break;
    }
}

int settings_check(const struct settings *s, struct err *err)
{
    if (s->class_bits_count && s->class_bits_count != s->classes)
        return err_set(err, ERR_USAGE, NULL,
                       "class_bits: found %zu numbers, expected %zu (classes)", s->class_bits_count,
                       s->classes);
    for (size_t i = 1; i < s->class_bits_count; i++)
        if (s->class_bits[i] < s->class_bits[i - 1])
            return err_set(err, ERR_USAGE, NULL,
                           "class_bits: found %u after %u, expected low to high", s->class_bits[i],
                           s->class_bits[i - 1]);
    if (s->bits_low > s->bits_high)
        return err_set(err, ERR_USAGE, NULL, "bits_low (%u) is larger than bits_high (%u)",
                       s->bits_low, s->bits_high);
    return 0;
}

static bool same_value(const struct settings *a, const struct settings *b,
                       const struct setting_info *info)
{
    char x[64], y[64];
    settings_get(a, info, x, sizeof x);
    settings_get(b, info, y, sizeof y);
    return strcmp(x, y) == 0;
}

static bool same_layers(const struct settings *a, const struct settings *b)
{
    for (size_t i = 0; i < SETTINGS_LAYERS_MAX; i++) {
        if (a->layer[i].has_rule != b->layer[i].has_rule ||
            a->layer[i].has_threshold != b->layer[i].has_threshold)
            return false;
        if (a->layer[i].has_rule && a->layer[i].rule != b->layer[i].rule)
            return false;
        if (a->layer[i].has_threshold && a->layer[i].threshold != b->layer[i].threshold)
            return false;
    }
    return true;
}

int settings_first_change(const struct settings *a, const struct settings *b)
{
    int first = same_layers(a, b) ? STAGE_CALIBRATION + 1 : STAGE_STRATEGY;
    for (size_t i = 0; i < COUNT; i++)
        if ((int)table[i].stage < first && !same_value(a, b, &table[i]))
            first = (int)table[i].stage;
    return first;
}

bool settings_equal(const struct settings *a, const struct settings *b)
{
    return settings_first_change(a, b) > STAGE_CALIBRATION;
}
