/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * Path schedulers for tquic, written in C and compiled to eBPF.
 *
 *     tquic bpf compile my_scheduler.c
 *     tquic bpf check my_scheduler.o
 *
 * `tquic bpf compile` includes this file before yours. The layouts here are what the loader and
 * the verifier of the engine know (rust/sched/src/abi.rs).
 */
#ifndef TQUIC_BPF_H
#define TQUIC_BPF_H

#include <stdbool.h>

#ifndef __VMLINUX_H__
typedef unsigned char u8;
typedef unsigned short u16;
typedef unsigned int u32;
typedef unsigned long long u64;
typedef signed char s8;
typedef short s16;
typedef int s32;
typedef long long s64;
/* Nanoseconds. */
typedef s64 ktime_t;
#endif

#ifndef NULL
#define NULL ((void *)0)
#endif

/* The scheduler of one connection. Both fields may be written; nothing else touches them. */
struct tquic_scheduler {
	/* Any number or pointer-sized value of yours; not a pointer that can be followed. */
	void *priv_data;
	u64 rr_counter;
};

/* What is about to be sent; read only. */
struct tquic_sched_ctx {
	/* ~0 unless the packet carries data of one stream. */
	u64 stream_id;
	/* Bytes of the packet, or of the first packet of the burst. */
	u32 bytes;
	/* 0 or 1 each. */
	u8 ack_eliciting;
	u8 retransmission;
	u16 reserved;
};

/*
 * One path. A handle is good for one call only: compare it, ask about it, return it, but do not
 * keep it in a global variable; keep its path_id.
 */
struct tquic_path {
	/* The path ID of the multipath protocol; read only. */
	u32 path_id;
	/* These three may be written; the values stay with the path, from the next call on. */
	u32 weight;
	u32 priority;
	/* 0 takes the path out of bpf_tquic_path_is_usable and bpf_tquic_path_can_send. */
	u32 schedulable;
};

enum tquic_path_event {
	TQUIC_PATH_EVENT_ADD = 0,
	TQUIC_PATH_EVENT_REMOVE = 1,
	TQUIC_PATH_EVENT_ACTIVE = 2,
	TQUIC_PATH_EVENT_STANDBY = 3,
	TQUIC_PATH_EVENT_FAILED = 4,
	TQUIC_PATH_EVENT_RECOVERED = 5,
	TQUIC_PATH_EVENT_MIGRATE = 6,
	TQUIC_PATH_EVENT_RTT_UPDATE = 100,
	TQUIC_PATH_EVENT_CWND_UPDATE = 101,
};

/* All but select_path may be left out. */
struct tquic_scheduler_ops {
	char name[16];
	/* Once, before anything else; after anything but 0 the connection goes on without it. */
	int (*init)(struct tquic_scheduler *sched);
	void (*release)(struct tquic_scheduler *sched);
	/* The path for the next burst, or NULL: none now. */
	struct tquic_path *(*select_path)(struct tquic_scheduler *sched,
					  struct tquic_sched_ctx *ctx);
	void (*on_packet_sent)(struct tquic_scheduler *sched, struct tquic_path *path, u32 bytes);
	/* `rtt` in nanoseconds. */
	void (*on_packet_acked)(struct tquic_scheduler *sched, struct tquic_path *path, u32 bytes,
				ktime_t rtt);
	void (*on_packet_lost)(struct tquic_scheduler *sched, struct tquic_path *path, u32 bytes);
	void (*on_path_change)(struct tquic_scheduler *sched, struct tquic_path *path,
			       enum tquic_path_event event);
};

#define __tquic_ksym __attribute__((section(".ksyms")))

/* The path that carries most things, and the first one set aside as backup; NULL if there is none. */
extern struct tquic_path *bpf_tquic_get_primary_path(struct tquic_scheduler *sched) __tquic_ksym;
extern struct tquic_path *bpf_tquic_get_backup_path(struct tquic_scheduler *sched) __tquic_ksym;
extern u32 bpf_tquic_get_path_count(struct tquic_scheduler *sched) __tquic_ksym;
extern u32 bpf_tquic_get_active_path_count(struct tquic_scheduler *sched) __tquic_ksym;
/* The path behind `path`, the first one behind NULL, NULL behind the last one. */
extern struct tquic_path *bpf_tquic_path_next(struct tquic_scheduler *sched,
					      struct tquic_path *path) __tquic_ksym;

/* Those below take a path that is not NULL. */

/* Validated, not given up, and schedulable. */
extern bool bpf_tquic_path_is_usable(struct tquic_path *path) __tquic_ksym;
/* Usable and not set aside as backup. */
extern bool bpf_tquic_path_is_active(struct tquic_path *path) __tquic_ksym;
extern u64 bpf_tquic_path_get_srtt_us(struct tquic_path *path) __tquic_ksym;
extern u64 bpf_tquic_path_get_min_rtt_us(struct tquic_path *path) __tquic_ksym;
/* Bytes per second. */
extern u64 bpf_tquic_path_get_bandwidth(struct tquic_path *path) __tquic_ksym;
extern u64 bpf_tquic_path_get_cwnd(struct tquic_path *path) __tquic_ksym;
extern u64 bpf_tquic_path_get_bytes_in_flight(struct tquic_path *path) __tquic_ksym;
/* Packets lost of 10,000. */
extern u32 bpf_tquic_path_get_loss_rate(struct tquic_path *path) __tquic_ksym;
/* Usable, `bytes` more fit into its congestion window, and the pacer lets a packet go now. */
extern bool bpf_tquic_path_can_send(struct tquic_path *path, u32 bytes) __tquic_ksym;

/* Goes through all paths; `path` is declared by it. */
#define for_each_path(sched, path)                                                                 \
	for (struct tquic_path *path = bpf_tquic_path_next((sched), NULL); path != NULL;           \
	     path = bpf_tquic_path_next((sched), path))

#endif
