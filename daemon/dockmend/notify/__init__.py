"""Messages to people: what is told, how it is worded, to whom it goes, and how it gets there."""
