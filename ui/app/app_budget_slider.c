/* The sliders of a budget: how it is shown, stepped and typed. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "ui/app/app_state.h"

enum { STEPS_A_BIT = 20 };

/* --- Sizes --- */

static const struct {
    const char *name;
    double bytes;
} sizes[] = {{"GiB", 0x1p30}, {"MiB", 0x1p20}, {"KiB", 0x1p10}, {"GB", 1e9}, {"MB", 1e6},
             {"kB", 1e3},     {"G", 1e9},      {"M", 1e6},      {"k", 1e3},  {"B", 1}};
enum { SIZES = sizeof sizes / sizeof *sizes, BINARY_SIZES = 3 };

/* The unit that a size is shown in. */
static size_t size_of(double bytes)
{
    size_t i = 0;
    while (i + 1 < BINARY_SIZES && bytes < sizes[i].bytes)
        i++;
    return i;
}

static void size_text(char *out, size_t size, double bytes)
{
    size_t i = size_of(bytes);
    snprintf(out, size, "%.5g %s", bytes / sizes[i].bytes, sizes[i].name);
}

/* 1, 2 or 5 times a power of ten, the largest up to `value`. */
static double round_step(double value)
{
    double power = pow(10, floor(log10(value)));
    return value >= 5 * power ? 5 * power : value >= 2 * power ? 2 * power : power;
}

/* About as much as a step of the bits, and round in the unit that is shown. */
static double size_step(const struct app *a, double bytes)
{
    double unit = sizes[size_of(bytes)].bytes;
    return round_step(a->front.weights / 8 / STEPS_A_BIT / unit) * unit;
}

void app_budget_text(char *out, size_t size, const struct app_budget *b)
{
    if (!b->on)
        snprintf(out, size, "MoQa");
    else if (b->unit == APP_BYTES)
        size_text(out, size, (double)b->bytes);
    else
        snprintf(out, size, "%.6g bits", b->bits);
}

/* --- Its sliders --- */

const char *const app_budget_sliders[] = {"budget", "unit", "grain", NULL};

static const char *const units[] = {"bits", "bytes", NULL};
static const char *const grains[BUDGET_GRAINS + 1] = {"linear", "expert", "channel", NULL};
enum { BUDGET, UNIT, GRAIN, INFOS };
static const struct setting_info infos[INFOS] = {
    [BUDGET] = {.name = "budget",
                .kind = SETTING_REAL,
                .stage = STAGE_STRATEGY,
                .min = 2,
                .max = APP_BITS_MAX,
                .step = 1.0 / STEPS_A_BIT,
                .help = "average bits a weight of all experts (2.5), or their size (40 MB, 38MiB)"},
    [UNIT] = {.name = "unit",
              .kind = SETTING_CHOICE,
              .stage = STAGE_STRATEGY,
              .choices = units,
              .max = APP_UNITS - 1,
              .step = 1,
              .help = "what the budget counts: bits of the weights, or bytes of the file"},
    [GRAIN] = {.name = "grain",
               .kind = SETTING_CHOICE,
               .stage = STAGE_STRATEGY,
               .choices = grains,
               .max = BUDGET_GRAINS - 1,
               .step = 1,
               .help = "linear: gate, up and down of an expert may differ; expert: they may not; "
                       "channel: each may also have channels at bits_channel"},
};

const struct setting_info *app_budget_find(const char *name)
{
    for (size_t i = 0; i < INFOS; i++)
        if (strcmp(infos[i].name, name) == 0)
            return &infos[i];
    return NULL;
}

bool app_budget_owns(const struct setting_info *info)
{
    return info >= infos && info < infos + INFOS;
}

void app_budget_get(const struct app *a, const struct setting_info *info, char *out, size_t size)
{
    const struct app_budget *b = &a->document.budget;
    if (info == &infos[BUDGET] && b->unit == APP_BYTES)
        size_text(out, size, (double)b->bytes);
    else if (info == &infos[BUDGET])
        snprintf(out, size, "%.6g", b->bits);
    else
        snprintf(out, size, "%s", info == &infos[UNIT] ? units[b->unit] : grains[b->grain]);
}

double app_budget_bits(const struct app_budget *b, double weights)
{
    return b->unit == APP_BITS ? b->bits : 8 * (double)b->bytes / weights;
}

double app_budget_fraction(const struct app *a, const struct setting_info *info)
{
    enum { USEFUL = 8 }; /* bits: beyond them little is left to win */
    const struct app_budget *b = &a->document.budget;
    double least = a->front.curve.points ? a->front.curve.bits[0] : 2;
    if (info == &infos[UNIT])
        return b->unit;
    if (info == &infos[GRAIN])
        return (double)b->grain / (BUDGET_GRAINS - 1);
    return fmin(fmax((app_budget_bits(b, a->front.weights) - least) / (USEFUL - least), 0), 1);
}

static void say_end(struct app *a)
{
    if (!a->message[0])
        app_say(a, STYLE_TEXT_DIM, "the budget ends here: the %s that it can be",
                app_budget_bits(&a->document.budget, a->front.weights) > APP_BITS_MAX / 2
                    ? "most"
                    : "least");
}

/* Bits that are typed easily and hold what the exact ones hold. */
static double round_up(double bits)
{
    return ceil(bits * 1000 - 1e-9) / 1000;
}

