"""Congestion controllers over real sockets: two flows, one bottleneck, other people's stacks."""
