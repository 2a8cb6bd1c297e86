"""What people would write instead of case-orders: the same service for placing, reading and listing orders."""
