"""The gateway as its clients meet it: whole, over sockets."""
