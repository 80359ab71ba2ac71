"""Bringing sessions in from elsewhere: how files are read (`lines`), what each format says (`pi`, `imp`, `claude_code`,
`godwit_log`) in common words (`entries`), how a log is made of that (`builder`, `turns`), and seeing it through
(`bringing`)."""
