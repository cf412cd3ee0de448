"""Links and their tokens, rate limits, and the lockouts that follow wrong passwords."""
