"""One pure module per wire dialect: encode a request, decode an answer, feed a stream."""
