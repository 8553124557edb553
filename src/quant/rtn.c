/* Round to nearest, and the table of quantizers that it closes. */
#include "src/quant/quantizer.h"

static int rtn_run(struct backend *b, const struct quantizer_rule *rule,
                   struct quantizer_hessian *hessians, size_t hessian_count,
                   struct quantizer_item *items, size_t count, struct err *err)
{
    return rounding_run(b, rule, ROUNDING_NEAREST, hessians, hessian_count, items, count, err);
}

const struct quantizer quantizer_rtn = {"rtn", rtn_run};

const struct quantizer *quantizer_find(enum plan_quantizer kind)
{
    static const struct quantizer *const table[] = {
        [PLAN_GPTQ] = &quantizer_gptq,
        [PLAN_RTN] = &quantizer_rtn,
        [PLAN_NONE] = NULL,
    };
    return table[kind];
}
