"""Native kernels for the CPU: C++ sources, how they are built and loaded, and the products that they compute."""
