"""tquic beside other stacks: the same work over each, in one interleaved session.

``make compare`` builds the drivers, runs them and writes reports/compare; ``python -m compare`` in
``benches`` is the same. What is measured and what every stack is given stands in
docs/performance.md; how a driver is used, in README.md beside this file.
"""
