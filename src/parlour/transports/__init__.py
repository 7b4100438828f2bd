"""How the world reaches a node: sockets and HTTP."""
