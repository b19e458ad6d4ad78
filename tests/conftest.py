"""What every test of the suite starts from."""

from __future__ import annotations

import signal

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    # A suite started in the background (nohup, CI) inherits "ignore Ctrl-C", and so would every process it starts.
    signal.signal(signal.SIGINT, signal.default_int_handler)
