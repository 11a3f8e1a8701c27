"""fairseq's options, finished models, and how far trainings are."""
