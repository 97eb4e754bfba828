"""Between the web process and the engine process: one msgpack message a step, over private sockets."""
