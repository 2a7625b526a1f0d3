/* SPDX-License-Identifier: MIT */
/* jemalloc draws the samples of its heap profile (MALLOC_CONF=prof:true) by a logarithm, and scales
 * them by an exponential. For these three functions every process would load libm: five mappings
 * that each fork copies, and some of the page faults at the start of a small program. The processor has both
 * (Intel SDM vol. 1, 8.3.7); they are as exact as a profile by samples can make use of. */
#include <math.h>
#include <stdint.h>

double heap_door_log(double x);
double heap_door_exp(double x);
double heap_door_round(double x);

#ifdef __x86_64__

double heap_door_log(double x)
{
	long double r;
	__asm__("fldln2\n\tfldl %1\n\tfyl2x" : "=t"(r) : "m"(x) : "st(1)");
	return (double)r;
}

/* 2 to the power of x/ln 2, its whole part by the scale and the rest by f2xm1. */
double heap_door_exp(double x)
{
	long double r;
	x = x < -800 ? -800 : x > 800 ? 800 : x; /* 0 and infinity, as a double */
	__asm__("fldl2e\n\tfmull %1\n\tfld %%st\n\tfrndint\n\tfsubr %%st, %%st(1)\n\tfxch\n\tf2xm1\n\tfld1\n\t"
		"faddp\n\tfscale\n\tfstp %%st(1)" : "=t"(r) : "m"(x) : "st(1)", "st(2)");
	return (double)r;
}

/* Halves away from zero. What has no room for a fraction is whole. */
double heap_door_round(double x)
{
	double size = x < 0 ? -x : x;
	if (!(size < 0x1p52))
		return x;
	int64_t whole = (int64_t)size;
	whole += size - (double)whole >= 0.5;
	return x < 0 ? -(double)whole : (double)whole;
}

#else

double heap_door_log(double x) { return log(x); }
double heap_door_exp(double x) { return exp(x); }
double heap_door_round(double x) { return round(x); }

#endif
