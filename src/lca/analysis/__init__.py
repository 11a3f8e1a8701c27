"""Frames in, frames out: small tidy tables from the logs, which every figure is drawn from."""
