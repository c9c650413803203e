"""What a boot costs: figures, budgets, baselines, attribution and reports."""
