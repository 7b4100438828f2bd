"""What travels: Engine.IO 4 and Socket.IO 5 without I/O, payload models, limits."""
