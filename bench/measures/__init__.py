"""What is measured: each module has `measure(stage, plan)`, which gives sections of the report."""
