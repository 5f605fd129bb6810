"""The Docker Engine: the only package that imports aiodocker. Answers become model structs, errors
become Temporary or Permanent at this boundary, and every call has a timeout."""
