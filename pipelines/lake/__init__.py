"""The folder of tables: where everything lies in it, how it is written, read and checked."""
