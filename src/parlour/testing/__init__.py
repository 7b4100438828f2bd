"""The public test kit: contract suites for backends, real servers for tests, clocks."""
