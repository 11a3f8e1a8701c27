"""The tests; a package, since one of OpusTools' is installed under the same name."""
