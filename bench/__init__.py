"""The bench: case-orders beside what people would write instead, under the same load, on databases of the same rows."""
