#include "src/command_line.h"

#include <string.h>

#include "analysis/planner.h"
#include "src/cli/cli.h"

static void append_quoted(struct str *out, const char *text)
{
    static const char plain[] =
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_-./,:=+@%";
    if (text[0] && strspn(text, plain) == strlen(text)) {
        str_append(out, text);
        return;
    }
    str_append(out, "'");
    for (; *text; text++)
        str_appendf(out, *text == '\'' ? "'\\''" : "%c", *text);
    str_append(out, "'");
}

/* What a command without flags has, here, by files and environment. */
static void get_bare(struct settings *s)
{
    if (cli_bare_settings(s, NULL) < 0)
        settings_defaults(s);
}

/* Flags for what a command has neither by default nor by its surroundings. */
void command_line_settings(struct str *out, const struct settings *s)
{
    struct settings defaults, bare;
    settings_defaults(&defaults);
    get_bare(&bare);
    for (size_t i = 0; i < settings_count(); i++) {
        const struct setting_info *info = settings_info(i);
        char value[64], standard[64], here[64], flag[CLI_FLAG_MAX];
        settings_get(s, info, value, sizeof value);
        settings_get(&defaults, info, standard, sizeof standard);
        settings_get(&bare, info, here, sizeof here);
        if (strcmp(value, standard) == 0 && strcmp(value, here) == 0)
            continue;
        str_appendf(out, " --%s %s", cli_setting_flag(flag, info->name), value);
    }
    const char *const *rules = settings_find("rule")->choices;
    for (size_t l = 0; l < SETTINGS_LAYERS_MAX; l++) {
        if (s->layer[l].has_rule)
            str_appendf(out, " --rule %zu:%s", l, rules[s->layer[l].rule]);
        if (s->layer[l].has_threshold)
            str_appendf(out, " --threshold %zu:%.15g", l, s->layer[l].threshold);
    }
}

static void append_budget(struct str *out, const struct command_budget *b)
{
    str_append(out, " --losses ");
    append_quoted(out, b->losses ? b->losses : "LOSSES");
    if (b->bytes)
        str_appendf(out, " --bytes %llu", (unsigned long long)b->bytes);
    else
        str_appendf(out, " --bits %.15g", b->bits);
    if (b->grain != BUDGET_LINEARS)
        str_appendf(out, " --grain %s", budget_grain_names[b->grain]);
}

static void append_method(struct str *out, const struct plan *p, const struct command_budget *b)
{
    const struct planner_method *method = planner_method_find(p->method);
    if (!p->method[0] || strcmp(p->method, "moqa") == 0)
        return;
    str_appendf(out, " --method %s", p->method);
    if (strcmp(p->method, "budget") == 0 && b) {
        append_budget(out, b);
        return;
    }
    if (method && method->losses)
        str_append(out, " --losses LOSSES");
    if (method && method->average)
        str_append(out, " --bits AVERAGE");
}

void command_line(struct str *out, const char *verb, const char *trace_path, const char *model_dir,
                  const struct plan *plan, const struct command_budget *budget)
{
    str_appendf(out, "moqa %s ", verb);
    append_quoted(out, trace_path);
    if (model_dir) {
        str_append(out, " --model ");
        append_quoted(out, model_dir);
    }
    command_line_settings(out, &plan->settings);
    if (strcmp(verb, "plan") != 0)
        return;
    append_method(out, plan, budget);
    for (size_t l = 0; l < plan->layers_count; l++)
        for (size_t e = 0; e < plan->experts; e++)
            if (plan->layers[l].experts[e].pinned)
                str_appendf(out, " --pin %zu.%zu=%u", l, e, plan->layers[l].experts[e].bits);
    str_append(out, " -o PLAN");
}
