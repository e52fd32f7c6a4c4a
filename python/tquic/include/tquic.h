/*
 * The socket interface of tquic for C programs, with the names of the TQUIC kernel API guide.
 *
 * Programs need no library: they are compiled with this header alone, and `tquic run PROGRAM` (or
 * LD_PRELOAD=libtquic-preload.so) gives them the sockets. All other sockets are left alone.
 */
#ifndef TQUIC_H
#define TQUIC_H

#include <stdint.h>
#include <sys/socket.h>

/* The protocol for socket(AF_INET or AF_INET6, SOCK_DGRAM, ...); three numbers are accepted. */
#ifndef IPPROTO_QUIC
#define IPPROTO_QUIC 261
#endif
#define IPPROTO_TQUIC 253
#define IPPROTO_TQUIC_DOC 263

/* The level of options and ancillary data. */
#define SOL_TQUIC 288

/* Options: before connect() or listen(), unless it says otherwise. */
#define TQUIC_SOCKOPT_ALPN 300                    /* names, separated by commas; read: the one agreed on */
#define TQUIC_SOCKOPT_MAX_IDLE_TIMEOUT 11         /* uint32_t, milliseconds; default 30000 */
#define TQUIC_SOCKOPT_INITIAL_MAX_DATA 12         /* uint64_t or uint32_t, bytes; default 1048576 */
#define TQUIC_SOCKOPT_INITIAL_MAX_STREAM_DATA_BIDI 13 /* uint64_t or uint32_t, bytes; default 1048576 */
#define TQUIC_SOCKOPT_INITIAL_MAX_STREAMS_BIDI 14 /* uint64_t or uint32_t; default 128 */
#define TQUIC_MAX_STREAMS_UNI 15                  /* uint64_t or uint32_t; default 128 */
#define TQUIC_SOCKOPT_MULTIPATH_ENABLE 18         /* int; default 0 */
#define TQUIC_SOCKOPT_SCHEDULER 9                 /* name; at any time; default minrtt */
#define TQUIC_SOCKOPT_ADD_PATH 51                 /* struct sockaddr_in or sockaddr_in6; connected */
#define TQUIC_PATH_PRIORITY 53                    /* struct tquic_path_value, 0: backup; connected */
#define TQUIC_PATH_WEIGHT 54                      /* struct tquic_path_value, Mbit/s; connected */
#define TQUIC_SOCKOPT_CONGESTION 8                /* name; at any time; default cubic */
#define TQUIC_PACING 10                           /* int; default 1 */
#define TQUIC_ECN 309                             /* int; default 1 */
#define TQUIC_ACK_DELAY 16                        /* uint32_t, milliseconds; default 25 */
#define TQUIC_MIGRATION 17                        /* int; default 1 */
#define TQUIC_SO_DATAGRAM 80                      /* int: accept unreliable datagrams; default 0 */
#define TQUIC_MAX_DATAGRAM 81                     /* uint32_t, read only: bytes of the largest now */
#define TQUIC_MAX_CONNECTIONS 310                 /* uint32_t, of a listener; default 100000 */
#define TQUIC_SOCKOPT_STREAM_OPEN 301             /* struct tquic_stream_info; connected */
#define TQUIC_SOCKOPT_ZEROCOPY 21                 /* int: MSG_ZEROCOPY counts; at any time */
#define TQUIC_SOCKOPT_AF_XDP 210                  /* int: 0 off, 1 copies, 2 does not; needs TQUIC_XDP in the environment */
#define TQUIC_SOCKOPT_OFFLOAD_INFO 302            /* struct tquic_offload_info, read only */
#define TQUIC_SOCKOPT_OFFLOAD_ENABLE 303          /* int */
#define TQUIC_QLOG_ENABLE 250                     /* struct tquic_qlog_args */
#define TQUIC_QLOG_STATS 251                      /* struct tquic_qlog_stats, read only; connected */
#define TQUIC_QLOG_PATH 308                       /* folder of files; default QLOGDIR, else "."; or a Unix socket */
#define TQUIC_QLOG_RING 311                       /* text, read only: as many of the newest events as fit */
#define TQUIC_INFO 7                              /* struct tquic_info, read only */
#define TQUIC_PATH_INFO 307                       /* array of struct tquic_path_info, read only */
#define TQUIC_ERROR 306                           /* struct tquic_error, read only */

