/* Settings as sliders: which a screen has, how they are moved, typed and reset. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "ui/app/app_state.h"

const char *const *app_sliders(const struct app *a)
{
    bool budget = a->document.budget.on && views[a->view] == &view_plan;
    return budget ? app_budget_sliders : views[a->view]->sliders;
}

static size_t slider_count(const struct app *a)
{
    size_t count = 0;
    while (app_sliders(a)[count])
        count++;
    return count;
}

const struct setting_info *app_slider_find(const char *name)
{
    const struct setting_info *info = app_budget_find(name);
    return info ? info : settings_find(name);
}

bool app_own_threshold(const struct app *a)
{
    return a->layer < SETTINGS_LAYERS_MAX && a->document.settings.layer[a->layer].has_threshold;
}

/* The slider is the threshold of the layer in sight, not that of all. */
static bool is_own(const struct app *a, const struct setting_info *info)
{
    return strcmp(info->name, "threshold") == 0 && app_own_threshold(a);
}

void app_slider_text(const struct app *a, const struct setting_info *info, char *out, size_t size)
{
    if (app_budget_owns(info))
        app_budget_get(a, info, out, size);
    else if (is_own(a, info))
        snprintf(out, size, "%zu:%.15g", a->layer, a->document.settings.layer[a->layer].threshold);
    else
        settings_get(&a->document.settings, info, out, size);
}

bool app_slider_number(const struct app *a, const struct setting_info *info, double *out)
{
    if (!is_own(a, info))
        return settings_number(&a->document.settings, info, out);
    *out = a->document.settings.layer[a->layer].threshold;
    return true;
}

static void set_number(struct settings *s, const struct app *a, const struct setting_info *info,
                       double value)
{
    if (is_own(a, info))
        s->layer[a->layer].threshold = fmin(fmax(value, info->min), info->max);
    else
        settings_set_number(s, info, value);
}

const struct setting_info *app_slider(const struct app *a)
{
    size_t count = slider_count(a);
    return count ? app_slider_find(app_sliders(a)[a->slider[a->view] % count]) : NULL;
}

static double auto_value(const struct app *a, const struct setting_info *info)
{
    bool is_beta = strcmp(info->name, "beta") == 0;
    return is_beta ? a->result->zipf.beta : a->result->layer[a->layer].threshold;
}

/* The document with other settings, kept only if they agree. */
static bool commit(struct app *a, const struct settings *settings)
{
    struct app_document next = a->document;
    next.settings = *settings;
    return app_commit(a, &next);
}

/* What was changed for all layers does not reach the one in sight. */
static void tell_own(struct app *a, const struct setting_info *info)
{
    size_t number = a->result->layer[a->layer].layer;
    bool rule = strcmp(info->name, "rule") == 0 && a->layer < SETTINGS_LAYERS_MAX &&
                a->document.settings.layer[a->layer].has_rule;
    if (rule)
        app_say(a, STYLE_WARN, "layer %zu keeps its own rule; o changes that", number);
    else if (strcmp(info->name, "threshold") == 0 && app_own_threshold(a))
        app_say(a, STYLE_WARN, "layer %zu keeps its own threshold; type %zu:auto to give it up",
                number, a->layer);
}

/* n steps as the decimal number that one would type: 35 steps of 0.01 are 0.35, where the product
 * is 0.35000000000000003. */
static double on_grid(double n, double step)
{
    double per_unit = round(1 / step);
    return step < 1 && fabs(per_unit * step - 1) < 1e-9 ? n / per_unit : n * step;
}

void app_step_slider(struct app *a, int steps)
{
    const struct setting_info *info = app_slider(a);
    struct settings next = a->document.settings;
    double value;
    if (!info)
        return;
    if (app_budget_owns(info)) {
        app_budget_step(a, info, steps);
        return;
    }
    if (!app_slider_number(a, info, &value)) {
        if (info->kind != SETTING_AUTO)
            return;
        value = auto_value(a, info);
    }
    if (info->kind == SETTING_CHOICE || info->kind == SETTING_SWITCH) {
        double count = info->max + 1;
        value = fmod(value + (steps > 0 ? 1 : -1) + count, count);
    } else if (info->kind == SETTING_BITS || (info->kind == SETTING_COUNT && info->step == 1)) {
        value += steps;
    } else {
        value = on_grid(round(value / info->step + steps), info->step);
    }
    set_number(&next, a, info, value);
    bool done = commit(a, &next);
    if (done && !is_own(a, info))
        tell_own(a, info);
    else if (!done && !a->message[0])
        app_say(a, STYLE_TEXT_DIM, "%s ends here", info->name);
}

void app_reset_slider(struct app *a)
{
    const struct setting_info *info = app_slider(a);
    struct settings standard;
    char text[64];
    if (!info)
        return;
    if (app_budget_owns(info)) {
        app_budget_reset(a, info);
        return;
    }
    settings_defaults(&standard);
    settings_get(&standard, info, text, sizeof text);
    if (is_own(a, info)) /* which has no default */
        snprintf(text, sizeof text, "%zu:auto", a->layer);
    app_set(a, info->name, text);
}

bool app_set(struct app *a, const char *name, const char *value)
{
    const struct setting_info *own = app_budget_find(name);
    struct settings next = a->document.settings;
    struct err err = {0};
    if (own)
        return app_budget_set(a, own, value);
    if (settings_set(&next, name, value, &err) < 0) {
        app_say_err(a, "", &err);
        return false;
    }
    if (commit(a, &next) && !strchr(value, ':'))
        tell_own(a, settings_find(name));
    return true;
}

void app_cycle_rule(struct app *a)
{
    static const char *const names[] = {"by pattern", "threshold", "Jenks"};
    struct settings next = a->document.settings;
    if (a->layer >= SETTINGS_LAYERS_MAX) {
        app_say(a, STYLE_WARN, "only the first %d layers can have rules of their own",
                SETTINGS_LAYERS_MAX);
        return;
    }
    int rule = next.layer[a->layer].has_rule ? next.layer[a->layer].rule : RULE_AUTO;
    next.layer[a->layer].has_rule = rule != RULE_JENKS;
    next.layer[a->layer].rule = rule == RULE_AUTO        ? RULE_THRESHOLD
                                : rule == RULE_THRESHOLD ? RULE_JENKS
                                                         : RULE_AUTO;
    if (!commit(a, &next))
        return;
    if (next.layer[a->layer].has_rule)
        app_say(a, STYLE_ACCENT, "layer %zu: %s, whatever `rule` says",
                a->result->layer[a->layer].layer, names[next.layer[a->layer].rule]);
    else
        app_say(a, STYLE_TEXT_DIM, "layer %zu follows `rule` again",
                a->result->layer[a->layer].layer);
}
