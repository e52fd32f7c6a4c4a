/* The netlink fragment of the guide, with libnl; what it leaves out is marked. */
#include <stdio.h>
#include <stdlib.h>
#include <netlink/netlink.h>
#include <netlink/genl/ctrl.h>
#include <netlink/genl/genl.h>

#include <tquic.h>

static int wanted;

/* Not in the guide: "Process events in callback". */
static int on_event(struct nl_msg *msg, void *arg)
{
	struct nlattr *attrs[TQUIC_QLOG_ATTR_ROLE + 1];
	(void)arg;
	if (genlmsg_parse(nlmsg_hdr(msg), 0, attrs, TQUIC_QLOG_ATTR_ROLE, NULL) < 0)
		exit(3);
	if (genlmsg_hdr(nlmsg_hdr(msg))->cmd != TQUIC_CMD_QLOG_EVENT)
		return NL_SKIP;
	printf("%u %u %d %s\n", nla_get_u32(attrs[TQUIC_QLOG_ATTR_EVENT_TYPE]),
	       nla_get_u32(attrs[TQUIC_QLOG_ATTR_SEVERITY]), nla_len(attrs[TQUIC_QLOG_ATTR_CONN_ID]),
	       nla_get_string(attrs[TQUIC_QLOG_ATTR_JSON]));
	fflush(stdout);
	if (--wanted == 0)
		exit(0);
	return NL_OK;
}

int main(int argc, char **argv)
{
	wanted = argc > 1 ? atoi(argv[1]) : 10;
	struct nl_sock *sk = nl_socket_alloc();
	genl_connect(sk);
	int family = genl_ctrl_resolve(sk, "tquic");
	/* Not in the guide: the callback, and what every listener of a group needs. */
	if (family < 0) {
		fprintf(stderr, "no family: %s\n", nl_geterror(family));
		return 4;
	}
	nl_socket_modify_cb(sk, NL_CB_VALID, NL_CB_CUSTOM, on_event, NULL);
	nl_socket_disable_seq_check(sk);
	int done =
	nl_socket_add_membership(sk, nl_get_multicast_id(sk, "tquic", "qlog"));
	if (done < 0) {
		fprintf(stderr, "no group: %s\n", nl_geterror(done));
		return 5;
	}
	puts("listening");
	fflush(stdout);

	while (1) {
		nl_recvmsgs_default(sk);
		// Process events in callback
	}
}
