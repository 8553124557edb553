#include "analysis/gaussian.h"

#include <math.h>

#include <gsl/gsl_math.h>
#include <gsl/gsl_sf_erf.h>

static bool all_equal(const double *values, size_t count)
{
    for (size_t i = 1; i < count; i++)
        if (values[i] != values[0])
            return false;
    return true;
}

/* Sum of squared deviations from the mean. */
static double deviations(double *mean, const double *values, size_t count)
{
    double sum = 0, squares = 0;
    for (size_t i = 0; i < count; i++)
        sum += values[i];
    *mean = sum / (double)count;
    for (size_t i = 0; i < count; i++)
        squares += (values[i] - *mean) * (values[i] - *mean);
    return squares;
}

void gaussian_moments(double *mu, double *sigma, const double *values, size_t count)
{
    *sigma = sqrt(deviations(mu, values, count) / (double)count);
    if (all_equal(values, count)) {
        *mu = values[0];
        *sigma = 0;
    }
}

/* p of A*, after D'Agostino and Stephens, Goodness-of-Fit Techniques (1986), table 4.9. */
static double p_value(double a)
{
    static const struct {
        double below, constant, linear, square;
        bool complement;
    } piece[] = {
        {0.2, -13.436, 101.14, -223.73, true},
        {0.34, -8.318, 42.796, -59.938, true},
        {0.6, 0.9177, -4.279, -1.38, false},
        {HUGE_VAL, 1.2937, -5.709, 0.0186, false},
    };
    /* The last parabola turns up again here, where p is far below the smallest of interest. */
    const double turn = 5.709 / (2 * 0.0186);
    size_t i = 0;
    while (a >= piece[i].below)
        i++;
    double x = fmin(a, turn);
    double e = exp(piece[i].constant + x * (piece[i].linear + x * piece[i].square));
    return piece[i].complement ? 1 - e : e;
}

static double log_normal_cdf(double z)
{
    return gsl_sf_log_erfc(-z * M_SQRT1_2) - M_LN2;
}

bool gaussian_anderson_darling(double *statistic, double *p, const double *sorted, size_t count)
{
    if (count < GAUSSIAN_AD_MIN || all_equal(sorted, count))
        return false;
    double n = (double)count, mean, sum = 0;
    double deviation = sqrt(deviations(&mean, sorted, count) / (n - 1));
    if (!(deviation > 0))
        return false;
    for (size_t i = 0; i < count; i++) {
        double low = (sorted[i] - mean) / deviation;
        double high = (sorted[count - 1 - i] - mean) / deviation;
        sum += (2 * (double)i + 1) * (log_normal_cdf(low) + log_normal_cdf(-high));
    }
    *statistic = (-n - sum / n) * (1 + 0.75 / n + 2.25 / (n * n));
    *p = p_value(*statistic);
    return true;
}
