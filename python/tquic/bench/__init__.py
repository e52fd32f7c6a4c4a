"""Measurements that bring their own network: ``python -m tquic.bench.multipath``.

They need Linux with ``unshare``, ``nsenter``, ``ip`` and ``tc``, and root or user namespaces.
"""
