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

void app_slider_text(const struct app *a, const struct setting_info *info, char *out, size_t size)
{
    if (app_budget_owns(info))
        app_budget_get(a, info, out, size);
    else
        settings_get(&a->document.settings, info, out, size);
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
    if (!settings_number(&next, info, &value)) {
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
    settings_set_number(&next, info, value);
    if (!commit(a, &next) && !a->message[0])
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
    commit(a, &next);
    return true;
}

void app_cycle_rule(struct app *a)
{
    static const char *const names[] = {"by pattern", "threshold", "Jenks"};
    struct settings next = a->document.settings;
    if (a->layer >= SETTINGS_LAYERS_MAX)
        return;
    bool had = next.layer[a->layer].has_rule;
    int rule = next.layer[a->layer].rule;
    next.layer[a->layer].has_rule = !had || rule != RULE_JENKS;
    next.layer[a->layer].rule = !had ? RULE_THRESHOLD : rule == RULE_THRESHOLD ? RULE_JENKS : 0;
    if (!commit(a, &next))
        return;
    if (next.layer[a->layer].has_rule)
        app_say(a, STYLE_ACCENT, "layer %zu: %s, whatever `rule` says",
                a->result->layer[a->layer].layer, names[next.layer[a->layer].rule]);
    else
        app_say(a, STYLE_TEXT_DIM, "layer %zu follows `rule` again",
                a->result->layer[a->layer].layer);
}
