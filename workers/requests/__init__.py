"""The requests that a portal, an operator or Matricule itself may make. Nothing in this package uses a database."""
