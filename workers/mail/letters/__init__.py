"""Letters: each mail is written from facts that are read when it is about to be sent."""
