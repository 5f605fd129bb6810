"""The record of what dockmend decided and did: written before it acts, read back after it dies."""
