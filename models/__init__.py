"""What is true: tables, statuses and pure rules. Imports nothing else of Matricule."""