/* Options of TLS, which the guide leaves out. Certificates and keys are PEM or DER. */
#define TQUIC_CERT_VERIFY 30                      /* uint32_t: 0 no, 1 optional, 2 required */
#define TQUIC_EXPECTED_HOSTNAME 31                /* name; default the address */
#define TQUIC_ALLOW_SELF_SIGNED 32                /* int: a client takes any certificate */
#define TQUIC_CERT 33                             /* chain; default the file TQUIC_CERT_FILE */
#define TQUIC_KEY 34                              /* default the file TQUIC_KEY_FILE */
#define TQUIC_CA 35                               /* default the system's, or SSL_CERT_FILE */
#define TQUIC_SESSION_TICKET 305                  /* bytes to be read here and given to a later socket */

/* Ancillary data of sendmsg() and recvmsg(). */
#define TQUIC_STREAM_ID 100                       /* uint64_t */
#define TQUIC_STREAM_PRIORITY 101                 /* uint32_t, 0 (most urgent) to 7 */
#define TQUIC_STREAM_RESET 102                    /* uint64_t, an application's error code */
#define TQUIC_STREAM_FIN 103                      /* nothing: the message ends its stream */
#define TQUIC_DATAGRAM 200                        /* nothing: the message is an unreliable datagram */
#define TQUIC_STREAM_INFO 304                     /* struct tquic_stream_info, received */

/* Flags of struct tquic_stream_info. */
#define TQUIC_STREAM_FLAG_NEW 0x01                /* the peer has opened the stream */
#define TQUIC_STREAM_FLAG_UNI 0x02                /* it goes one way */
#define TQUIC_STREAM_FLAG_FIN 0x04                /* it ends behind this message */
#define TQUIC_STREAM_FLAG_RESET 0x08              /* the peer gave it up */
#define TQUIC_STREAM_FLAG_DATAGRAM 0x10           /* an unreliable datagram, of no stream */

/* Flag of sendmsg(): the message ends its stream. glibc's MSG_FIN has the same value. */
#ifndef MSG_FIN
#define MSG_FIN 0x200
#endif

struct tquic_stream_info {
	uint64_t stream_id;
	uint32_t flags;
	uint32_t reserved;
};

struct tquic_path_value {
	uint32_t path_id;
	uint32_t value;
};

struct tquic_info {
	uint32_t state;                           /* 0 idle, 1 connecting, 2 connected, 3 closed, 4 listening */
	uint32_t version;                         /* 1 is RFC 9000, 0x6b3343cf is RFC 9369 */
	uint64_t bytes_sent, bytes_received;
	uint64_t packets_sent, packets_received, packets_lost;
	uint64_t srtt_us, min_rtt_us;             /* of the first path, as what follows */
	uint64_t cwnd, bytes_in_flight;
	uint32_t paths;
	uint32_t mtu;
};

struct tquic_path_info {
	uint32_t path_id;
	uint32_t state;                           /* 0 validating, 1 open, 2 abandoned; 0x100: backup */
	uint64_t srtt_us, min_rtt_us;
	uint64_t cwnd, bytes_in_flight;
	uint64_t bytes_sent, bytes_received;
	uint64_t packets_lost;
};

struct tquic_error {
	uint64_t code;                            /* TQUIC_ERR_..., or the application's */
	uint32_t flags;                           /* 1: an application's code; 2: the peer ended it */
	int32_t error;                            /* as errno; 0 for an ordinary end */
	char reason[112];
};

struct tquic_offload_info {
	uint32_t caps;
	uint32_t enabled;
};

#define TQUIC_OFFLOAD_CAP_CRYPTO 0x01             /* the network card seals QUIC packets: nobody has it here */
#define TQUIC_OFFLOAD_CRYPTO 0x01
#define TQUIC_OFFLOAD_CAP_GSO 0x02
#define TQUIC_OFFLOAD_CAP_GRO 0x04
#define TQUIC_OFFLOAD_CAP_CPU_AES 0x08
#define TQUIC_OFFLOAD_CAP_CPU_VAES 0x10
#define TQUIC_OFFLOAD_CAP_AF_XDP 0x20             /* enabled if TQUIC_XDP names an interface */
#define TQUIC_OFFLOAD_CAP_XDP_ZEROCOPY 0x40       /* of that interface */

struct tquic_qlog_args {
	uint32_t mode;
	uint32_t ring_size;                       /* bytes of the ring, or that wait; 0: 1 MiB */
	uint64_t event_mask;
	uint32_t severity;
	uint32_t flags;
};

