/* GPTQ (Frantar et al.), see quantizer.h for the form that is computed. */
#include "src/quant/quantizer.h"

static int gptq_run(struct backend *b, const struct quantizer_rule *rule,
                    struct quantizer_hessian *hessians, size_t hessian_count,
                    struct quantizer_item *items, size_t count, struct err *err)
{
    return rounding_run(b, rule, ROUNDING_COMPENSATED, hessians, hessian_count, items, count, err);
}

const struct quantizer quantizer_gptq = {"gptq", gptq_run};
