"""Does a program keep to the wire protocol? For the CI of those who write clients and servers.

    finding.py   one rule, kept or not
    script.py    the messages that a client under test is shown, and what it must say of each
    stage.py     the sockets of the test daemon
    client.py    runs a client against the script
    server.py    asks a running server

docs/conformance.md says what a client under test has to print.
"""
