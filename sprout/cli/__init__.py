"""One small module per verb: parse, call one package, print."""
