"""The rooms that do I/O: HTTP (sync and async), vendor SDKs, in-process llama.cpp, offline."""
