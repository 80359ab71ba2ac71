"""Egress: the one way out of a command whose network is limited to a list of hosts, a proxy in this process.

`outlet.py` is one command's way out, `conversation.py` what the proxy says to its programs (`socks.py` to those that speak
SOCKS), `reach.py` judges and connects, `service.py` is the thread that all of it runs in.
"""
