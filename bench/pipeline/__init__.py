"""What is behind an accepted order, measured: orders per second, CPU per order, waiting time, the cost of a claim."""
