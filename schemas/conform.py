"""Making a table be exactly what its schema says, or saying why it is not."""

import pyarrow as pa


def conform(table: pa.Table, schema: pa.Schema) -> pa.Table:
    """`table` with the columns of `schema` in its order and types.

    Raises ValueError for missing or unknown columns, for a NULL where none may be, and for values that do not fit.
    """
    missing = [name for name in schema.names if name not in table.column_names]
    unknown = [name for name in table.column_names if name not in schema.names]
    if missing or unknown:
        raise ValueError(f"columns missing: {missing}, unknown: {unknown}")
    return table.select(schema.names).cast(schema)  # which knows where NULLs are allowed
