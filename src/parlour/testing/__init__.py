"""The public test kit: a pilot for app authors, contract suites for backends, real servers, clocks."""
