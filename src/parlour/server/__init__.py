"""What happens: node, hub, router, recovery. Everything here runs on one event loop."""
