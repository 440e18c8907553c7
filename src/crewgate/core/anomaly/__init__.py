"""The minting watch: each orchestrator's usual minting, and steps against unusual minting."""
