"""The contract: every request a portal, an operator or Matricule itself may make. Nothing here reaches a database."""
