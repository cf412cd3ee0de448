"""This package holds the tables, the statuses and the pure rules; it imports nothing else of Matricule."""
