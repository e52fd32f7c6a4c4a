//! Sockets and the shard event loop: batched UDP with GSO, GRO, ECN and packet information.
