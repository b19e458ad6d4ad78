"""One page a group of verbs; each is imported when one of its verbs is called."""
