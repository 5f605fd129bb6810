"""Rules: what people write, checked, compiled and indexed."""
