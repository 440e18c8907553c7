"""The durable ledger: the core's decisions on accounts that are kept in a database."""
