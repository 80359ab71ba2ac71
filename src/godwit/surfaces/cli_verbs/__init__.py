"""The verbs of the command line, `godwit run` and its kin: what each takes, its help, and who does its work."""
