"""HTTP/1.1 for measuring: bytes are stamped when they are read from the socket, and parsed afterwards."""
