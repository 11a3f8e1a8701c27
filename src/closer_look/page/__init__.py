"""One page of everything: verdicts, figures, tables, runs and an explorer, in a single HTML file.

`page` puts it together, from the templates in assets/. `runs` finds what is wrong with a run,
`verdicts` arranges the claims, `explorer` and `curves` make the explorer's data small.
"""
