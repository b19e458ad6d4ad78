"""botctl: the command line that steers botd."""

import gc

from botctl.light import load_click

gc.set_threshold(50_000)  # imports make no garbage, nor does a list of many bots: looking for it takes 3 ms
load_click()  # before any page imports it the ordinary way
