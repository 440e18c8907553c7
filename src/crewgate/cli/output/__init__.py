"""The output of commands: tables and sentences for people, JSON documents for scripts."""
