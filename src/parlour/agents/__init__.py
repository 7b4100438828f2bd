"""Agent sessions: an event stream, a runtime, a controller, and people who can steer it."""
