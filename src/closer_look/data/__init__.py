"""Where text comes from, and reading and writing it."""
