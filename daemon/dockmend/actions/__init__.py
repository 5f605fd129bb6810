"""Actions: one module per family, one function per action, registered by name."""
