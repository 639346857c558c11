"""The offline engine: a deterministic stand-in for a server, without I/O. It is not a language model.

`answers` decides what to say, `script` lets a test decide it, `dialect` writes it as an OpenAI-style server would,
`schema_examples` makes values that fit a JSON Schema, `hashing` makes vectors, `tokens` counts. The driver in
`drivers.offline` carries it over the usual seam; `unified_llm.testing` is the public door.
"""
