"""What operators look at and do: status, problems, reconciliation of seats, retries, the audit trail."""
