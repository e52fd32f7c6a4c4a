/* The client of the guide, from its fragments in their order; what it leaves out is marked. */
#include <errno.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <arpa/inet.h>
#include <sys/uio.h>
#include <unistd.h>

#include <tquic.h>

#define DONE(what) printf("%s\n", what)

static int fd;

static void must(int result, const char *what)
{
	if (result < 0) {
		perror(what);
		exit(1);
	}
}

static void configure(void)
{
	const char *alpn = "h3";
	must(setsockopt(fd, SOL_TQUIC, TQUIC_SOCKOPT_ALPN, alpn, strlen(alpn)), "ALPN");

	uint32_t timeout = 60000;
	must(setsockopt(fd, SOL_TQUIC, TQUIC_SOCKOPT_MAX_IDLE_TIMEOUT,
			&timeout, sizeof(timeout)), "MAX_IDLE_TIMEOUT");

	uint64_t limit = 1 << 22;
	must(setsockopt(fd, SOL_TQUIC, TQUIC_SOCKOPT_INITIAL_MAX_DATA, &limit, sizeof(limit)), "MAX_DATA");
	must(setsockopt(fd, SOL_TQUIC, TQUIC_SOCKOPT_INITIAL_MAX_STREAM_DATA_BIDI,
			&limit, sizeof(limit)), "MAX_STREAM_DATA");
	must(setsockopt(fd, SOL_TQUIC, TQUIC_SOCKOPT_INITIAL_MAX_STREAMS_BIDI,
			&(uint64_t){100}, sizeof(uint64_t)), "MAX_STREAMS");

	int enable = 1;
	must(setsockopt(fd, SOL_TQUIC, TQUIC_SOCKOPT_MULTIPATH_ENABLE,
			&enable, sizeof(enable)), "MULTIPATH_ENABLE");

	const char *sched = "minrtt";
	must(setsockopt(fd, SOL_TQUIC, TQUIC_SOCKOPT_SCHEDULER,
			sched, strlen(sched)), "SCHEDULER");

	const char *cc = "bbr";  // cubic, bbr, bbr2, bbr3, prague, copa
	must(setsockopt(fd, SOL_TQUIC, TQUIC_SOCKOPT_CONGESTION,
			cc, strlen(cc)), "CONGESTION");

	must(setsockopt(fd, SOL_TQUIC, TQUIC_SOCKOPT_ZEROCOPY, &enable, sizeof(enable)), "ZEROCOPY");

	/* Not here: a network card that seals packets, AF_XDP. */
	struct tquic_offload_info info;
	socklen_t len = sizeof(info);
	must(getsockopt(fd, SOL_TQUIC, TQUIC_SOCKOPT_OFFLOAD_INFO, &info, &len), "OFFLOAD_INFO");
	if (info.caps & TQUIC_OFFLOAD_CAP_CRYPTO) {
		int caps = TQUIC_OFFLOAD_CRYPTO;
		must(setsockopt(fd, SOL_TQUIC, TQUIC_SOCKOPT_OFFLOAD_ENABLE,
				&caps, sizeof(caps)), "OFFLOAD_ENABLE");
	}
	if (setsockopt(fd, SOL_TQUIC, TQUIC_SOCKOPT_AF_XDP, &enable, sizeof(enable)) != -1 ||
	    errno != EOPNOTSUPP)
		exit(2);
	struct tquic_qlog_args args = {
		.mode = TQUIC_QLOG_MODE_NETLINK,
		.event_mask = QLOG_MASK_ALL,
		.severity = TQUIC_QLOG_SEV_BASE,
	};
	must(setsockopt(fd, SOL_TQUIC, TQUIC_QLOG_ENABLE, &args, sizeof(args)), "QLOG_ENABLE");
	DONE("configured");
}

static void send_to(uint64_t stream_id, void *data, size_t len, int flags)
{
	struct msghdr msg = {0};
	struct iovec iov = {
		.iov_base = data,
		.iov_len = len,
	};
	char cmsg_buf[CMSG_SPACE(sizeof(uint64_t))];
	struct cmsghdr *cmsg;

	msg.msg_iov = &iov;
	msg.msg_iovlen = 1;
	msg.msg_control = cmsg_buf;
	msg.msg_controllen = sizeof(cmsg_buf);

	cmsg = CMSG_FIRSTHDR(&msg);
	cmsg->cmsg_level = SOL_TQUIC;
	cmsg->cmsg_type = TQUIC_STREAM_ID;
	cmsg->cmsg_len = CMSG_LEN(sizeof(uint64_t));
	*(uint64_t *)CMSG_DATA(cmsg) = stream_id;

	must(sendmsg(fd, &msg, flags), "sendmsg");
}

