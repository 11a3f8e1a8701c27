"""This paper's quantities and claims, from tables to tables."""
