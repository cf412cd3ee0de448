"""The pages for operators, on a port of their own."""
