"""The project's own code: notebooks and workers import it as `lib`."""
