"""The parts of the documents that are made while they are built: reference pages and diagrams."""
