"""What is known of a person: exported, erased, kept no longer than needed, and the answer "this is not me"."""
