"""What is computed: pure functions and small classes that import schemas and each other, nothing above."""
