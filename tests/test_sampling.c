/* SPDX-License-Identifier: MIT */
#define heap_door_log sampling_log
#define heap_door_exp sampling_exp
#define heap_door_round sampling_round
#include "shim/sampling.c"

#include <criterion/criterion.h>

TestSuite(sampling, .timeout = 20);

static bool is_close(double a, double b)
{
	return a == b || fabs(a - b) <= 1e-15 * fabs(b);
}

Test(sampling, log_is_libm_s)
{
	for (double x = 1e-300; x < 1e300; x *= 1.0371)
		cr_assert(is_close(sampling_log(x), log(x)), "log(%g): %.17g, %.17g", x, sampling_log(x), log(x));
	cr_assert(sampling_log(0) == -INFINITY);
	cr_assert(sampling_log(1) == 0);
}

Test(sampling, exp_is_libm_s)
{
	for (double x = -700; x < 709; x += 0.0713)
		cr_assert(is_close(sampling_exp(x), exp(x)), "exp(%g): %.17g, %.17g", x, sampling_exp(x), exp(x));
	static const double edge[] = { 0, 1e-18, -745, -746, 710, 1e300, -1e300, INFINITY, -INFINITY };
	for (size_t i = 0; i < sizeof edge / sizeof *edge; i++)
		cr_assert(is_close(sampling_exp(edge[i]), exp(edge[i])), "exp(%g)", edge[i]);
}

Test(sampling, round_is_libm_s)
{
	static const double row[] = { 0, 0.25, 0.49999999999999994, 0.5, 1.5, 2.5, -0.5, -1.25, 4503599627370495.5,
				      4503599627370497, 0x1p62, 1e300, INFINITY };
	for (size_t i = 0; i < sizeof row / sizeof *row; i++)
		cr_assert(sampling_round(row[i]) == round(row[i]), "round(%.17g)", row[i]);
}
