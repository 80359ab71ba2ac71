"""The store in PostgreSQL: many processes, on many machines, over one database. Needs the extra `godwit[postgres]`."""