void app_budget_hold(struct app_budget *b, double bits, double weights)
{
    if (b->unit == APP_BYTES)
        b->bytes = (uint64_t)ceil(bits * weights / 8 - 1e-6);
    else
        b->bits = round_up(bits);
}

/* The budget as near to `bits` as it can be. */
static void set_bits(const struct app *a, struct app_budget *b, double bits)
{
    app_budget_hold(b, fmin(fmax(bits, a->front.curve.bits[0]), APP_BITS_MAX), a->front.weights);
    b->chosen = true;
}

/* Around, past channels that the losses do not know; the error says why. */
static void step_grain(const struct app *a, struct app_budget *b, int steps, struct err *err)
{
    int by = steps < 0 ? BUDGET_GRAINS - 1 : 1;
    b->grain = (b->grain + by) % BUDGET_GRAINS;
    if (b->grain == BUDGET_CHANNELS &&
        losses_check_channels(a->front.losses, NULL, &a->document.settings, err) < 0)
        b->grain = (b->grain + by) % BUDGET_GRAINS;
}

void app_budget_step(struct app *a, const struct setting_info *info, int steps)
{
    struct app_document next = a->document;
    struct app_budget *b = &next.budget;
    double bits = app_budget_bits(b, a->front.weights);
    struct err err = {0};
    if (info == &infos[GRAIN]) {
        step_grain(a, b, steps, &err);
    } else if (info == &infos[UNIT]) {
        /* What the plan has: it stays the same one, or nearly. */
        b->unit = (b->unit + 1) % APP_UNITS;
        b->bytes = a->plan.summary.bytes_after;
        b->bits = round_up(a->plan.summary.nominal_bits);
    } else if (b->unit == APP_BYTES) {
        double step = size_step(a, (double)b->bytes);
        set_bits(a, b, 8 * step * round((double)b->bytes / step + steps) / a->front.weights);
    } else {
        set_bits(a, b, round(bits * STEPS_A_BIT + steps) / STEPS_A_BIT);
    }
    if (!app_commit(a, &next))
        say_end(a);
    else if (err.code)
        app_say(a, STYLE_TEXT_DIM, "channel: %s", err.message);
}

void app_budget_default(const struct app *a, struct app_budget *b)
{
    set_bits(a, b, isfinite(a->front.moqa.bits) ? a->front.moqa.bits : a->front.curve.bits[0]);
}

void app_budget_reset(struct app *a, const struct setting_info *info)
{
    struct app_document next = a->document;
    if (info == &infos[GRAIN])
        next.budget.grain = BUDGET_LINEARS;
    else if (info == &infos[BUDGET])
        app_budget_default(a, &next.budget);
    else if (next.budget.unit != APP_BITS) {
        app_budget_step(a, info, 1);
        return;
    }
    app_commit(a, &next);
}

/* "2.5", "40MB", "38 MiB", "1500000": up to 64 they are bits, else bytes. */
static bool parse_budget(struct app_budget *b, const char *text)
{
    enum { BITS_TYPED = 64 };
    char *end;
    double value = strtod(text, &end), unit = 0;
    if (end == text || !(value > 0) || value > 0x1p53)
        return false;
    while (*end == ' ')
        end++;
    for (size_t i = 0; *end && i < SIZES; i++)
        if (strcmp(end, sizes[i].name) == 0)
            unit = sizes[i].bytes;
    if (*end && unit == 0 && strcmp(end, "bits") != 0)
        return false;
    b->unit = unit > 0 || (!*end && value > BITS_TYPED) ? APP_BYTES : APP_BITS;
    if (b->unit == APP_BYTES && value * fmax(unit, 1) > 0x1p53)
        return false;
    if (b->unit == APP_BYTES)
        b->bytes = (uint64_t)(value * fmax(unit, 1));
    else
        b->bits = value;
    return true;
}

static bool parse_name(int *out, const char *const *names, const char *text)
{
    for (int i = 0; names[i]; i++)
        if (strcmp(names[i], text) == 0) {
            *out = i;
            return true;
        }
    return false;
}

bool app_budget_set(struct app *a, const struct setting_info *info, const char *value)
{
    struct app_document next = a->document;
    int unit = next.budget.unit;
    bool known = info == &infos[BUDGET] ? parse_budget(&next.budget, value)
                 : info == &infos[UNIT] ? parse_name(&unit, units, value)
                                        : parse_name(&next.budget.grain, grains, value);
    if (!known) {
        app_say(a, STYLE_ERROR, "%s: found \"%.40s\", expected %s", info->name, value,
                info == &infos[BUDGET] ? "bits as 2.5, or a size as 40MB or 38MiB"
                : info == &infos[UNIT] ? "bits or bytes"
                                       : "linear, expert or channel");
        return false;
    }
    if (info == &infos[UNIT]) {
        if (unit != a->document.budget.unit)
            app_budget_step(a, info, 1);
        return true;
    }
    next.budget.chosen = true;
    app_commit(a, &next);
    return true;
}

void app_budget_move(struct app *a, double bits)
{
    struct app_document next = a->document;
    if (!a->front.losses)
        return;
    next.budget.on = true;
    set_bits(a, &next.budget, bits);
    app_commit(a, &next);
}
