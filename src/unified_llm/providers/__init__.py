"""Providers: a codec, a driver, a profile and the names of its credentials. `registry` finds them by name."""
