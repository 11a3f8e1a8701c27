"""What every script shares as a job: its log, its tools, its manifest, its cards."""
