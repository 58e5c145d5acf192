"""A driver for an imaginary board of 16 elements, as a package of its own."""