struct tquic_qlog_stats {
	uint64_t events;                          /* written down */
	uint64_t dropped;                         /* of them: found no room, or were pushed out of the ring */
};

#define TQUIC_QLOG_MODE_DISABLED 0
#define TQUIC_QLOG_MODE_RING 1                    /* in memory; read with TQUIC_QLOG_RING */
#define TQUIC_QLOG_MODE_NETLINK 2                 /* to the multicast group "qlog" */
#define TQUIC_QLOG_MODE_FILE 3                    /* a file for each connection */
#define TQUIC_QLOG_MODE_UNIX 4                    /* to who listens at a Unix socket */
#define TQUIC_QLOG_SEV_CORE 0
#define TQUIC_QLOG_SEV_BASE 1
#define TQUIC_QLOG_SEV_EXTRA 2
#define TQUIC_QLOG_SEV_DEBUG 3

/*
 * Messages of the netlink group "qlog" of the family "tquic": the command, and attributes. Programs that
 * use libnl get the group's number from this, and turn its check of sequence numbers off
 * (nl_socket_disable_seq_check), as for every multicast group.
 */
#define nl_get_multicast_id(sk, family, group) genl_ctrl_resolve_grp(sk, family, group)

enum { TQUIC_CMD_QLOG_EVENT = 20 };

enum tquic_qlog_attr {
	TQUIC_QLOG_ATTR_EVENT_TYPE = 1,           /* u32: bit of the event; 0x100 header of a log; 0x101 other */
	TQUIC_QLOG_ATTR_TIMESTAMP = 2,            /* u64: nanoseconds since 1970 */
	TQUIC_QLOG_ATTR_CONN_ID = 3,              /* bytes: first connection ID that the client used */
	TQUIC_QLOG_ATTR_PATH_ID = 4,              /* u32 */
	TQUIC_QLOG_ATTR_DATA = 5,                 /* not used */
	TQUIC_QLOG_ATTR_JSON = 6,                 /* string: the event */
	TQUIC_QLOG_ATTR_SEVERITY = 7,             /* u32: TQUIC_QLOG_SEV_... */
	TQUIC_QLOG_ATTR_CATEGORY = 8,             /* u32: 0 connectivity, 1 transport, 2 recovery, 3 security, 4 other */
	TQUIC_QLOG_ATTR_DROPPED = 9,              /* u64: events of this connection that are gone, so far */
	TQUIC_QLOG_ATTR_ROLE = 10,                /* u32: 1 client, 2 server */
};

/* Events: connectivity 0-5, transport 10-24, recovery 30-36, security 40-41. */
#define QLOG_MASK_ALL 0x31fc1fffc3fULL

/* Error codes of RFC 9000 section 20.1; CRYPTO_ERROR is the first of 256, the low byte is the alert. */
#define TQUIC_ERR_NO_ERROR 0x00
#define TQUIC_ERR_INTERNAL_ERROR 0x01
#define TQUIC_ERR_CONNECTION_REFUSED 0x02
#define TQUIC_ERR_FLOW_CONTROL_ERROR 0x03
#define TQUIC_ERR_STREAM_LIMIT_ERROR 0x04
#define TQUIC_ERR_STREAM_STATE_ERROR 0x05
#define TQUIC_ERR_FINAL_SIZE_ERROR 0x06
#define TQUIC_ERR_FRAME_ENCODING_ERROR 0x07
#define TQUIC_ERR_TRANSPORT_PARAMETER_ERROR 0x08
#define TQUIC_ERR_CONNECTION_ID_LIMIT_ERROR 0x09
#define TQUIC_ERR_PROTOCOL_VIOLATION 0x0a
#define TQUIC_ERR_INVALID_TOKEN 0x0b
#define TQUIC_ERR_APPLICATION_ERROR 0x0c
#define TQUIC_ERR_CRYPTO_BUFFER_EXCEEDED 0x0d
#define TQUIC_ERR_KEY_UPDATE_ERROR 0x0e
#define TQUIC_ERR_AEAD_LIMIT_REACHED 0x0f
#define TQUIC_ERR_NO_VIABLE_PATH 0x10
#define TQUIC_ERR_VERSION_NEGOTIATION_ERROR 0x11
#define TQUIC_ERR_CRYPTO_ERROR 0x100

#endif
