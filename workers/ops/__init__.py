"""The views and actions of operators: status, problems, reconciliation of seats, retries, the audit trail."""
