"""Sockets: Socket.IO over WebSocket and HTTP long-polling."""

from parlour.transports.socketio.settings import SocketSettings
from parlour.transports.socketio.transport import SocketTransport

__all__ = ["SocketSettings", "SocketTransport"]
