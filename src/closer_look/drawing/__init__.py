"""Frames in, figures out. What is common to all figures is in `style`."""
