"""How the code is built, in figures: thermometers for a reader, not targets."""
