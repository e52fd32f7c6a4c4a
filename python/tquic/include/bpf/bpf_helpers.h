/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* What schedulers need of the header that bears this name elsewhere: no helper, no map. */
#ifndef TQUIC_BPF_HELPERS_H
#define TQUIC_BPF_HELPERS_H

/* Into the section `name`, whether something refers to it or not. */
#define SEC(name) __attribute__((section(name), used))

#ifndef __always_inline
#define __always_inline inline __attribute__((always_inline))
#endif
#ifndef __noinline
#define __noinline __attribute__((noinline))
#endif
#ifndef __weak
#define __weak __attribute__((weak))
#endif

#endif
