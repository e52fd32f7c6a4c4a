"""Measurements that bring their own network: ``tquic bench``.

They need Linux with ``unshare``, ``nsenter``, ``ip`` and ``tc``, and root or user namespaces.
"""
