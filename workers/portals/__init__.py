"""Keys of portals, and the secrets with which portals and Matricule sign for each other."""
