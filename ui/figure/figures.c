#include "ui/figure/figures.h"

#include <string.h>

#include "ui/figure/figure_parts.h"

static const struct figure_info table[] = {
    {"zipf", "how often the tokens occur, by rank, with the fit of Zipf's law", NULL, false,
     FIGURE_NEEDS_NOTHING, figure_make_zipf},
    {"utilization", "utilization by rank, before and after re-weighting", "Fig. 2", false,
     FIGURE_NEEDS_NOTHING, figure_make_utilization},
    {"mapping", "the ranks that each expert of a layer serves", "Fig. 3", true,
     FIGURE_NEEDS_NOTHING, figure_make_mapping},
    {"significance", "how the significance of a layer's experts is spread, and where it is cut",
     "Fig. 4", true, FIGURE_NEEDS_NOTHING, figure_make_significance},
    {"experts", "the experts of a layer by falling significance", NULL, true, FIGURE_NEEDS_NOTHING,
     figure_make_experts},
    {"similarity", "how much the weights of a layer's experts are alike", "Fig. 5", true,
     FIGURE_NEEDS_COSINE, figure_make_similarity},
    {"difference", "difference in significance against cosine, for all pairs of a layer's experts",
     "Fig. 5", true, FIGURE_NEEDS_COSINE, figure_make_difference},
    {"bits", "the bits of every expert of every layer", "Fig. 6", false, FIGURE_NEEDS_PLAN,
     figure_make_bits},
    {"front", "bits against predicted loss: the front of all budgets, and plans on it", NULL, false,
     FIGURE_NEEDS_FRONT, figure_make_front},
    {"results", "bits against perplexity, for every run", NULL, false, FIGURE_NEEDS_RUNS,
     figure_make_results},
};

size_t figures_count(void)
{
    return sizeof table / sizeof *table;
}

const struct figure_info *figures_info(size_t i)
{
    return &table[i];
}

const struct figure_info *figures_find(const char *name)
{
    for (size_t i = 0; i < figures_count(); i++)
        if (strcmp(table[i].name, name) == 0)
            return &table[i];
    return NULL;
}

static bool has_results(const struct figure_source *s)
{
    const struct figure_results *r = s->text < s->texts ? &s->results[s->text] : NULL;
    for (size_t i = 0; r && i < r->runs; i++)
        if (r->run[i].has_perplexity)
            return true;
    return false;
}

static int check(const struct figure_info *info, const struct figure_source *s, struct err *err)
{
    if ((info->needs & FIGURE_NEEDS_COSINE) && !s->cosine)
        return err_set(err, ERR_USAGE, NULL,
                       "the figure `%s` is made from the weights of the experts: give the model",
                       info->name);
    if ((info->needs & FIGURE_NEEDS_PLAN) && !s->plan)
        return err_set(err, ERR_USAGE, NULL,
                       "the figure `%s` shows a plan: give one, or the model to make one for",
                       info->name);
    if ((info->needs & FIGURE_NEEDS_RUNS) && !has_results(s))
        return err_set(
            err, ERR_USAGE, NULL,
            "the figure `%s` shows runs, and there are none: quantize and evaluate first",
            info->name);
    if ((info->needs & FIGURE_NEEDS_FRONT) && !s->front)
        return err_set(err, ERR_USAGE, NULL,
                       "the figure `%s` is made from measured losses: give the model and --losses "
                       "FILE (moqa losses)",
                       info->name);
    size_t layers = analysis_result(s->analysis)->layers;
    if (info->per_layer && s->layer >= layers)
        return err_set(err, ERR_USAGE, NULL,
                       "there is no MoE layer %zu: they are numbered from 0 to %zu", s->layer,
                       layers - 1);
    return 0;
}

static int unknown(const char *name, struct err *err)
{
    char known[256] = "";
    size_t used = 0;
    for (size_t i = 0; i < figures_count() && used < sizeof known; i++) {
        size_t room = sizeof known - used;
        const char *parts[] = {i ? ", " : "", table[i].name};
        for (size_t k = 0; k < 2; k++) {
            strncat(known, parts[k], room - 1);
            used = strlen(known);
            room = sizeof known - used;
        }
    }
    return err_set(err, ERR_USAGE, NULL, "there is no figure `%s`; there are %s", name, known);
}

int figures_make(struct figure *out, const char *name, const struct figure_source *s,
                 struct err *err)
{
    const struct figure_info *info = figures_find(name);
    *out = (struct figure){0};
    int rc = info ? check(info, s, err) : unknown(name, err);
    if (rc == 0)
        rc = info->make(out, s, err);
    if (rc < 0)
        figure_release(out);
    return rc;
}