static int receive(void)
{
	char buffer[4096];
	struct msghdr msg = {0};
	struct iovec iov = {
		.iov_base = buffer,
		.iov_len = sizeof(buffer),
	};
	char cmsg_buf[CMSG_SPACE(sizeof(struct tquic_stream_info))];
	int over = 0;

	msg.msg_iov = &iov;
	msg.msg_iovlen = 1;
	msg.msg_control = cmsg_buf;
	msg.msg_controllen = sizeof(cmsg_buf);

	ssize_t n = recvmsg(fd, &msg, 0);
	must(n, "recvmsg");

	for (struct cmsghdr *cmsg = CMSG_FIRSTHDR(&msg);
	     cmsg; cmsg = CMSG_NXTHDR(&msg, cmsg)) {
		if (cmsg->cmsg_level == SOL_TQUIC &&
		    cmsg->cmsg_type == TQUIC_STREAM_INFO) {
			struct tquic_stream_info *info =
				(struct tquic_stream_info *)CMSG_DATA(cmsg);
			printf("Stream %llu: %zd bytes\n", (unsigned long long)info->stream_id, n);
			printf("%.*s\n", (int)n, buffer);
			over = (info->flags & TQUIC_STREAM_FLAG_FIN) != 0;
		}
	}
	return over;
}

int main(int argc, char **argv)
{
	if (argc != 2)
		return 2;
	/* Not in the guide: to whom, and names that certificates are for. */
	struct sockaddr_in peer = { .sin_family = AF_INET, .sin_port = htons(atoi(argv[1])) };
	inet_pton(AF_INET, "127.0.0.1", &peer.sin_addr);

	fd = socket(AF_INET, SOCK_DGRAM, IPPROTO_QUIC);
	if (fd < 0) {
		perror("socket");
		exit(1);
	}
	configure();
	const char *name = "localhost";
	must(setsockopt(fd, SOL_TQUIC, TQUIC_EXPECTED_HOSTNAME, name, strlen(name)), "HOSTNAME");
	must(connect(fd, (struct sockaddr *)&peer, sizeof(peer)), "connect");
	DONE("connected");

	struct sockaddr_in local_addr = { .sin_family = AF_INET };
	inet_pton(AF_INET, "127.0.0.2", &local_addr.sin_addr);
	must(setsockopt(fd, SOL_TQUIC, TQUIC_SOCKOPT_ADD_PATH,
			&local_addr, sizeof(local_addr)), "ADD_PATH");
	DONE("two paths");

	struct tquic_stream_info info;
	info.stream_id = 0;  // Client-initiated bidirectional
	info.flags = 0;
	must(setsockopt(fd, SOL_TQUIC, TQUIC_SOCKOPT_STREAM_OPEN,
			&info, sizeof(info)), "STREAM_OPEN");

	char first[] = "hello, ";
	char second[] = "world";
	send_to(info.stream_id, first, strlen(first), MSG_ZEROCOPY);
	send_to(info.stream_id, second, strlen(second), MSG_FIN);
	DONE("sent");

	/* A copy of a descriptor is the same socket, and poll knows it. */
	int copy = dup(fd);
	must(close(fd), "close");
	fd = copy;
	struct pollfd entry = { .fd = fd, .events = POLLIN };
	do
		must(poll(&entry, 1, 10000), "poll");
	while (!receive());

	/* Check for completion notifications. */
	char control[128];
	struct msghdr msg = { .msg_control = control, .msg_controllen = sizeof(control) };
	int tries = 0;
	while (recvmsg(fd, &msg, MSG_ERRQUEUE) < 0 && errno == EAGAIN && ++tries < 1000)
		usleep(1000);
	if (msg.msg_flags & MSG_ERRQUEUE)
		DONE("buffer free again");

	/* Ordinary sockets are what they were. */
	int pair[2];
	char byte;
	must(socketpair(AF_UNIX, SOCK_STREAM, 0, pair), "socketpair");
	if (send(pair[0], "x", 1, 0) != 1 || recv(pair[1], &byte, 1, 0) != 1 || byte != 'x')
		return 4;
	must(close(fd), "close");
	return 0;
}
