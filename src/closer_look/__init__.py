"""This paper's experiment: its configuration, runs, analysis, figures and page."""
