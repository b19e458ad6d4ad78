"""botctl: the command line that steers botd."""
