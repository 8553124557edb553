#include "analysis/zipf.h"

#include <math.h>

#include <gsl/gsl_errno.h>
#include <gsl/gsl_fit.h>
#include <gsl/gsl_roots.h>

/* Equal counts at the first and last rank mean equal counts at all. */
static bool is_flat(const struct ranks *r)
{
    return r->count[0] == r->count[r->types - 1];
}

double zipf_constant(double beta, const struct ranks *r)
{
    double sum = 0;
    for (size_t t = r->types; t-- > 0;)
        sum += exp(-beta * r->log_rank[t]);
    return 1 / sum;
}

struct likelihood {
    const struct ranks *ranks;
    double mean_log; /* of ln r over all positions */
};

/* Derivative of the log-likelihood by beta, per position: E_beta[ln r] - mean ln r. It falls
 * strictly with beta, so its one root is the maximum. */
static double slope(double beta, void *context)
{
    const struct likelihood *l = context;
    double sum = 0, weighted = 0;
    for (size_t t = l->ranks->types; t-- > 0;) {
        double d = exp(-beta * l->ranks->log_rank[t]);
        sum += d;
        weighted += d * l->ranks->log_rank[t];
    }
    return weighted / sum - l->mean_log;
}

static int solve(double *beta, struct likelihood *l, double low, double high, struct err *err)
{
    enum { STEPS_MAX = 200 };
    gsl_root_fsolver *solver = gsl_root_fsolver_alloc(gsl_root_fsolver_brent);
    if (!solver)
        return err_set(err, ERR_NOMEM, NULL, "no memory for the fit of Zipf's law");
    gsl_function f = {slope, l};
    int rc = gsl_root_fsolver_set(solver, &f, low, high);
    int state = GSL_CONTINUE;
    for (int i = 0; rc == GSL_SUCCESS && state == GSL_CONTINUE && i < STEPS_MAX; i++) {
        rc = gsl_root_fsolver_iterate(solver);
        *beta = gsl_root_fsolver_root(solver);
        state = gsl_root_test_interval(gsl_root_fsolver_x_lower(solver),
                                       gsl_root_fsolver_x_upper(solver), 0, 1e-15);
    }
    gsl_root_fsolver_free(solver);
    if (rc != GSL_SUCCESS)
        return err_set(err, ERR_NUMERIC, NULL, "the fit of Zipf's law failed: %s",
                       gsl_strerror(rc));
    return 0;
}

int zipf_fit_mle(double *beta, double *c, const struct ranks *r, struct err *err)
{
    *beta = 0;
    *c = 1 / (double)r->types;
    if (is_flat(r))
        return 0;
    struct likelihood l = {r, 0};
    for (size_t t = r->types; t-- > 0;)
        l.mean_log += (double)r->count[t] * r->log_rank[t];
    l.mean_log /= (double)r->positions;
    double high = 1;
    while (slope(high, &l) > 0)
        high *= 2;
    int rc = solve(beta, &l, 0, high, err);
    if (rc == 0)
        *c = zipf_constant(*beta, r);
    return rc;
}

void zipf_fit_ols(double *beta, double *c, const struct ranks *r)
{
    *beta = 0;
    *c = 1 / (double)r->types;
    if (is_flat(r))
        return;
    double intercept, line, cov00, cov01, cov11, sum_of_squares;
    gsl_fit_linear(r->log_rank, 1, r->log_frequency, 1, r->types, &intercept, &line, &cov00, &cov01,
                   &cov11, &sum_of_squares);
    *beta = -line;
    *c = exp(intercept);
}

void zipf_log_density(double *log_d, double beta, double c, const struct ranks *r)
{
    double log_c = log(c);
    for (size_t t = 0; t < r->types; t++)
        log_d[t] = log_c - beta * r->log_rank[t];
}

void zipf_quality(double *r2, double *ks, const double *log_d, const struct ranks *r)
{
    double n = (double)r->positions, mean = 0, residual = 0, total = 0;
    double empirical = 0, fitted = 0;
    *ks = 0;
    for (size_t t = 0; t < r->types; t++)
        mean += r->log_frequency[t] / (double)r->types;
    for (size_t t = 0; t < r->types; t++) {
        double y = r->log_frequency[t];
        residual += (y - log_d[t]) * (y - log_d[t]);
        total += (y - mean) * (y - mean);
        empirical += (double)r->count[t] / n;
        fitted += exp(log_d[t]);
        *ks = fmax(*ks, fabs(empirical - fitted));
    }
    if (is_flat(r))
        *r2 = residual <= 1e-20 * (double)r->types ? 1 : 0;
    else
        *r2 = 1 - residual / total;
}
