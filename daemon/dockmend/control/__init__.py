"""The command socket: how the command line (and later the web page) talks to the running daemon.

One line of JSON for a request and one for its answer, over a unix socket: its mode (0660) is the
permission, and the kernel tells who asks.
"""
