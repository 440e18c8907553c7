"""What commands print: tables and sentences for a person, documents for a script."""
