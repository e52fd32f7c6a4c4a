/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * BPF_PROG(name, arguments...): a program that is called with an array of 64-bit values and is
 * written like a function of up to five arguments.
 *
 * The array's name has a prefix nobody uses: a scheduler's own argument is often called `ctx`.
 */
#ifndef TQUIC_BPF_TRACING_H
#define TQUIC_BPF_TRACING_H

#define __TQUIC_CAT_(a, b) a##b
#define __TQUIC_CAT(a, b) __TQUIC_CAT_(a, b)
#define __TQUIC_SIXTH(a, b, c, d, e, f, ...) f
#define __TQUIC_COUNT(...) __TQUIC_SIXTH(__VA_ARGS__, 5, 4, 3, 2, 1, 0)

#define __TQUIC_ARG(n) ((void *)__tquic_args[n])
#define __TQUIC_ARGS_1 __TQUIC_ARG(0)
#define __TQUIC_ARGS_2 __TQUIC_ARGS_1, __TQUIC_ARG(1)
#define __TQUIC_ARGS_3 __TQUIC_ARGS_2, __TQUIC_ARG(2)
#define __TQUIC_ARGS_4 __TQUIC_ARGS_3, __TQUIC_ARG(3)
#define __TQUIC_ARGS_5 __TQUIC_ARGS_4, __TQUIC_ARG(4)

/* The pointer-to-integer conversions are what is meant: every argument arrives as 64 bits. */
#define BPF_PROG(name, ...)                                                                        \
	name(unsigned long long *__tquic_args);                                                    \
	static __attribute__((always_inline)) typeof(name((unsigned long long *)0))                \
	__TQUIC_CAT(__tquic_body_, name)(unsigned long long *__tquic_args, __VA_ARGS__);           \
	typeof(name((unsigned long long *)0)) name(unsigned long long *__tquic_args)               \
	{                                                                                          \
		_Pragma("GCC diagnostic push")                                                     \
		_Pragma("GCC diagnostic ignored \"-Wint-conversion\"")                             \
		return __TQUIC_CAT(__tquic_body_, name)(                                           \
			__tquic_args, __TQUIC_CAT(__TQUIC_ARGS_, __TQUIC_COUNT(__VA_ARGS__)));     \
		_Pragma("GCC diagnostic pop")                                                      \
	}                                                                                          \
	static __attribute__((always_inline)) typeof(name((unsigned long long *)0))                \
	__TQUIC_CAT(__tquic_body_, name)(unsigned long long *__tquic_args, __VA_ARGS__)

#endif
