"""Commands about roster files: `matricule import`."""
