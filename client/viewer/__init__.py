"""The viewer: a web gateway that is an ordinary client of the daemon, and the page it serves.

    python -m sonod.client.viewer --frames tcp://127.0.0.1:5555 --control tcp://127.0.0.1:5556

    options.py   the command line
    feed.py      frames and notices from the daemon, each browser gets the newest
    raw.py       one trace out of a raw frame
    mailbox.py   what waits for one browser
    relay.py     requests to the daemon's control socket
    downloads.py clips for the browser, bundle.py one as a tar file
    devices.py   what is attached to this machine
    guard.py     who may talk to the gateway, and what its pages may do
    gateway.py   the web server
    page/        HTML, CSS and JavaScript modules, served as they are

The messages between page and gateway are described in docs/viewer.md.
"""
