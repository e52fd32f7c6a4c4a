/* The other end of client.c: echoes each stream when it has ended; an epoll loop in one process. */
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <arpa/inet.h>
#include <sys/epoll.h>
#include <sys/wait.h>
#include <unistd.h>

#include <tquic.h>

static void must(int result, const char *what)
{
	if (result < 0) {
		perror(what);
		exit(1);
	}
}

/* A child has its parent's descriptors, and must be told that these are not for it. */
static void check_fork(int fd)
{
	pid_t child = fork();
	if (child == 0)
		_exit(send(fd, "x", 1, 0) == -1 && errno == EOPNOTSUPP ? 0 : 1);
	int status;
	must(waitpid(child, &status, 0), "waitpid");
	if (status != 0)
		exit(5);
}

int main(void)
{
	struct sockaddr_in here = { .sin_family = AF_INET };
	inet_pton(AF_INET, "127.0.0.1", &here.sin_addr);
	int listener = socket(AF_INET, SOCK_DGRAM | SOCK_NONBLOCK, IPPROTO_QUIC);
	must(listener, "socket");
	int enable = 1;
	must(setsockopt(listener, SOL_TQUIC, TQUIC_SOCKOPT_ALPN, "h3", 2), "ALPN");
	must(setsockopt(listener, SOL_TQUIC, TQUIC_SOCKOPT_MULTIPATH_ENABLE, &enable, sizeof(enable)),
	     "MULTIPATH_ENABLE");
	must(bind(listener, (struct sockaddr *)&here, sizeof(here)), "bind");
	must(listen(listener, 16), "listen");
	socklen_t length = sizeof(here);
	must(getsockname(listener, (struct sockaddr *)&here, &length), "getsockname");
	printf("%d\n", ntohs(here.sin_port));
	fflush(stdout);

	int poller = epoll_create1(0);
	struct epoll_event event = { .events = EPOLLIN, .data.fd = listener };
	must(epoll_ctl(poller, EPOLL_CTL_ADD, listener, &event), "epoll_ctl");
	must(epoll_wait(poller, &event, 1, 20000), "epoll_wait");
	struct sockaddr_in peer;
	length = sizeof(peer);
	int fd = accept4(listener, (struct sockaddr *)&peer, &length, SOCK_NONBLOCK);
	must(fd, "accept4");
	check_fork(fd);
	event.data.fd = fd;
	must(epoll_ctl(poller, EPOLL_CTL_ADD, fd, &event), "epoll_ctl");
	char text[4096];
	size_t used = 0;
	for (;;) {
		must(epoll_wait(poller, &event, 1, 20000), "epoll_wait");
		struct msghdr msg = {0};
		struct iovec iov = { .iov_base = text + used, .iov_len = 3 };
		char control[CMSG_SPACE(sizeof(struct tquic_stream_info))];
		msg.msg_iov = &iov;
		msg.msg_iovlen = 1;
		msg.msg_control = control;
		msg.msg_controllen = sizeof(control);
		ssize_t n = recvmsg(fd, &msg, 0);
		if (n < 0 && errno == EAGAIN)
			continue;
		must(n, "recvmsg");
		used += n;
		struct cmsghdr *cmsg = CMSG_FIRSTHDR(&msg);
		if (cmsg == NULL)
			break; /* The connection has ended. */
		struct tquic_stream_info *info = (struct tquic_stream_info *)CMSG_DATA(cmsg);
		/* The stream that was used last. */
		if (info->flags & TQUIC_STREAM_FLAG_FIN)
			must(send(fd, text, used, MSG_FIN), "send");
	}
	struct tquic_info facts;
	length = sizeof(facts);
	must(getsockopt(fd, SOL_TQUIC, TQUIC_INFO, &facts, &length), "INFO");
	printf("%zu bytes, state %u\n", used, facts.state);
	must(close(fd), "close");
	must(close(listener), "close");
	return 0;
}
