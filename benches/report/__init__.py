"""The report of `make bench`: see benches/run, and sections/ for what is measured."""
