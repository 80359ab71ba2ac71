"""Taking sessions out: as godwit's own data (`jsonl`), for pi (`pi_file`), and to be read, as a page (`page`) or as Markdown
(`markdown`), which tell the `story` of a log."""
