"""What the rooms of the house agree on: tables, error codes, conformance. Imports nothing of ours."""
